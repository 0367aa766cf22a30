"""Kill switches: of a tenant, a watch or a problem; thrown and released while the gateway runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from crm_sync.settings import CrmSettings
from devices.clock import to_datetime

Connection = AsyncConnection[Any]
Scope = Literal["tenant", "watch", "problem"]

EVERY: Final = "*"


@dataclass(frozen=True, slots=True)
class Concern:
    """What a switch is looked up for."""

    tenant_id: str
    models: Sequence[str]  # as which the product is known
    watches: Sequence[str]
    problem: str


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch; `model` and `name` are * where they mean all."""

    scope: Scope
    model: str
    name: str
    thrown_by: str
    why: str
    since: datetime


_THROWN: Final[LiteralString] = """
SELECT scope, model, name, why FROM kill_switch
 WHERE tenant_id = %(tenant_id)s AND released_at IS NULL
   AND (scope = 'tenant' OR model = ANY (%(models)s)
        AND (scope = 'watch' AND name = ANY (%(watches)s) OR scope = 'problem' AND name = %(problem)s))
 ORDER BY scope, switch_id
 LIMIT 1
"""


async def kill_switch(conn: Connection, settings: CrmSettings, concern: Concern) -> GateAnswer:
    """Whether anything may start at all about this."""
    if settings.kill_switch:
        inputs: dict[str, object] = {"scope": "tenant", "why": "crm.kill_switch"}
        return GateAnswer(Gate.KILL_SWITCH, Outcome.REFUSE, Reason.KILL_SWITCH, inputs)
    values = {
        "tenant_id": concern.tenant_id,
        "models": [EVERY, *concern.models],
        "watches": list(concern.watches),
        "problem": concern.problem,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_THROWN, values)
        thrown = await cursor.fetchone()
    if thrown is None:
        return GateAnswer(Gate.KILL_SWITCH, Outcome.ALLOW)
    return GateAnswer(Gate.KILL_SWITCH, Outcome.REFUSE, Reason.KILL_SWITCH, thrown)


_THROW: Final[LiteralString] = """
INSERT INTO kill_switch (tenant_id, scope, model, name, thrown_by, why, since)
VALUES (%(tenant_id)s, %(scope)s, %(model)s, %(name)s, %(thrown_by)s, %(why)s, %(since)s)
ON CONFLICT DO NOTHING
RETURNING name
"""


async def throw(conn: Connection, tenant_id: str, switch: Switch) -> bool:
    """Stop; False where that is stopped already."""
    values = {
        "tenant_id": tenant_id,
        "scope": switch.scope,
        "model": switch.model,
        "name": switch.name,
        "thrown_by": switch.thrown_by,
        "why": switch.why,
        "since": switch.since,
    }
    return await (await conn.execute(_THROW, values)).fetchone() is not None


_RELEASE: Final[LiteralString] = """
UPDATE kill_switch SET released_at = %(now)s, released_by = %(person)s
 WHERE (tenant_id, scope, model, name) = (%(tenant_id)s, %(scope)s, %(model)s, %(name)s) AND released_at IS NULL
RETURNING name
"""


async def release(conn: Connection, tenant_id: str, what: tuple[Scope, str, str], person: str, now_s: float) -> bool:
    """Let (scope, model, name) go on; False where it was not stopped."""
    scope, model, name = what
    values = {
        "tenant_id": tenant_id,
        "scope": scope,
        "model": model,
        "name": name,
        "person": person,
        "now": to_datetime(now_s),
    }
    return await (await conn.execute(_RELEASE, values)).fetchone() is not None


_LIST: Final[LiteralString] = """
SELECT scope, model, name, thrown_by, why, since FROM kill_switch
 WHERE tenant_id = %s AND released_at IS NULL ORDER BY since, switch_id
"""


async def thrown_now(conn: Connection, tenant_id: str) -> list[Switch]:
    """Everything that is stopped, the longest first."""
    async with conn.cursor(row_factory=class_row(Switch)) as cursor:
        return await (await cursor.execute(_LIST, [tenant_id])).fetchall()
