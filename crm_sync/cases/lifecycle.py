"""A case's moves: each one checked against the life cycle, written, and recorded with who, when and why."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from crm_sync.cases import queries, step_queries
from crm_sync.cases.queries import Connection, Transition
from crm_sync.model import MOVES, Case, CaseState, MoveRefused, Resolution
from crm_sync.playbooks import fixes

END_OF: Final[Mapping[Resolution, CaseState]] = {
    Resolution.RECOVERED_IN_TELEMETRY: CaseState.RESOLVED,
    Resolution.RESOLVED_BY_AGENT: CaseState.RESOLVED,
    Resolution.REJECTED_BY_AGENT: CaseState.RESOLVED,
    Resolution.ALARM_RETRACTED: CaseState.RETRACTED,
    Resolution.WITHDRAWN: CaseState.RETRACTED,
    Resolution.NOT_APPROVED: CaseState.EXPIRED,
    Resolution.DECLINED: CaseState.RETRACTED,
    Resolution.SOLVED_BY_OWNER: CaseState.RESOLVED,
    Resolution.CALLED_WRONG_BY_OWNER: CaseState.RETRACTED,
    Resolution.CALLED_WRONG_BY_AGENT: CaseState.RETRACTED,
    Resolution.FIXED_SILENTLY: CaseState.RESOLVED,
}


async def move(conn: Connection, case: Case, end: CaseState, by: Transition, now_s: float) -> Case:
    """Take a held case to `end` and return it as it then stands. Raises MoveRefused."""
    if end not in MOVES[case.state]:
        raise MoveRefused(case.case_id, case.state, end)
    moved = replace(case, state=end, updated_at_s=now_s, closed_at_s=None if end.is_live else now_s)
    await queries.update_case(conn, moved)
    await queries.add_transition(conn, moved, replace(by, start=case.state, end=end), now_s)
    return moved


async def observe(conn: Connection, case: Case, by: Transition, now_s: float) -> None:
    """Record that something was seen which leaves a case in its state."""
    await queries.add_transition(conn, case, replace(by, start=case.state, end=case.state), now_s)


async def close(conn: Connection, case: Case, resolution: Resolution, by: Transition, now_s: float) -> Case:
    """End a live case, and with it the steps that were still held for its owner."""
    end = END_OF[resolution]
    if case.state in {CaseState.PROPOSED, CaseState.APPROVED}:
        end = CaseState.EXPIRED  # there is nothing left to decide
    closed = await move(conn, replace(case, resolution=resolution), end, by, now_s)
    await step_queries.withdraw_steps(conn, case.case_id, "case_closed", now_s)
    await fixes.drop(conn, closed, now_s)
    await fixes.learn_from_ending(conn, closed, now_s)
    return closed
