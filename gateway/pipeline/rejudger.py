"""Late readings put in their place: devices judged anew between batches, within a share of the pipeline's time."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.detect.model import AlarmChange
from gateway.order import queries
from gateway.order.episodes import Correction, Lateness, Outcome, Recorded, correct, episodes_of
from gateway.order.history import Bounds, find_starts, read_page
from gateway.order.keeper import OrderKeeper
from gateway.order.rejudge import PAGE, Engine, Rejudging, joined, live_detectors
from gateway.order.settings import OrderSettings
from gateway.pipeline.judge import Judge
from gateway.pipeline.priors import read_prior
from gateway.pipeline.registrar import Registrar
from gateway.pipeline.samples import samples_of
from gateway.pipeline.sources import Sources
from gateway.pipeline.transactions import Transactions
from gateway.store.queries import BatchRow
from gateway.store.store import Store

Connection = AsyncConnection[TupleRow]

AT_ONCE: Final = 32  # devices, which are judged at little more than the price of one
PIECE_S: Final = 0.02  # of work at a time, real time
LOOK_S: Final = 1.0  # between looks at an empty queue
COUNT_S: Final = 30.0  # between counts of who waits


@dataclass(frozen=True, slots=True)
class Bench:
    """What judging anew needs of the pipeline."""

    settings: OrderSettings
    store: Store
    judge: Judge
    sources: Sources
    transactions: Transactions
    order: OrderKeeper
    make_engine: Callable[[], Engine] | None
    log: structlog.typing.FilteringBoundLogger
    timer: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, slots=True)
class _Done:
    """What one transaction has done."""

    outcomes: Mapping[str, Outcome]
    changes: Sequence[AlarmChange]


class Rejudger:
    """Judges the devices whose turn has come, some at a time."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._registrar = Registrar(bench.store, bench.sources)
        self._live = live_detectors()
        self._work: Rejudging | None = None
        self._next_s = self._count_s = 0.0

    def drop(self, device_ids: Collection[str]) -> None:
        """Leave devices alone that have been forgotten."""
        if self._work is not None:
            self._work.drop(device_ids)

    async def go_on(self, now_s: float, alive_s: float) -> Sequence[AlarmChange]:
        """Do a piece of the work, where it is time for one; gives the alarms that it has changed."""
        bench, begun_s = self._bench, self._bench.timer()
        if bench.make_engine is None or not bench.settings.rejudge or begun_s < self._next_s:
            return ()
        changes: Sequence[AlarmChange] = ()
        if self._work is None:
            self._work = await self._begin(now_s, bench.make_engine)
        if self._work is not None and await self._read_on(self._work, begun_s):
            changes = await self._finish(self._work, now_s, alive_s)
            self._work = None
        took_s = bench.timer() - begun_s
        self._next_s = begun_s + (
            LOOK_S if self._work is None and not changes else took_s / bench.settings.rejudge_share
        )
        return changes

    async def _begin(self, now_s: float, make_engine: Callable[[], Engine]) -> Rejudging | None:
        """Take up devices of one product model whose turn has come."""
        bench = self._bench
        due = await bench.transactions.until_done(partial(queries.list_due, now_s=now_s, limit=AT_ONCE))
        if bench.timer() >= self._count_s:
            self._count_s = bench.timer() + COUNT_S
            bench.order.waiting = await bench.transactions.until_done(queries.count_waiting)
        models = {each.device_id: self._model_of(each.device_id) for each in due}
        if not due:
            return None
        model = models[due[0].device_id]
        number = bench.judge.prior_of(due[0].device_id)
        wanted = {
            each.device_id: each
            for each in due
            if models[each.device_id] == model and bench.judge.prior_of(each.device_id) == number
        }
        table = bench.store.tables[model]
        bounds = Bounds(round(bench.settings.rejudge_history * 1e6), bench.settings.rejudge_readings)
        starts = await bench.transactions.until_done(
            partial(find_starts, table=table, device_ids=list(wanted), bounds=bounds)
        )
        engine, prior = make_engine(), await bench.transactions.until_done(partial(read_prior, number=number))
        if prior is not None:
            engine.adopt(prior)
        return Rejudging(
            profile=bench.store.profiles[model],
            table=table,
            engine=engine,
            wanted=wanted,
            batch_seq=bench.transactions.batch_seq,
            afters={device_id: start_us - 1 for device_id, start_us in starts.items()},
        )

    def _model_of(self, device_id: str) -> str:
        device = self._bench.sources.devices.get(device_id)
        return "automatic" if device is None else self._bench.sources.model_of(device)

    async def _read_on(self, work: Rejudging, begun_s: float) -> bool:
        """Judge the next pages; True when the history is through."""
        bench = self._bench
        while bench.timer() - begun_s < PIECE_S:
            page = await bench.transactions.until_done(
                partial(read_page, table=work.table, afters=work.afters, limit=PAGE)
            )
            try:
                goes_on = work.take(page, samples_of)
            except Exception:
                bench.log.exception("rejudge.failed", devices=len(work.wanted))
                work.has_failed = True
                return True
            if not goes_on:
                return True
        return False

    async def _finish(self, work: Rejudging, now_s: float, alive_s: float) -> Sequence[AlarmChange]:
        """Write down what came of it, in a numbered transaction."""
        bench = self._bench
        batch_seq = bench.transactions.batch_seq + 1
        row = BatchRow(batch_seq, "rejudge", alive_s, now_s)
        done = await bench.transactions.until_committed(batch_seq, partial(self._write, work=work, row=row))
        bench.order.rejudged.update(map(str, done.outcomes.values()))
        bench.log.info(
            "detect.rejudged",
            devices=len(done.outcomes),
            corrected=sum(outcome is Outcome.CORRECTED for outcome in done.outcomes.values()),
            unsure=sum(outcome is Outcome.UNSURE for outcome in done.outcomes.values()),
            alarms=len(done.changes),
        )
        return done.changes

    async def _write(self, conn: Connection, work: Rejudging, row: BatchRow) -> _Done:
        bench, device_ids = self._bench, list(work.wanted)
        # Who has had late readings in the meantime is judged again, from the start.
        later = await queries.list_later(conn, device_ids, work.batch_seq) | bench.order.lates.keys()
        device_ids = [device_id for device_id in device_ids if device_id not in later]
        silent = await queries.list_silent(conn, device_ids)
        firsts = {device_id: work.wanted[device_id].first_ts for device_id in device_ids}
        alarms = await queries.list_alarms(conn, work.table.name, firsts)
        corrections = {
            device_id: self._correct(work, device_id, alarms.get(device_id, ()), is_silent=device_id in silent)
            for device_id in device_ids
        }
        await self._replace(conn, work, row, corrections, silent)
        tenant_id = bench.sources.settings.tenant_id
        changes = [change for correction in corrections.values() for change in correction.changes]
        for device_id, correction in corrections.items():
            for watch, started_at_s, alarm_id in correction.names:
                owner = self._registrar.tenant_of(device_id)
                await queries.put_name(conn, owner, device_id, watch, started_at_s, alarm_id)
        await self._registrar.tell(conn, changes, row.now_s, row.alive_s)
        outcomes = {device_id: correction.outcome for device_id, correction in corrections.items()}
        await queries.finish(conn, tenant_id, outcomes, row.batch_seq, row.now_s)
        await self._registrar.number(conn, row)
        return _Done(outcomes, changes)

    def _correct(self, work: Rejudging, device_id: str, alarms: Sequence[Recorded], *, is_silent: bool) -> Correction:
        if work.has_failed:
            return Correction(Outcome.UNSURE)
        wanted = work.wanted[device_id]
        lateness = Lateness(wanted.first_ts.timestamp(), wanted.behind_s, is_silent)
        return correct(episodes_of(work.changes_of(device_id)), alarms, lateness)

    async def _replace(
        self,
        conn: Connection,
        work: Rejudging,
        row: BatchRow,
        corrections: Mapping[str, Correction],
        silent: set[str],
    ) -> None:
        """Let the gateway's own detectors go on from where the history has come to."""
        states: dict[str, bytes] = {}
        for device_id, correction in corrections.items():
            judged = work.engine.take_out(device_id)
            if correction.outcome is not Outcome.UNSURE and judged is not None:
                live = self._bench.judge.take_out(device_id)
                states[device_id] = joined(judged, live, self._live, is_silent=device_id in silent)
        self._bench.judge.replace(states)
        await queries.put_rejudged(conn, self._bench.sources.settings.tenant_id, row.batch_seq, states)
