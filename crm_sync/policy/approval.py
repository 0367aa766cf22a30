"""Whether a person has to say yes before an owner is contacted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from crm_sync.contact_settings import ApprovalSettings
from crm_sync.model import Case
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from devices.clock import to_datetime

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """A step for which a yes may be needed."""

    case: Case
    model: str | None
    action: str  # of the playbook: its template, else its kind
    step_id: str | None
    decided_at_s: float
    approved_by: str | None = None


_BELIEF: Final[LiteralString] = """
SELECT inputs FROM decision WHERE case_id = %s AND gate = 'budget' AND outcome = 'allow'
 ORDER BY decision_id DESC LIMIT 1
"""

_BATCH: Final[LiteralString] = """
SELECT count(*) FROM held_step s JOIN service_case c USING (case_id)
 WHERE s.tenant_id = %(tenant_id)s AND c.problem = %(problem)s AND s.decided_at > %(since)s
   AND s.state <> 'withdrawn' AND s.step_id IS DISTINCT FROM %(step_id)s::text
   AND (s.decided_at < %(decided_at)s OR %(step_id)s::text IS NULL OR s.decided_at = %(decided_at)s
        AND s.step_id < %(step_id)s::text)
"""

_ACCEPTED: Final[LiteralString] = """
SELECT count(*) FROM (
    SELECT FROM owner_contact
     WHERE tenant_id = %(tenant_id)s AND source = 'careloop' AND problem = %(problem)s
       AND model IS NOT DISTINCT FROM %(model)s::text AND action = %(action)s
     LIMIT %(enough)s
) AS accepted
"""

_WEIGHED_NOT: Final = frozenset({"stated", "small_fleet", "critical"})
"""Verdicts of the budget that rest on no estimate."""


async def approval(conn: Connection, settings: ApprovalSettings, asking: Asking, now_s: float) -> GateAnswer:
    """Whether a person must say yes, and why; what was approved stays approved."""
    if asking.approved_by is not None:
        return GateAnswer(Gate.APPROVAL, Outcome.ALLOW, None, {"approved_by": asking.approved_by})
    why: list[str] = []
    inputs: dict[str, object] = {"why": why}
    if asking.case.severity in settings.severities:
        why.append(f"severity {asking.case.severity}")
    belief = await _belief(conn, asking.case)
    if belief is not None and belief < settings.confidence:
        why.append(f"confidence {belief:.2f}")
    if settings.batch and (count := await _batch(conn, settings, asking)) >= settings.batch:
        why.append(f"{count + 1} contacts about {asking.case.problem} in a batch")
        inputs["people"] = settings.batch_people
    if settings.first_contacts and await _accepted(conn, settings, asking) < settings.first_contacts:
        why.append("a new playbook")
    if not why:
        return GateAnswer(Gate.APPROVAL, Outcome.ALLOW)
    until_s = asking.decided_at_s + settings.expires_after
    return GateAnswer(Gate.APPROVAL, Outcome.HOLD, Reason.APPROVAL_NEEDED, inputs, max(until_s, now_s))


async def _belief(conn: Connection, case: Case) -> float | None:
    """How likely the case is true, where that was an estimate."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_BELIEF, [case.case_id])
        row = await cursor.fetchone()
    inputs: dict[str, Any] = {} if row is None else row["inputs"]
    belief = inputs.get("belief")
    return float(belief) if isinstance(belief, int | float) and inputs.get("verdict") not in _WEIGHED_NOT else None


async def _batch(conn: Connection, settings: ApprovalSettings, asking: Asking) -> int:
    """How many contacts about the same problem were decided shortly before this one."""
    values = {
        "tenant_id": asking.case.tenant_id,
        "problem": asking.case.problem,
        "step_id": asking.step_id,
        "decided_at": to_datetime(asking.decided_at_s),
        "since": to_datetime(asking.decided_at_s - settings.batch_within),
    }
    return await _count(conn, _BATCH, values)


async def _accepted(conn: Connection, settings: ApprovalSettings, asking: Asking) -> int:
    """How many contacts by this action on this model were ever made, counted up to as many as matter."""
    values = {
        "tenant_id": asking.case.tenant_id,
        "problem": asking.case.problem,
        "model": asking.model,
        "action": asking.action,
        "enough": settings.first_contacts,
    }
    return await _count(conn, _ACCEPTED, values)


async def _count(conn: Connection, query: LiteralString, values: Mapping[str, object]) -> int:
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None  # an aggregate
    return int(row[0])
