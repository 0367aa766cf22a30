"""One alarm notice, worked: what it says of its alarm is kept, and its case follows."""

from typing import Final

from crm_sync.cases import announce, cohort, evidence, opening, queries, quiet, recovery, trusting
from crm_sync.cases.desk import Arrival, Desk, find_subject
from crm_sync.cases.queries import Connection
from crm_sync.inbox import AlarmNotice
from crm_sync.model import AlarmState, Case, Resolution
from crm_sync.together import together

_STATES: Final = {
    "raised": AlarmState.ACTIVE,
    "updated": AlarmState.ACTIVE,
    "unknown": AlarmState.UNKNOWN,
    "cleared": AlarmState.CLEARED,
    "retracted": AlarmState.RETRACTED,
}


async def take_notice(conn: Connection, desk: Desk, notice: AlarmNotice, now_s: float, *, has_ended: bool) -> None:
    """Work one notice in the caller's transaction; `has_ended` if a later one that waits ends its alarm."""
    before, subject = await together(
        queries.find_alarm(conn, notice.alarm_id), find_subject(conn, notice.tenant_id, notice.device_id)
    )
    state = _STATES[notice.event]
    if before is not None and before.state.is_over and (state is not AlarmState.ACTIVE or notice.is_renewed):
        return  # over is over: neither silence nor a second ending changes that, nor what was known before it
    alarm = await queries.save_alarm(conn, subject, notice, state, now_s)
    if notice.incident_id is None:  # else its major case tells of it
        await announce.tell_alarm(conn, desk.settings, notice, subject.asset_id)
    arrival = Arrival(notice, before, alarm, subject, now_s, has_ended)
    await trusting.note_episode(conn, desk, arrival)
    case = None if alarm.case_id is None else await queries.lock_case(conn, alarm.case_id)
    if state is AlarmState.ACTIVE and _needs_a_case(arrival, case):
        if not await cohort.absorbs(conn, arrival) and not await quiet.keeps(conn, desk, arrival):
            await opening.take_in(conn, desk, arrival)
        return
    if case is None or not case.state.is_live:
        return  # nobody works on it any more: the alarm's own record is enough
    match state:
        case AlarmState.ACTIVE:
            await evidence.refresh(conn, desk, case, arrival)
        case AlarmState.UNKNOWN:
            await evidence.fall_silent(conn, desk, case, arrival)
        case AlarmState.CLEARED | AlarmState.RETRACTED:
            await recovery.take_back(conn, desk, case, arrival)


def _needs_a_case(arrival: Arrival, case: Case | None) -> bool:
    """Whether an active alarm has no case that would look after it for the present owner."""
    if case is None or (arrival.before is not None and arrival.before.state.is_over):
        return True
    if not case.state.is_live and arrival.alarm.suppressed is not None:
        return True  # it came back after its case had ended, and had to wait
    return case.resolution is Resolution.WITHDRAWN or (case.state.is_live and case.belongs_to_another(arrival.subject))
