"""The rows behind decisions and success rates, on the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from crm_sync.model import Case
from crm_sync.playbooks.fix_queries import tried_of
from crm_sync.playbooks.model import NOTHING, Chosen, Considered, Rate
from crm_sync.together import together
from devices.clock import to_datetime

Connection = AsyncConnection[Any]
Result = Literal["worked", "failed"]


@dataclass(frozen=True, slots=True)
class Decided:
    """A candidate with its verdict; None of `considered` is doing nothing."""

    considered: Considered | None
    verdict: Chosen
    reason: str
    inputs: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class About:
    """Which decision of which case, and the model under which its actions are counted."""

    case: Case
    model: str
    number: int


_NEXT_ROUND: Final[LiteralString] = "SELECT coalesce(max(round), 0) + 1 FROM case_action WHERE case_id = %s"


async def next_round(conn: Connection, case_id: str) -> int:
    """The number of the decision that is about to be made."""
    row = await (await conn.execute(_NEXT_ROUND, [case_id])).fetchone()
    return 1 if row is None else int(row[0])


_ADD_ACTIONS: Final[LiteralString] = """
INSERT INTO case_action (
    tenant_id, case_id, round, place, position, action, kind, verdict, reason, inputs, team, channel, template,
    severity, sla_h, model, problem, decided_at
) VALUES (
    %(tenant_id)s, %(case_id)s, %(round)s, %(place)s, %(position)s, %(action)s, %(kind)s, %(verdict)s, %(reason)s,
    %(inputs)s, %(team)s, %(channel)s, %(template)s, %(severity)s, %(sla_h)s, %(model)s, %(problem)s, %(decided_at)s
)
"""


async def add_actions(conn: Connection, about: About, decided: Sequence[Decided], now_s: float) -> None:
    """Keep a decision: every candidate, the best first."""
    common = {
        "tenant_id": about.case.tenant_id,
        "case_id": about.case.case_id,
        "round": about.number,
        "model": about.model,
        "problem": about.case.problem,
        "decided_at": to_datetime(now_s),
    }
    rows = [common | _values_of(each) | {"place": place} for place, each in enumerate(decided)]
    async with conn.cursor() as cursor:
        await cursor.executemany(_ADD_ACTIONS, rows)


def _values_of(decided: Decided) -> dict[str, object]:
    action = None if decided.considered is None else decided.considered.candidate.action
    return {
        "position": None if decided.considered is None else decided.considered.candidate.position,
        "action": NOTHING if action is None else action.key,
        "kind": NOTHING if action is None else action.kind,
        "verdict": decided.verdict,
        "reason": decided.reason,
        "inputs": Jsonb(dict(decided.inputs)),
        "team": None if action is None else action.team,
        "channel": None if action is None else action.channel,
        "template": None if action is None else action.template,
        "severity": "info" if action is None else action.minimum_severity,
        "sla_h": None if action is None else action.sla_h,
    }


_DECIDE_ACTION: Final[LiteralString] = """
UPDATE case_action SET verdict = %(verdict)s, reason = %(reason)s, inputs = inputs || %(inputs)s
 WHERE case_id = %(case_id)s AND position IS NOT DISTINCT FROM %(position)s
   AND round = (SELECT max(round) FROM case_action WHERE case_id = %(case_id)s)
"""


async def decide_action(  # noqa: PLR0917 - a row's key and what is set
    conn: Connection,
    case_id: str,
    position: int | None,
    verdict: Chosen,
    reason: str,
    inputs: Mapping[str, object],
) -> None:
    """Say what became of a candidate of the last round that was still open; no position is doing nothing."""
    values = {
        "case_id": case_id,
        "position": position,
        "verdict": verdict,
        "reason": reason,
        "inputs": Jsonb(dict(inputs)),
    }
    await conn.execute(_DECIDE_ACTION, values)


_FOR_THE_GATES: Final[LiteralString] = """
SELECT position FROM case_action
 WHERE case_id = %(case_id)s AND verdict = 'waits' AND reason = 'gates'
   AND round = (SELECT max(round) FROM case_action WHERE case_id = %(case_id)s)
 ORDER BY place
"""


async def for_the_gates(conn: Connection, case_id: str) -> list[int]:
    """Positions of what the owner would see, if the contact policy lets it: the best first."""
    return [row[0] async for row in await conn.execute(_FOR_THE_GATES, {"case_id": case_id})]


_FINISH_ROUND: Final[LiteralString] = """
WITH last AS (SELECT max(round) AS round FROM case_action WHERE case_id = %(case_id)s),
     chosen AS (SELECT EXISTS (SELECT FROM case_action a, last
                                WHERE a.case_id = %(case_id)s AND a.round = last.round AND a.verdict = 'chosen'
                                  AND a.kind <> 'nothing') AS any)
UPDATE case_action a SET
    verdict = CASE WHEN a.kind = 'nothing' AND NOT chosen.any THEN 'chosen' ELSE 'rejected' END,
    reason = CASE WHEN a.kind <> 'nothing' THEN %(why)s WHEN chosen.any THEN a.reason ELSE 'nothing_allowed' END
  FROM last, chosen
 WHERE a.case_id = %(case_id)s AND a.round = last.round AND (a.kind = 'nothing' OR a.reason = 'gates')
"""


async def finish_round(conn: Connection, case_id: str, why: str) -> None:
    """The contact policy was asked: what it was not asked about is rejected, and if nothing is done, that is said."""
    await conn.execute(_FINISH_ROUND, {"case_id": case_id, "why": why})


_RATES: Final[LiteralString] = """
SELECT action, worked, failed FROM action_tally WHERE (tenant_id, model, problem) = (%s, %s, %s)
"""


async def rates_of(conn: Connection, tenant_id: str, model: str, problem: str) -> dict[str, Rate]:
    """How often each action helped against a problem on a model."""
    rows = await conn.execute(_RATES, [tenant_id, model, problem])
    return {action: Rate(worked, failed) async for action, worked, failed in rows}


_WORKED_HERE: Final[LiteralString] = """
SELECT DISTINCT a.action FROM case_action a JOIN service_case c USING (case_id)
 WHERE c.tenant_id = %s AND c.asset_id = %s AND c.problem = %s AND a.result = 'worked'
"""


async def worked_here(conn: Connection, case: Case) -> frozenset[str]:
    """The actions that helped against this problem on this very product."""
    rows = await conn.execute(_WORKED_HERE, [case.tenant_id, case.asset_id, case.problem])
    return frozenset([row[0] async for row in rows])


_SETTLE_ACTIONS: Final[LiteralString] = """
WITH settled AS (
    UPDATE case_action a SET result = %(result)s, result_why = %(why)s, settled_at = %(now)s
      FROM case_action before
     WHERE a.case_id = %(case_id)s AND a.verdict = 'chosen' AND a.kind = ANY(%(kinds)s)
       AND a.round = (SELECT max(round) FROM case_action WHERE case_id = %(case_id)s AND kind = ANY(%(kinds)s)
                         AND verdict = 'chosen')
       AND (before.case_id, before.round, before.place) = (a.case_id, a.round, a.place)
       AND before.result IS DISTINCT FROM %(result)s AND (before.result IS NOT NULL OR NOT %(only_known)s)
    RETURNING a.tenant_id, a.model, a.problem, a.action, before.result AS was
)
INSERT INTO action_tally AS known (tenant_id, model, problem, action, worked, failed)
SELECT tenant_id, model, problem, action, (%(result)s = 'worked')::int, (%(result)s = 'failed')::int FROM settled
ON CONFLICT (tenant_id, model, problem, action) DO UPDATE SET
    worked = known.worked + excluded.worked
             - (SELECT count(*) FROM settled s WHERE s.action = known.action AND s.was = 'worked'),
    failed = known.failed + excluded.failed
             - (SELECT count(*) FROM settled s WHERE s.action = known.action AND s.was = 'failed')
"""


async def settle_actions(  # noqa: PLR0917 - which ones, and how
    conn: Connection,
    case_id: str,
    kinds: Sequence[str],
    result: Result,
    why: str,
    now_s: float,
    *,
    only_known: bool = False,
) -> None:
    """Note whether what was last done of these kinds about a case helped, and count it; a later word replaces it.

    With `only_known` nothing is said of what was not settled before.
    """
    values = {
        "case_id": case_id,
        "kinds": list(kinds),
        "result": result,
        "why": why,
        "now": to_datetime(now_s),
        "only_known": only_known,
    }
    await conn.execute(_SETTLE_ACTIONS, values)


_OWNER_WAS_TOLD: Final[LiteralString] = """
SELECT EXISTS (
       SELECT FROM held_step s
         JOIN owner_contact o ON (o.tenant_id, o.source, o.reference) = (s.tenant_id, 'careloop', s.step_id)
        WHERE s.case_id = %s AND s.state = 'sent')
"""


async def owner_was_told(conn: Connection, case_id: str) -> bool:
    """Whether a CRM took a step that the owner sees; one that never arrived told nobody anything."""
    row = await (await conn.execute(_OWNER_WAS_TOLD, [case_id])).fetchone()
    return row is not None and bool(row[0])


_PEOPLE_DO: Final[LiteralString] = """
SELECT kind, action FROM case_action
 WHERE case_id = %s AND verdict = 'chosen' AND kind IN ('agent_case', 'part_or_visit')
 ORDER BY round DESC LIMIT 1
"""


async def people_are_told(conn: Connection, case_id: str) -> dict[str, object]:
    """What an agent is to do, and what the product was told to do before, as messages say it; nothing of neither."""
    told: dict[str, object] = {}
    action, fixes = await together(_next_action(conn, case_id), tried_of(conn, case_id))
    if action is not None:
        told["next_action"] = action
    tried = [asdict(fix) for fix in fixes]
    return told | ({"tried": tried} if tried else {})


async def _next_action(conn: Connection, case_id: str) -> dict[str, str] | None:
    row = await (await conn.execute(_PEOPLE_DO, [case_id])).fetchone()
    return None if row is None else {"kind": row[0], "what": str(row[1]).partition(":")[2]}
