"""Why an owner is left alone though a grant would allow a contact: a person is on it, or nobody may reach out."""

from collections.abc import Mapping
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from crm_sync.model import Case, Subject
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from devices.clock import to_datetime

Connection = AsyncConnection[Any]

_TAKEN_UP: Final = ["accepted", "in_progress", "waiting"]
"""What a CRM says when a person works on a case."""

_OWNER_HOLD: Final[LiteralString] = """
SELECT kind, until_at FROM owner_hold
 WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND released_at IS NULL
   AND (until_at IS NULL OR until_at > %(now)s)
 ORDER BY until_at DESC NULLS FIRST, hold_id
 LIMIT 1
"""

_PLANNED_WORK: Final[LiteralString] = """
SELECT work_id, max(ends_at) OVER () AS ends_at FROM planned_work
 WHERE tenant_id = %(tenant_id)s AND cancelled_at IS NULL AND starts_at <= %(now)s AND ends_at > %(now)s
   AND (device_id IS NULL OR device_id = %(device_id)s) AND (model IS NULL OR model = %(model)s)
   AND (region IS NULL OR region = %(region)s) AND (problem IS NULL OR problem = %(problem)s)
 ORDER BY planned_work.ends_at DESC
 LIMIT 1
"""

# A case that went on after a relapse is in nobody's hands until somebody takes it up again.
_IN_HANDS: Final[LiteralString] = """
SELECT c.case_id FROM service_case c
 WHERE c.tenant_id = %(tenant_id)s AND c.state IN ('open', 'waiting')
   AND (c.owner_ref = %(owner_ref)s OR c.asset_id = %(asset_id)s)
   AND EXISTS (SELECT FROM case_transition t
                WHERE t.case_id = c.case_id
                  AND (t.actor LIKE 'crm:%%' AND t.reason = ANY (%(taken_up)s)
                       OR t.actor LIKE 'person:%%' AND t.reason = 'assigned')
                  AND t.transition_id > coalesce((SELECT max(r.transition_id) FROM case_transition r
                                                   WHERE r.case_id = c.case_id AND r.to_state = 'open'
                                                     AND r.from_state = 'resolved'), 0))
 ORDER BY c.number
 LIMIT 1
"""

_HUMAN_CASE: Final[LiteralString] = """
SELECT endpoint, external_id FROM human_case
 WHERE tenant_id = %(tenant_id)s AND closed_at IS NULL
   AND (owner_ref = %(owner_ref)s OR device_id = %(device_id)s)
 ORDER BY opened_at, endpoint, external_id
 LIMIT 1
"""

_HUMAN_REPLY: Final[LiteralString] = """
SELECT source, max(contacted_at) AS at FROM owner_contact
 WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND by_human AND contacted_at > %(since)s
 GROUP BY source
 ORDER BY 2 DESC
 LIMIT 1
"""


async def suppression(
    conn: Connection, subject: Subject, case: Case, *, human_reply_s: float, now_s: float
) -> GateAnswer:
    """Whether the owner is to be left alone: first what nobody may overrule, then what a person is already doing."""
    values: dict[str, object] = {
        "tenant_id": subject.tenant_id,
        "owner_ref": subject.owner_ref,
        "asset_id": subject.asset_id,
        "device_id": subject.device_id,
        "model": subject.model,
        "region": subject.region,
        "problem": case.problem,
        "taken_up": _TAKEN_UP,
        "now": to_datetime(now_s),
        "since": to_datetime(now_s - human_reply_s),
    }
    if hold := await _first(conn, _OWNER_HOLD, values):
        until_s = None if hold["until_at"] is None else hold["until_at"].timestamp()
        return _refuse(Reason(hold["kind"]), {"kind": hold["kind"]}, until_s)
    if work := await _first(conn, _PLANNED_WORK, values):
        inputs = {"work": work["work_id"]}
        return GateAnswer(Gate.SUPPRESSION, Outcome.HOLD, Reason.PLANNED_WORK, inputs, work["ends_at"].timestamp())
    if held := await _first(conn, _IN_HANDS, values):
        return _refuse(Reason.HUMAN_CASE, {"case": held["case_id"]})
    if ticket := await _first(conn, _HUMAN_CASE, values):
        return _refuse(Reason.HUMAN_CASE, {"case": ticket["external_id"], "endpoint": ticket["endpoint"]})
    if spoke := await _first(conn, _HUMAN_REPLY, values):
        at_s: float = spoke["at"].timestamp()
        inputs = {"endpoint": spoke["source"], "spoke_at": spoke["at"].isoformat(timespec="minutes")}
        return GateAnswer(Gate.SUPPRESSION, Outcome.HOLD, Reason.HUMAN_REPLY, inputs, at_s + human_reply_s)
    return GateAnswer(Gate.SUPPRESSION, Outcome.ALLOW)


def _refuse(reason: Reason, inputs: Mapping[str, object], until_s: float | None = None) -> GateAnswer:
    return GateAnswer(Gate.SUPPRESSION, Outcome.REFUSE, reason, inputs, until_s)


async def _first(conn: Connection, query: LiteralString, values: Mapping[str, object]) -> dict[str, Any] | None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchone()
