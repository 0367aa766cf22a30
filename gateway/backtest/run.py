"""A backtest from end to end: history read once, judged by each set of profiles, and what each would have come to."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.cases.desk import Desk
from crm_sync.inbox import AlarmNotice
from devices.profiles.model import Profile
from gateway.alarms import alarm_id_of, notice_of
from gateway.backtest.apart import set_apart
from gateway.backtest.crm_side import CrmSide
from gateway.backtest.departures import list_departures
from gateway.backtest.outcomes import AlarmLog, Outcome
from gateway.backtest.queries import list_alarms, list_cases, list_contacts, list_refusals
from gateway.backtest.replay import Decided, Replay
from gateway.backtest.windows import Window, read_windows
from gateway.database.session import open_session
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.store.history import Extent, TimeBase, Wanted, find_extents
from gateway.store.tables import read_tables

Connection = AsyncConnection[TupleRow]
Progress = Callable[[int, int], None]
"""Is told how many readings are done, and of how many."""

READ_ONLY: LiteralString = "SET default_transaction_read_only = on"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be judged again, by what."""

    url: str
    tenant_id: str
    wanted: Wanted
    warm_up_us: int  # history before it, from which the detectors learn
    desk: Desk  # with the profiles as they are installed
    detect: DetectSettings
    proposed: Mapping[str, Profile] | None = None  # the profiles as they might be


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it."""

    wanted: Wanted
    readings: int  # in the span itself and before it
    devices: int
    missing: Sequence[str]  # devices that were asked for and have no reading
    happened: Outcome
    installed: Outcome
    proposed: Outcome | None


async def run_backtest(plan: Plan, progress: Progress) -> Report:
    """Judge history again; writes nothing that outlives its sessions. Raises psycopg.Error."""
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(reading(plan.url))
        extents = await find_extents(reader, await read_tables(reader), _with_warm_up(plan))
        sides = [
            await stack.enter_async_context(_side(plan, profiles))
            for profiles in (plan.desk.profiles, plan.proposed)
            if profiles is not None
        ]
        await _replay(plan, reader, extents, sides, progress)
        outcomes = [await side.outcome(plan) for side in sides]
        happened = await _outcome(reader, plan)
        devices = frozenset[str]().union(*(extent.device_ids for extent in extents))
    return Report(
        wanted=plan.wanted,
        readings=sum(extent.readings for extent in extents),
        devices=len(devices),
        missing=sorted(set(plan.wanted.device_ids) - devices),
        happened=happened,
        installed=outcomes[0],
        proposed=outcomes[1] if len(outcomes) > 1 else None,
    )


def _with_warm_up(plan: Plan) -> Wanted:
    return replace(plan.wanted, since_us=max(0, plan.wanted.since_us - plan.warm_up_us))


@asynccontextmanager
async def reading(url: str) -> AsyncGenerator[Connection]:
    """A session in which nothing can be written."""
    async with await open_session(url, "careloop backtest", autocommit=True) as conn:
        await conn.execute(READ_ONLY)
        yield conn


async def _replay(
    plan: Plan, reader: Connection, extents: Sequence[Extent], sides: Sequence["_Side"], progress: Progress
) -> None:
    total, done = sum(extent.readings for extent in extents), 0
    progress(done, total)
    wanted = _with_warm_up(plan)
    departures = await list_departures(reader, plan.tenant_id, wanted) if wanted.base is TimeBase.RECEIVED else []
    async with aclosing(read_windows(reader, extents, wanted, departures)) as windows:
        async for window in windows:
            for side in sides:
                await side.take(window)
            done += window.readings
            progress(done, total)
    for side in sides:
        await side.end(plan.wanted.until_us / 1e6)


class _Side:
    """One set of profiles: its detectors, the alarms that they raise, and what the CRM side does with them."""

    def __init__(self, plan: Plan, profiles: Mapping[str, Profile], conn: Connection) -> None:
        engine = Engine(profiles, plan.detect)
        self._conn = conn
        self._tenant_id = plan.tenant_id
        self._replay = Replay(engine, profiles, plan.wanted.base)
        self._alarms = AlarmLog()
        self._crm = CrmSide(conn, replace(plan.desk, profiles=profiles), plan.tenant_id, self._replay.heads)

    async def take(self, window: Window) -> None:
        """Judge a window."""
        await self._tell(list(self._replay.take(window)))

    async def end(self, until_s: float) -> None:
        """Let the clock run to the end of the span."""
        await self._tell(list(self._replay.pass_time(until_s)))
        await self._crm.pass_time(until_s)

    async def _tell(self, decided: Sequence[Decided]) -> None:
        for each in decided:
            self._alarms.take(each)
        # What a piece has decided comes device by device; the inbox works it in the order of time.
        await self._crm.take([self._notice(each) for each in sorted(decided, key=lambda each: each.at_s)])

    def _notice(self, decided: Decided) -> AlarmNotice:
        change = decided.change
        alarm_id = alarm_id_of(change.device_id, change.watch, change.started_at_s)
        notice = notice_of(change, alarm_id, self._tenant_id, decided.head_ts_s, decided.at_s)
        return replace(notice, because=decided.because)

    async def outcome(self, plan: Plan) -> Outcome:
        """What the span came to."""
        wanted = plan.wanted
        told = await _outcome(self._conn, plan)
        alarms = self._alarms.raised_between(wanted.since_us / 1e6, wanted.until_us / 1e6)
        return replace(told, alarms=alarms, failed_notices=self._crm.stats.parked)


@asynccontextmanager
async def _side(plan: Plan, profiles: Mapping[str, Profile]) -> AsyncGenerator[_Side]:
    as_of_history = plan.wanted.base is TimeBase.RECEIVED
    async with set_apart(plan.url, as_of_history=as_of_history) as conn:
        yield _Side(plan, profiles, conn)


async def _outcome(conn: Connection, plan: Plan) -> Outcome:
    """What the tables tell that a session sees: the live ones, or its own."""
    return Outcome(
        alarms=await list_alarms(conn, plan.tenant_id, plan.wanted),
        cases=await list_cases(conn, plan.tenant_id, plan.wanted),
        refusals=await list_refusals(conn, plan.tenant_id, plan.wanted),
        contacts=await list_contacts(conn, plan.tenant_id, plan.wanted),
    )
