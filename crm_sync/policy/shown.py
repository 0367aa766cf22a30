"""The contact policy as others see it: what its gates decided, and the steps that owners were to see. Read only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class DecisionView:
    """What one gate answered, and from which inputs."""

    case_id: str | None
    alarm_id: str | None
    asset_id: str
    device_id: str
    owner_ref: str | None
    subject: str
    recipient: str
    gate: str
    outcome: str
    reason: str | None
    inputs: Mapping[str, object]
    until_at: datetime | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class StepView:
    """A step that the owner sees: held, queued, sent or withdrawn."""

    case_id: str
    step_id: str
    endpoint: str
    kind: str
    channel: str
    template: str | None
    state: str
    reason: str | None
    due_at: datetime
    settled_at: datetime | None


_DECISIONS_OF_CASES: Final[LiteralString] = """
SELECT case_id, alarm_id, asset_id, device_id, owner_ref, subject, recipient, gate, outcome, reason, inputs, until_at,
       decided_at
  FROM decision WHERE case_id = ANY(%s) ORDER BY decision_id
"""


async def decisions_of_cases(conn: Connection, case_ids: Sequence[str]) -> list[DecisionView]:
    """What was decided about these cases, the oldest first."""
    async with conn.cursor(row_factory=class_row(DecisionView)) as rows:
        return await (await rows.execute(_DECISIONS_OF_CASES, [list(case_ids)])).fetchall()


_DECISIONS_OF_ALARM: Final[LiteralString] = """
SELECT case_id, alarm_id, asset_id, device_id, owner_ref, subject, recipient, gate, outcome, reason, inputs, until_at,
       decided_at
  FROM decision WHERE tenant_id = %s AND alarm_id = %s ORDER BY decision_id
"""


async def decisions_of_alarm(conn: Connection, tenant_id: str, alarm_id: str) -> list[DecisionView]:
    """What was decided about an alarm, the oldest first."""
    async with conn.cursor(row_factory=class_row(DecisionView)) as rows:
        return await (await rows.execute(_DECISIONS_OF_ALARM, [tenant_id, alarm_id])).fetchall()


_LIST_DECISIONS: Final[LiteralString] = """
SELECT case_id, alarm_id, asset_id, device_id, owner_ref, subject, recipient, gate, outcome, reason, inputs, until_at,
       decided_at
  FROM decision
 WHERE tenant_id = %(tenant_id)s
   AND (%(owner_ref)s::text IS NULL OR owner_ref = %(owner_ref)s)
   AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
   AND (outcome <> 'allow' OR NOT %(refusals_only)s)
 ORDER BY decision_id DESC
 LIMIT %(limit)s
"""


async def list_decisions(
    conn: Connection,
    tenant_id: str,
    *,
    owner_ref: str | None = None,
    device_id: str | None = None,
    refusals_only: bool = False,
    limit: int = 100,
) -> list[DecisionView]:
    """The newest decisions about a person or a product; with `refusals_only` they answer "why was I not contacted"."""
    values = {
        "tenant_id": tenant_id,
        "owner_ref": owner_ref,
        "device_id": device_id,
        "refusals_only": refusals_only,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(DecisionView)) as rows:
        return await (await rows.execute(_LIST_DECISIONS, values)).fetchall()


_STEPS_OF_CASES: Final[LiteralString] = """
SELECT case_id, step_id, endpoint, kind, channel, template, state, reason, due_at, settled_at
  FROM held_step WHERE case_id = ANY(%s) ORDER BY decided_at, step_id
"""


async def steps_of_cases(conn: Connection, case_ids: Sequence[str]) -> list[StepView]:
    """All steps of these cases that an owner was to see, in the order in which they were decided."""
    async with conn.cursor(row_factory=class_row(StepView)) as rows:
        return await (await rows.execute(_STEPS_OF_CASES, [list(case_ids)])).fetchall()


_STEPS_OF_OWNER: Final[LiteralString] = """
SELECT case_id, step_id, endpoint, kind, channel, template, state, reason, due_at, settled_at
  FROM held_step WHERE tenant_id = %s AND owner_ref = %s ORDER BY decided_at DESC, step_id LIMIT %s
"""


async def steps_of_owner(conn: Connection, tenant_id: str, owner_ref: str, limit: int = 100) -> list[StepView]:
    """The newest steps that a person was to see."""
    async with conn.cursor(row_factory=class_row(StepView)) as rows:
        return await (await rows.execute(_STEPS_OF_OWNER, [tenant_id, owner_ref, limit])).fetchall()
