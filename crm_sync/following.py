"""Silent fixes under way: what products answered, and whether telemetry shows in time that it helped."""

from functools import partial
from typing import Final

from crm_sync.apart import Log, attempt
from crm_sync.arrivals import arrival_of, withdraw_empty
from crm_sync.cases import announce, opening, queries
from crm_sync.cases.announce import News
from crm_sync.cases.desk import Desk, find_subject
from crm_sync.cases.lifecycle import observe
from crm_sync.cases.queries import Connection, Transition
from crm_sync.inbox import take_turn
from crm_sync.model import AlarmState, Case
from crm_sync.playbooks import fix_queries
from crm_sync.playbooks import queries as playbook_queries
from crm_sync.playbooks.fix_queries import DueFix, SilentFix
from crm_sync.playbooks.fixes import drop
from crm_sync.settings import MessageType
from crm_sync.stopping import withdraw_stopped
from devices.commands.model import CommandState
from devices.profiles.model import ActionKind, Severity

AT_ONCE: Final = 100
_SAYS_NOTHING: Final = frozenset({CommandState.EXPIRED, CommandState.CANCELLED})
"""The product was never told: that says nothing about what the command is worth."""


async def follow_fixes(conn: Connection, desk: Desk, tenant_id: str, log: Log, now_s: float) -> int:
    """Take up what is new of silent fixes, in the caller's transaction and in the turn of the inbox; how many."""
    if not await take_turn(conn):
        return 0
    await withdraw_stopped(conn, tenant_id, everything=desk.settings.kill_switch)  # ordered while a switch was thrown
    followed = 0
    for due in await fix_queries.due_fixes(conn, tenant_id, now_s, AT_ONCE):
        follow_it = partial(_follow, conn, desk, due, now_s)
        followed += await attempt(conn, log, "playbooks.fix_failed", follow_it, case_id=due.case_id) is not None
    return followed


async def _follow(conn: Connection, desk: Desk, due: DueFix, now_s: float) -> bool:
    case = await queries.lock_case(conn, due.case_id)
    fix = await fix_queries.open_fix_of(conn, due.case_id)
    if case is None or fix is None or fix.command_id != due.command_id:
        return False
    if not case.state.is_live:
        await drop(conn, case, now_s)
    elif fix.state == "ordered" and due.command_state == CommandState.DONE:
        await _await_proof(conn, case, fix, now_s)
    elif fix.state == "ordered" and not CommandState(due.command_state).is_pending:
        await _fail(conn, desk, case, fix, now_s=now_s, reason=due.command_state, detail=due.detail)
    elif due.is_over:
        await _fail(conn, desk, case, fix, now_s=now_s, reason=await _why_unseen(conn, case))
    elif fix.holds_case and case.severity is Severity.CRITICAL:
        await fix_queries.hold_case_no_longer(conn, fix.command_id)
        await _tell_people(conn, desk, case, now_s, may_fix=False)
    return True


async def _await_proof(conn: Connection, case: Case, fix: SilentFix, now_s: float) -> None:
    """The product says that it has done it: telemetry has its time to show it."""
    await fix_queries.verify_fix(conn, fix.command_id, now_s + fix.verify_within_s)
    by = Transition(None, case.state, "device", "silent_fix_done", fix.command)
    await observe(conn, case, by, now_s)


async def _why_unseen(conn: Connection, case: Case) -> str:
    """Silence is not recovery: a product that fell silent has not shown that it is well."""
    alarms = await queries.alarms_of(conn, case.case_id)
    return "silent" if any(alarm.state is AlarmState.UNKNOWN for alarm in alarms) else "no_effect"


async def _fail(
    conn: Connection, desk: Desk, case: Case, fix: SilentFix, *, now_s: float, reason: str, detail: str = ""
) -> None:
    """It did not help: that is learnt, and people are told, or another fix is tried."""
    await fix_queries.settle_fix(conn, fix.command_id, "failed", reason, now_s)
    if reason not in _SAYS_NOTHING:
        await playbook_queries.settle_actions(conn, case.case_id, [ActionKind.COMMAND], "failed", reason, now_s)
    note = f"{fix.command}: {reason}" + (f" ({detail})" if detail else "")
    await observe(conn, case, Transition(None, case.state, "device", "silent_fix_failed", note), now_s)
    if fix.holds_case:
        await _tell_people(conn, desk, case, now_s, may_fix=True)
        return
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    await announce.tell(conn, case, subject, News(MessageType.CASE_UPDATED, "silent_fix_failed"), now_s)


async def _tell_people(conn: Connection, desk: Desk, case: Case, now_s: float, *, may_fix: bool) -> None:
    arrival = await arrival_of(conn, case, now_s)
    if arrival is None:
        await withdraw_empty(conn, desk, case, now_s)
        return
    await opening.open_after_fix(conn, desk, case, arrival, may_fix=may_fix)
