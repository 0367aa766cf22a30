"""Detector state after a start: the checkpoint, then everything stored since it, judged again in its order.

What the detectors report meanwhile is thrown away: it is in the database already. So a restart neither forgets an alarm
nor raises one twice.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.ids import partition_of
from devices.profiles.model import Profile
from devices.registry.queries import find_devices
from gateway.detect.cohort import Prior
from gateway.order.keeper import OrderKeeper
from gateway.order.queries import read_aside, read_rejudged
from gateway.pipeline.departed import read_forgotten
from gateway.pipeline.judge import Engine, Judge
from gateway.pipeline.priors import read_priors
from gateway.pipeline.sources import profile_of
from gateway.store.checkpoints import (
    BatchMark,
    LoggedFill,
    fills_by_batch,
    read_added,
    read_checkpoints,
    read_events,
    read_fills,
    read_marks,
)
from gateway.store.queries import last_batch
from gateway.store.readings import ReadBack, read_batches
from gateway.store.rows import EventRow, Fill, Readings, ReadingTable

Connection = AsyncConnection[TupleRow]

_WINDOW: Final = 50
_WINDOW_ROWS: Final = 100_000
"""Batches that are read at once, and what they may have stored together: a row takes a kilobyte as it is read."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the last run has come to."""

    batch_seq: int
    healthy_s: float
    batches: int  # that had to be judged again


@dataclass(frozen=True, slots=True)
class _Floors:
    """The batch after which each partition has to be judged again."""

    of_partition: Mapping[int, int]
    default: int

    @property
    def lowest(self) -> int:
        return min(self.of_partition.values(), default=self.default)

    @property
    def is_level(self) -> bool:
        return all(floor == self.default for floor in self.of_partition.values())

    def of(self, device_id: str) -> int:
        return self.of_partition.get(partition_of(device_id), self.default)


class Recovery:
    """Brings an engine without state to where the database says that it was."""

    def __init__(
        self,
        engine: Engine,
        profiles: Mapping[str, Profile],
        tables: Sequence[ReadingTable],
        log: structlog.typing.FilteringBoundLogger,
        order: OrderKeeper,
    ) -> None:
        self._engine = engine
        self._order = order
        self._profiles = profiles
        self._profile_of: dict[str, Profile] = {}  # of devices whose events are replayed
        self._judge = Judge(engine, profiles, log, self._profile_of.get)
        self._priors: Mapping[int, Prior] = {}  # by the batch from which each was in force
        self._tables = tables
        self._log = log

    async def run(self, conn: Connection) -> Recovered:
        """Restore checkpoints, then judge what was stored since."""
        floors = await self._restore(conn)
        await self._order.restore(conn)
        self._priors = {prior.number: prior for prior in await read_priors(conn, floors.lowest)}
        marks = await read_marks(conn, floors.lowest)
        first = marks[0].batch_seq if marks else math.inf
        for prior in self._priors.values():
            if prior.number < first:  # also where its batch was pruned
                self._engine.adopt(prior)
        readings = 0
        for window in windows(marks):
            readings += await self._replay(conn, window, floors)
        batch_seq, healthy_s = await last_batch(conn)
        self._log.info("detect.recovered", batch_seq=batch_seq, batches=len(marks), readings=readings)
        return Recovered(batch_seq, healthy_s, len(marks))

    async def _restore(self, conn: Connection) -> _Floors:
        floors: dict[int, int] = {}
        checkpoints = await read_checkpoints(conn)
        for checkpoint in checkpoints:
            if checkpoint.version == self._engine.version:
                self._engine.restore(checkpoint.partition, checkpoint.state)
                floors[checkpoint.partition] = checkpoint.batch_seq
            else:
                # Only what has not been pruned can be judged again; the detectors learn the rest anew.
                self._log.warning(
                    "detect.checkpoint_outdated", partition=checkpoint.partition, version=checkpoint.version
                )
                floors[checkpoint.partition] = 0
        # A partition without a checkpoint had no state when the others were written.
        return _Floors(floors, max((checkpoint.batch_seq for checkpoint in checkpoints), default=0))

    async def _replay(self, conn: Connection, marks: Sequence[BatchMark], floors: _Floors) -> int:
        after, until = marks[0].batch_seq - 1, marks[-1].batch_seq
        stored = [await _read_as_first_stored(conn, table, after, until) for table in self._tables]
        events = await read_events(conn, after, until)
        await self._look_up(conn, {event.device_id for told in events.values() for event in told})
        grouped = fills_by_batch(await read_fills(conn, after, until))
        forgotten = await read_forgotten(conn, after, until)
        asides, rejudged = await read_aside(conn, after, until), await read_rejudged(conn, after, until)
        for mark in marks:
            if mark.kind == "timer":
                self._judge.due(mark.alive_s, mark.now_s)
            elif mark.kind == "forget":
                gone = forgotten.get(mark.batch_seq, ())
                self._judge.forget(name for name in gone if floors.of(name) < mark.batch_seq)
            elif mark.kind == "prior":
                if mark.batch_seq in self._priors:
                    self._engine.adopt(self._priors[mark.batch_seq])
            elif mark.kind == "rejudge":
                states = rejudged.get(mark.batch_seq, {})
                self._judge.replace({name: state for name, state in states.items() if floors.of(name) < mark.batch_seq})
            else:
                told = [_told(part, grouped, floors, mark) for part in stored]
                self._judge.judge(told, _events_above(events.get(mark.batch_seq, ()), floors, mark), mark.alive_s)
                if mark.batch_seq > floors.default:
                    told_all = [_of_batch(part, mark.batch_seq) for part in stored]
                    told_events = events.get(mark.batch_seq, ())
                    self._order.replay(mark.batch_seq, told_all, told_events, asides.get(mark.batch_seq))
            self._judge.commit()
        return sum(len(part.readings) for part in stored)

    async def _look_up(self, conn: Connection, device_ids: AbstractSet[str]) -> None:
        """What profiles the devices have that sent events: some may never have sent anything else."""
        for device in await find_devices(conn, sorted(device_ids - self._profile_of.keys())):
            self._profile_of[device.device_id] = profile_of(self._profiles, device)


def windows(marks: Sequence[BatchMark]) -> Iterator[Sequence[BatchMark]]:
    """Batches one after the other, as many at once as memory is meant for; at least one, however large."""
    start = rows = 0
    for at, mark in enumerate(marks):
        if at - start == _WINDOW or (at > start and rows + mark.rows > _WINDOW_ROWS):
            yield marks[start:at]
            start, rows = at, 0
        rows += mark.rows
    if marks:
        yield marks[start:]


def _told(
    part: ReadBack, fills: Mapping[tuple[int, str], Sequence[LoggedFill]], floors: _Floors, mark: BatchMark
) -> tuple[Readings, list[Fill]]:
    """What a batch told of a product model: new readings, and what completed others."""
    completed = [
        Fill(fill.device_id, fill.ts_us, fill.batch_row, fill.metrics)
        for fill in fills.get((mark.batch_seq, part.readings.table.model), ())
        if floors.of(fill.device_id) < mark.batch_seq
    ]
    return _above(_of_batch(part, mark.batch_seq), floors, mark), completed


def _of_batch(part: ReadBack, batch_seq: int) -> Readings:
    start, end = (int(np.searchsorted(part.batch_seq, number)) for number in (batch_seq, batch_seq + 1))
    return part.readings.take(np.arange(start, end))


def _above(readings: Readings, floors: _Floors, mark: BatchMark) -> Readings:
    if floors.is_level or not len(readings):
        return readings
    is_above = [floors.of(device_id) < mark.batch_seq for device_id in readings.device_ids]
    wanted: NDArray[np.bool_] = np.array(is_above, np.bool_)[readings.device]
    return readings.take(wanted)


def _events_above(events: Sequence[EventRow], floors: _Floors, mark: BatchMark) -> Iterator[EventRow]:
    return (event for event in events if floors.of(event.device_id) < mark.batch_seq)


async def _read_as_first_stored(conn: Connection, table: ReadingTable, after: int, until: int) -> ReadBack:
    """The readings as their own batch stored them, without what later batches added."""
    part = await read_batches(conn, table, after, until)
    readings = part.readings
    added = await read_added(conn, table, after, until) if len(readings) else ()
    if not added:
        return part
    places: list[tuple[int, int]] = list(zip(readings.device.tolist(), readings.ts_us.tolist(), strict=True))
    position_of = {(readings.device_ids[device], ts_us): position for position, (device, ts_us) in enumerate(places)}
    column_of = {name: column for column, name in enumerate(readings.table.metrics)}
    for fill in added:
        position = position_of.get((fill.device_id, fill.ts_us))
        if position is None:
            continue
        for name in fill.metrics:
            if name in column_of:
                readings.values[position, column_of[name]] = np.nan
            readings.extra.get(position, {}).pop(name, None)
    return part
