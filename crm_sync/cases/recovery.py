"""How telemetry ends a case: every alarm of it is over. Silence ends nothing."""

from dataclasses import replace

from crm_sync.brief import write_ending
from crm_sync.cases import announce, evidence, hearers, opening, queries, silent_fix, trusting
from crm_sync.cases.announce import farewell
from crm_sync.cases.desk import Arrival, Desk
from crm_sync.cases.lifecycle import close
from crm_sync.cases.queries import Connection, Transition
from crm_sync.model import AlarmState, Case, Resolution
from devices.registry.partings import Why


async def take_back(conn: Connection, desk: Desk, case: Case, arrival: Arrival) -> None:
    """Take up on a held live case that one of its alarms has cleared, or was retracted."""
    alarms = await queries.alarms_of(conn, case.case_id)
    if any(not alarm.state.is_over for alarm in alarms):
        await evidence.lose(conn, desk, case, arrival)
    elif arrival.notice.because == Why.OWNER_CHANGED:
        await opening.end_for_former_owner(conn, desk, case, arrival)
    elif any(alarm.state is AlarmState.CLEARED for alarm in alarms):
        is_secret = case.state.is_live and not await hearers.announcements_of(conn, case.case_id)
        resolution = silent_fix.resolution_of(fixed_silently=await silent_fix.conclude(conn, desk, case, arrival))
        await _end(conn, desk, case, arrival, resolution)
        if not is_secret:  # nobody could have taken up what nobody knew of
            await trusting.tell_ending(conn, desk, case, resolution, arrival.now_s)
    else:
        await _end(conn, desk, case, arrival, Resolution.ALARM_RETRACTED)


async def _end(conn: Connection, desk: Desk, case: Case, arrival: Arrival, resolution: Resolution) -> None:
    ending = write_ending(resolution, arrival.subject, arrival.notice.ts_s, arrival.now_s, desk.wording)
    ended = replace(case, ending=ending)
    by = Transition(None, case.state, "telemetry", resolution, arrival.alarm.alarm_id)
    closed = await close(conn, ended, resolution, by, arrival.now_s)
    await announce.tell(conn, closed, arrival.subject, farewell(closed), arrival.now_s)
