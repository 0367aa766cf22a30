"""The rows behind the budget: a tenant's accounts, and the device-days that its watches have seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg.rows import dict_row

from crm_sync.trust.budget import Accounts
from crm_sync.trust.queries import Connection
from devices.clock import to_datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """A tenant's accounts, and how many devices it has."""

    accounts: Accounts
    devices: int
    counted_at_s: float | None


_READ_BUDGET: Final[LiteralString] = "SELECT * FROM trust_budget WHERE tenant_id = %s"
_LOCK_BUDGET: Final[LiteralString] = "SELECT * FROM trust_budget WHERE tenant_id = %s FOR UPDATE"


async def lock_budget(conn: Connection, tenant_id: str) -> Budget | None:
    """A tenant's budget, held until the transaction ends; None before its first case."""
    return await _budget(conn, _LOCK_BUDGET, tenant_id)


async def read_budget(conn: Connection, tenant_id: str) -> Budget | None:
    """A tenant's budget, without waiting for whoever is changing it."""
    return await _budget(conn, _READ_BUDGET, tenant_id)


async def _budget(conn: Connection, query: LiteralString, tenant_id: str) -> Budget | None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, [tenant_id])
        row = await cursor.fetchone()
    if row is None:
        return None
    accounts = Accounts(row["allowance"], row["wealth"], row["day"], row["opened"], row["as_of"].timestamp())
    counted: datetime | None = row["counted_at"]
    return Budget(accounts, row["devices"], None if counted is None else counted.timestamp())


_SAVE_BUDGET: Final[LiteralString] = """
INSERT INTO trust_budget (tenant_id, allowance, wealth, day, opened, devices, as_of, counted_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (tenant_id) DO UPDATE
SET allowance = excluded.allowance, wealth = excluded.wealth, day = excluded.day, opened = excluded.opened,
    devices = excluded.devices, as_of = excluded.as_of, counted_at = excluded.counted_at
"""


async def save_budget(conn: Connection, tenant_id: str, budget: Budget) -> None:
    """Write a tenant's budget as it now stands."""
    accounts = budget.accounts
    counted = None if budget.counted_at_s is None else to_datetime(budget.counted_at_s)
    values = [accounts.allowance, accounts.wealth, accounts.day, accounts.opened, budget.devices]
    await conn.execute(_SAVE_BUDGET, [tenant_id, *values, to_datetime(accounts.as_of_s), counted])


_COUNT_EXPOSURE: Final[LiteralString] = """
UPDATE watch_trust AS trust
   SET device_days = trust.device_days * power(2, -passed.days * 86400 / %(half)s)
                     + (trust.devices + passed.now_devices) / 2.0 * passed.days,
       devices = passed.now_devices, counted_at = %(now)s
  FROM (SELECT same.tenant_id, same.model, same.watch, coalesce(counted.devices, 0) AS now_devices,
               greatest(0, extract(epoch FROM %(now)s - same.counted_at))::double precision / 86400 AS days
          FROM watch_trust AS same
          LEFT JOIN unnest(%(models)s::text[], %(counts)s::integer[]) AS counted (model, devices) USING (model)
         WHERE same.tenant_id = %(tenant_id)s) AS passed
 WHERE (trust.tenant_id, trust.model, trust.watch) = (passed.tenant_id, passed.model, passed.watch)
"""


async def count_exposure(
    conn: Connection, tenant_id: str, devices: Mapping[str, int], now_s: float, half_s: float
) -> None:
    """Add the device-days since the last count to every watch's: the mean of the devices then and now."""
    values = {
        "tenant_id": tenant_id,
        "models": list(devices),
        "counts": list(devices.values()),
        "now": to_datetime(now_s),
        "half": half_s,
    }
    await conn.execute(_COUNT_EXPOSURE, values)
