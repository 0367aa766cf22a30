"""Trust as others see it: each watch's mode, precision and bar, its audit trail, and the budget. Read only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg.rows import class_row, dict_row

from crm_sync.trust.bar import bar_now
from crm_sync.trust.budget import pass_time
from crm_sync.trust.budget_queries import read_budget
from crm_sync.trust.precision import Precision, measure
from crm_sync.trust.queries import Connection, WatchKey
from crm_sync.trust.rules import TrustRules
from devices.clock import to_datetime
from devices.profiles.model import WatchMode


@dataclass(frozen=True, slots=True)
class WatchView:
    """A watch on a product model: what it may do, and what that rests on."""

    model: str
    watch: str
    mode: WatchMode
    mode_since: datetime
    held: bool
    precision: Precision  # of the outcomes within the window
    bar: float
    needed_belief: float
    episodes: float  # known of, old ones counting less
    device_days: float
    devices: int


@dataclass(frozen=True, slots=True)
class AuditView:
    """One change of a watch's mode."""

    from_mode: str | None
    to_mode: str
    held: bool
    actor: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CustomerView:
    """What a customer said of a fault that a watch told of."""

    case_id: str | None
    alarm_id: str | None
    verdict: str
    actor: str  # who wrote it down
    customer_said: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A tenant's budget as it stands now; `allowance` and `wealth` are expected false cases."""

    enabled: bool
    expected_false_cases_per_thousand_devices_per_day: float
    expected_false_cases_per_day: float
    devices: int
    allowance: float
    wealth: float
    opened_today: int
    cases_per_day: int
    waiting: int  # alarms that found no room
    held_back: Mapping[str, int] | None  # alarms that ever found none, by the verdict, where that was asked for
    as_of: datetime | None  # when they were last written; None before the first look


_LIST_WATCHES: Final[LiteralString] = """
SELECT t.*, coalesce(said.were_true, 0) AS were_true, coalesce(said.were_false, 0) AS were_false,
       coalesce(seen.episodes, 0) AS episodes
  FROM watch_trust t
  LEFT JOIN LATERAL (
       SELECT sum(weight) FILTER (WHERE verdict = 'true') AS were_true,
              sum(weight) FILTER (WHERE verdict = 'false') AS were_false
         FROM watch_episode e
        WHERE (e.tenant_id, e.model, e.watch) = (t.tenant_id, t.model, t.watch)
          AND e.verdict IS NOT NULL AND e.verdict_at > %(since)s AND e.placed_at >= t.changed_at) AS said ON true
  LEFT JOIN LATERAL (
       SELECT sum((standing + were_true + were_false) * power(
                  2, -greatest(0, extract(epoch FROM %(now)s - as_of))::double precision / %(half)s)) AS episodes
         FROM watch_cell c
        WHERE (c.tenant_id, c.model, c.watch) = (t.tenant_id, t.model, t.watch)) AS seen ON true
 WHERE t.tenant_id = %(tenant_id)s AND (%(model)s::text IS NULL OR t.model = %(model)s)
   AND (%(watch)s::text IS NULL OR t.watch = %(watch)s)
 ORDER BY t.model, t.watch
"""


async def list_watches(
    conn: Connection,
    tenant_id: str,
    rules: TrustRules,
    now_s: float,
    *,
    model: str | None = None,
    watch: str | None = None,
) -> list[WatchView]:
    """Every watch that is followed, or those of a model or a name."""
    values = {
        "tenant_id": tenant_id,
        "model": model,
        "watch": watch,
        "since": to_datetime(now_s - rules.trust.window),
        "now": to_datetime(now_s),
        "half": rules.budget.memory,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_LIST_WATCHES, values)
        return [_view(row, rules, now_s) async for row in cursor]


def _view(row: Mapping[str, Any], rules: TrustRules, now_s: float) -> WatchView:
    bar = bar_now(row["bar"], row["bar_at"].timestamp(), now_s, rules.trust)
    return WatchView(
        model=row["model"],
        watch=row["watch"],
        mode=WatchMode(row["mode"]),
        mode_since=row["mode_since"],
        held=row["held"],
        precision=measure(row["were_true"], row["were_false"], rules.trust.confidence),
        bar=bar,
        needed_belief=rules.budget.least_belief + bar,
        episodes=row["episodes"],
        device_days=row["device_days"],
        devices=row["devices"],
    )


_AUDIT_OF: Final[LiteralString] = """
SELECT from_mode, to_mode, held, actor, why, at FROM watch_audit
 WHERE (tenant_id, model, watch) = (%s, %s, %s) ORDER BY audit_id DESC LIMIT 100
"""


async def audit_of(conn: Connection, key: WatchKey) -> list[AuditView]:
    """The changes of a watch's mode, newest first."""
    async with conn.cursor(row_factory=class_row(AuditView)) as cursor:
        return await (await cursor.execute(_AUDIT_OF, key.values())).fetchall()


_CUSTOMERS_OF: Final[LiteralString] = """
SELECT v.case_id, v.alarm_id, v.verdict, v.actor, v.customer_said, v.said_at
  FROM case_verdict v
 WHERE v.tenant_id = %(tenant_id)s AND v.customer_said IS NOT NULL
   AND EXISTS (SELECT FROM watch_episode e LEFT JOIN case_alarm a USING (alarm_id)
                WHERE (e.tenant_id, e.model, e.watch) = (%(tenant_id)s, %(model)s, %(watch)s)
                  AND (e.alarm_id = v.alarm_id OR a.case_id = v.case_id))
 ORDER BY v.verdict_id DESC LIMIT 50
"""


async def customers_of(conn: Connection, key: WatchKey) -> list[CustomerView]:
    """What customers said of a watch's alarms, newest first."""
    values = {"tenant_id": key.tenant_id, "model": key.model, "watch": key.watch}
    async with conn.cursor(row_factory=class_row(CustomerView)) as cursor:
        return await (await cursor.execute(_CUSTOMERS_OF, values)).fetchall()


_COUNT_WAITING: Final[LiteralString] = """
SELECT count(*) FROM case_alarm
 WHERE tenant_id = %s AND suppressed = 'budget' AND state = 'active' AND heard_at > %s
"""


_HELD_BACK: Final[LiteralString] = """
SELECT inputs ->> 'verdict', count(*) FROM decision
 WHERE tenant_id = %s AND gate = 'budget' AND outcome = 'refuse' GROUP BY 1 ORDER BY 1
"""


async def show_budget(
    conn: Connection, tenant_id: str, rules: TrustRules, now_s: float, *, exact: bool = False
) -> BudgetView:
    """The budget as it stands now; `exact` goes through all decisions to count what was held back."""
    settings = rules.budget
    budget = await read_budget(conn, tenant_id)
    waiting = await (
        await conn.execute(_COUNT_WAITING, [tenant_id, to_datetime(now_s - settings.waits_for)])
    ).fetchone()
    assert waiting is not None  # an aggregate
    devices = 0 if budget is None else budget.devices
    accounts = None if budget is None else pass_time(budget.accounts, settings, devices, now_s)
    figure = settings.expected_false_cases_per_thousand_devices_per_day
    return BudgetView(
        enabled=settings.enabled,
        expected_false_cases_per_thousand_devices_per_day=figure,
        expected_false_cases_per_day=figure * devices / 1000.0,
        devices=devices,
        allowance=settings.learning_cases if accounts is None else accounts.allowance,
        wealth=settings.learning_cases if accounts is None else accounts.wealth,
        opened_today=0 if accounts is None else accounts.opened,
        cases_per_day=settings.cases_per_day,
        waiting=waiting[0],
        held_back=await _held_back(conn, tenant_id) if exact else None,
        as_of=None if budget is None else to_datetime(budget.accounts.as_of_s),
    )


async def _held_back(conn: Connection, tenant_id: str) -> dict[str, int]:
    return {verdict: count async for verdict, count in await conn.execute(_HELD_BACK, [tenant_id])}
