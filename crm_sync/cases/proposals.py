"""Cases that wait for a person: said yes or no to, strengthened by a further sign, and given up when nobody answers."""

from dataclasses import replace
from functools import partial
from typing import Final, LiteralString

from psycopg.rows import dict_row

from crm_sync.apart import Log, attempt
from crm_sync.cases import queries, trusting
from crm_sync.cases.desk import Arrival, Desk
from crm_sync.cases.lifecycle import move
from crm_sync.cases.queries import Connection, Transition
from crm_sync.cases.trusting import Leave
from crm_sync.model import Case, CaseState, Resolution
from crm_sync.policy.model import Outcome
from crm_sync.trust.verdicts import Said, say
from devices.clock import to_datetime
from devices.errors import CareloopError
from devices.profiles.model import WatchMode


async def second(conn: Connection, desk: Desk, case: Case, arrival: Arrival, leave: Leave) -> None:
    """A further sign joined a held live case: if its watch may open cases, a proposed one need not wait any longer."""
    if case.state is not CaseState.PROPOSED or leave.mode is not WatchMode.AUTO:
        return
    room = await trusting.find_room(conn, desk, arrival)
    if room is not None and room.answer.outcome is not Outcome.ALLOW:
        return
    held = await queries.lock_case(conn, case.case_id)
    assert held is not None  # it is held
    by = Transition(None, CaseState.APPROVED, "policy", "auto", arrival.alarm.alarm_id)
    await move(conn, held, CaseState.APPROVED, by, arrival.now_s)


async def approve(conn: Connection, tenant_id: str, case_id: str, person: str, now_s: float) -> Case:
    """A person says yes; the case is opened soon. Raises CareloopError where nothing is proposed."""
    case = await _proposed(conn, tenant_id, case_id)
    by = Transition(None, CaseState.APPROVED, f"person:{person}", "approved")
    return await move(conn, case, CaseState.APPROVED, by, now_s)


async def decline(conn: Connection, tenant_id: str, case_id: str, person: str, now_s: float, *, why: str = "") -> Case:
    """A person says no, which also says that the alarm was false. Raises CareloopError where nothing is proposed."""
    case = replace(await _proposed(conn, tenant_id, case_id), resolution=Resolution.DECLINED, outcome="false")
    by = Transition(None, CaseState.RETRACTED, f"person:{person}", str(Resolution.DECLINED), why[:1000])
    declined = await move(conn, case, CaseState.RETRACTED, by, now_s)
    await say(conn, Said(tenant_id, "false", "person", f"person:{person}", case_id=case_id), now_s)
    return declined


async def _proposed(conn: Connection, tenant_id: str, case_id: str) -> Case:
    case = await queries.lock_case(conn, case_id)
    if case is None or case.tenant_id != tenant_id:
        raise CareloopError("unknown_case", f"there is no case {case_id}")
    if case.state is not CaseState.PROPOSED:
        raise CareloopError("not_proposed", f"{case_id} is {case.state}: only a proposed case waits for a yes or no")
    return case


_FORGOTTEN: Final[LiteralString] = """
SELECT * FROM service_case WHERE state = 'proposed' AND opened_at <= %s
 ORDER BY number LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED
"""


async def expire(conn: Connection, log: Log, after_s: float, now_s: float) -> int:
    """Do nothing about cases that nobody answered for so long; returns how many."""
    expired = 0
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_FORGOTTEN, [to_datetime(now_s - after_s)])
        cases = [queries.case_of_row(row) async for row in cursor]
    for case in cases:
        given_up = replace(case, resolution=Resolution.NOT_APPROVED)
        by = Transition(None, CaseState.EXPIRED, "policy", str(Resolution.NOT_APPROVED))
        expire_it = partial(move, conn, given_up, CaseState.EXPIRED, by, now_s)
        expired += await attempt(conn, log, "trust.expiry_failed", expire_it, case_id=case.case_id) is not None
    return expired


_APPROVED: Final[LiteralString] = "SELECT case_id FROM service_case WHERE state = 'approved' ORDER BY number LIMIT 100"


async def approved(conn: Connection) -> list[str]:
    """Cases that were said yes to, and are not open yet."""
    return [row[0] async for row in await conn.execute(_APPROVED)]
