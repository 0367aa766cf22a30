"""The ingest benchmark: every contestant takes the same rounds, in turn, and each ratio is one within a round."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from devices.profiles import load_profiles
from gateway.bench import node_red, packets, queries
from gateway.bench.contest import Contestant, Result, Round
from gateway.bench.figures import IngestFigures, ProcessorTime, Rates, Ratios, middle, ratio
from gateway.bench.load import half_of, window_of
from gateway.bench.ours import Bench, Listen, Subscribe
from gateway.bench.peers import MosquittoSub, MosquittoSubCopy, RawCopy, null_sink, speaking_mqtt5
from gateway.bench.rows import INTERVAL_S, METRICS, MODEL, Fleet, readings
from gateway.bench.services import Broker, Gateway, broker, database_server, gateway, work_folder
from gateway.bench.stage import new_database, registered
from gateway.database.edition import detect_edition
from gateway.database.embedded import EmbeddedPostgres
from gateway.database.migrate import migrate
from gateway.database.provisioned import Provisioned
from gateway.doors.settings import SubscribeSettings
from gateway.store.binary_copy import encode_readings
from gateway.store.editions import divider_of
from gateway.store.rows import ReadingTable
from gateway.store.tables import ReadingTables

NOMINAL_PER_S: Final = 100_000
"""Readings per second of `--seconds` in a round: about what a broker hands on, so that nobody is done in a moment, of
which the way of the first and the last batch would be much, and nobody waits for long."""

EACH: Final = 1
BOTH_WAYS: Final = ("subscribe", "subscribe_mqtt5", "mosquitto_sub", "mosquitto_sub_mqtt5", "mosquitto_sub_copy")
"""Who takes each round twice: from devices that are woken when half of their window is acknowledged, and from devices
that are woken by each acknowledgement. What a broker can hand on depends on it, and for each of them in another way."""

COPY_BATCH: Final = 5000
FLEETS: Final = (10_000, 100_000, 1_000_000)
BATCHES: Final = (250, 1000, 2500, 5000, 10_000)
_DAY_S: Final = 86_400
_CHUNK_S: Final = 7.0 * _DAY_S


@dataclass(frozen=True, slots=True)
class IngestPlan:
    """What is measured, and for how long."""

    seconds: float = 4.0  # the last batch's way into the database is to be little of it
    rounds: int = 3
    connections: int = 1000
    in_flight: int = 20_000  # packets that all connections together may have unacknowledged
    fleets: Sequence[int] = ()  # sizes of registries
    batches: Sequence[int] = ()  # largest batches
    node_red: Path | None = None

    @property
    def per_device(self) -> int:
        """Readings that a device sends in a round."""
        return max(int(self.seconds * NOMINAL_PER_S / self.connections), 1)


Ways = Mapping[int, list[Result]]
"""A contestant's rounds, by how many packets of a device are acknowledged before it sends on."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Everything that was measured."""

    plan: IngestPlan
    database: str
    results: Mapping[str, list[Result]]  # by contestant, round by round; of two ways those that it does better in
    fleets: Mapping[int, list[Result]] = field(default_factory=dict[int, list[Result]])
    batches: Mapping[int, list[Result]] = field(default_factory=dict[int, list[Result]])
    ways: Mapping[str, Ways] = field(default_factory=dict[str, Ways])  # everything, by contestant

    @property
    def per_s(self) -> Mapping[str, list[float]]:
        """Readings a second."""
        rates = {name: [result.per_s for result in results] for name, results in self.results.items()}
        sizes = {f"fleet {size}": [result.per_s for result in results] for size, results in self.fleets.items()}
        return rates | sizes

    def cpu_us(self, name: str, part: str) -> float | None:
        """The median of the microseconds that a reading through a contestant costs one of the parts."""
        spent = [result.cpu_s[part] / result.readings for result in self.results.get(name, ()) if part in result.cpu_s]
        return round(median(spent) * 1e6, 2) if spent else None

    @property
    def figures(self) -> IngestFigures:
        """What is handed to machines."""
        per_s = self.per_s
        return IngestFigures(
            Rates(
                listen=middle(per_s, "listen") or 0.0,
                subscribe=middle(per_s, "subscribe"),
                mosquitto_sub=middle(per_s, "mosquitto_sub"),
                mosquitto_sub_copy=middle(per_s, "mosquitto_sub_copy"),
                raw_copy=middle(per_s, "raw_copy") or 0.0,
                node_red=middle(per_s, "node_red"),
                subscribe_mqtt5=middle(per_s, "subscribe_mqtt5"),
                mosquitto_sub_mqtt5=middle(per_s, "mosquitto_sub_mqtt5"),
            ),
            Ratios(
                listen_over_mosquitto_sub_copy=ratio(per_s, "listen", "mosquitto_sub_copy"),
                listen_over_raw_copy=ratio(per_s, "listen", "raw_copy"),
                listen_over_node_red=ratio(per_s, "listen", "node_red"),
                subscribe_over_mosquitto_sub=ratio(per_s, "subscribe", "mosquitto_sub"),
                fleet_1m_over_10k=ratio(per_s, f"fleet {FLEETS[-1]}", f"fleet {FLEETS[0]}"),
                subscribe_mqtt5_over_mosquitto_sub=ratio(per_s, "subscribe_mqtt5", "mosquitto_sub"),
                subscribe_mqtt5_over_mosquitto_sub_mqtt5=ratio(per_s, "subscribe_mqtt5", "mosquitto_sub_mqtt5"),
            ),
            ProcessorTime(
                gateway=self.cpu_us("listen", "gateway") or 0.0,
                database=self.cpu_us("listen", "database") or 0.0,
                broker=self.cpu_us("subscribe", "broker"),
            ),
            {name: {str(way): rounded(results) for way, results in ways.items()} for name, ways in self.ways.items()},
        )

    def wakes_after(self, name: str) -> int | None:
        """In which of two ways a contestant did better: packets acknowledged that wake a device; None of only one."""
        ways = self.ways.get(name, {})
        return next((way for way, its in ways.items() if its is self.results[name] and len(ways) > 1), None)


def run_ingest(plan: IngestPlan, programs: Provisioned | None, say: Callable[[str], None]) -> IngestReport:
    """Measure. Raises Retryable when something does not start, or somebody loses a reading."""
    with work_folder() as folder, database_server(folder, programs) as server:
        stage = _Stage(plan, folder, server, say)
        ways = stage.contest(programs)
        fleets = stage.sweep("registered devices", plan.fleets, stage.fleet_of)
        batches = stage.sweep("readings in a batch at most", plan.batches, stage.batches_of)
        results = {name: better(its_ways) for name, its_ways in ways.items()}
        return IngestReport(plan, stage.database, results, fleets, batches, ways)


def rounded(results: Sequence[Result]) -> list[float]:
    """Readings a second, as machines are given them."""
    return [round(result.per_s, 1) for result in results]


def better(ways: Ways) -> list[Result]:
    """The rounds in the way in which the median rate is higher."""
    return max(ways.values(), key=lambda results: median(result.per_s for result in results))


class _Stage:
    """The server that all share, and what is set up on it."""

    def __init__(self, plan: IngestPlan, folder: Path, server: EmbeddedPostgres, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._server = server
        self._say = say
        self._fleet = Fleet(plan.connections, int(time.time()) - 2 * (plan.rounds + 1) * plan.per_device * INTERVAL_S)
        assert server.pid is not None
        self._bench = Bench(server.pid, window_of(plan.in_flight, plan.connections))
        self._shelf = new_database(server, "shelf")
        self.database, self._table = asyncio.run(_shelf(self._shelf, self._fleet.start_s))

    def contest(self, programs: Provisioned | None) -> Mapping[str, Ways]:
        """All contestants, round by round."""
        with ExitStack() as stack:
            contestants: list[Contestant] = [self._listen(stack, "listen", 0, {})]
            contestants.append(RawCopy(self._bench, self._connect(stack, self._shelf), self._table))
            contestants.append(stack.enter_context(null_sink(self._folder, self._bench)))
            if programs is not None:
                contestants += self._at_the_broker(stack, programs)
            return self._rounds(contestants)

    def sweep(
        self, what: str, sizes: Sequence[int], build: Callable[[ExitStack, int], Contestant]
    ) -> Mapping[int, list[Result]]:
        """`listen` at several sizes of something, round by round."""
        if not sizes:
            return {}
        with ExitStack() as stack:
            self._say(f"setting up: {', '.join(f'{size:,}' for size in sizes)} {what}")
            contestants = {str(size): build(stack, size) for size in sizes}
            results = self._rounds(list(contestants.values()))
            return {size: better(results[contestants[str(size)].name]) for size in sizes}

    def fleet_of(self, stack: ExitStack, size: int) -> Contestant:
        """A gateway that knows this many devices."""
        return self._listen(stack, f"fleet {size}", max(size - self._plan.connections, 0), {})

    def batches_of(self, stack: ExitStack, size: int) -> Contestant:
        """A gateway whose batches are no larger than this."""
        return self._listen(stack, f"batch {size}", 0, {"batch": {"max_readings": size}})

    def _rounds(self, contestants: Sequence[Contestant]) -> dict[str, dict[int, list[Result]]]:
        results: dict[str, dict[int, list[Result]]] = {contestant.name: {} for contestant in contestants}
        order = deque(contestants)
        ways = dict.fromkeys((half_of(self._bench.window), EACH))  # one where a device may have no more under way
        with psycopg.connect(self._server.url, autocommit=True) as maintenance:
            for number in range(self._plan.rounds + 1):
                for way, wakes_after in enumerate(ways):
                    turns = [contestant for contestant in order if way == 0 or contestant.name in BOTH_WAYS]
                    if not turns:
                        continue
                    given = self._round(number, way, wakes_after)
                    for contestant in turns:
                        queries.checkpoint(maintenance)
                        result = contestant.take(given)
                        if number:  # the first one warms up
                            results[contestant.name].setdefault(wakes_after, []).append(result)
                            self._say(f"round {number}: {contestant.name} {result.per_s:,.0f} readings/s")
                order.rotate(1)
        return results

    def _round(self, number: int, way: int, wakes_after: int) -> Round:
        """Rows of their own for each way, for what came before is not stored again."""
        per_device = self._plan.per_device
        block = self._fleet.block((2 * number + way) * per_device, per_device)
        if number == 0:
            block = block.first(self._fleet.senders * max(per_device // 4, 1))
        whole = readings(self._fleet, block, self._table)
        cuts = range(0, len(block), COPY_BATCH)
        copies = [encode_readings(whole.take(np.arange(at, min(at + COPY_BATCH, len(block)))), at) for at in cuts]
        return Round(number, block, packets.streams(self._fleet, block), copies, wakes_after)

    def _listen(self, stack: ExitStack, name: str, idle: int, more: Mapping[str, Mapping[str, object]]) -> Contestant:
        url = self._registered(name.replace(" ", "_"), idle)
        listen = {"port": 0, "connections_per_s": 1e6}
        running = self._gateway(stack, name, url, {"listen": listen, **more})
        return Listen(self._bench, running, self._connect(stack, url), name)

    def _at_the_broker(self, stack: ExitStack, programs: Provisioned) -> Iterator[Contestant]:
        ours = stack.enter_context(broker(self._folder, "our-broker", programs))
        theirs = stack.enter_context(broker(self._folder, "their-broker", programs))
        yield self._subscribe(stack, "subscribe", ours, {"protocol": "3.1.1"})  # as mosquitto_sub speaks by itself
        mqtt5 = stack.enter_context(broker(self._folder, "mqtt5-broker", programs))
        yield self._subscribe(stack, "subscribe_mqtt5", mqtt5, {"protocol": "5"})
        yield MosquittoSub(self._bench, programs.mosquitto_sub, theirs)
        window = speaking_mqtt5(SubscribeSettings().receive_maximum)
        yield MosquittoSub(self._bench, programs.mosquitto_sub, theirs, "mosquitto_sub_mqtt5", window)
        lines_url = new_database(self._server, "lines")
        lines = self._connect(stack, lines_url)
        queries.create_lines(lines)
        yield MosquittoSubCopy(self._bench, programs.mosquitto_sub, theirs, lines, lines_url)
        if self._plan.node_red is not None:
            yield self._node_red(stack, self._plan.node_red, programs)

    def _subscribe(self, stack: ExitStack, name: str, its_broker: Broker, more: Mapping[str, object]) -> Contestant:
        url = self._registered(name, 0)
        subscribe = {"enabled": True, "port": its_broker.port, **more}
        running = self._gateway(stack, name, url, {"listen": {"enabled": False}, "subscribe": subscribe})
        its_broker.wait_for_subscription(1)
        return Subscribe(self._bench, running, its_broker, self._connect(stack, url), name)

    def _node_red(self, stack: ExitStack, program: Path, programs: Provisioned) -> Contestant:
        url = new_database(self._server, "node_red")
        database = self._connect(stack, url)
        queries.create_readings(database, node_red.TABLE, METRICS)
        its_broker = stack.enter_context(broker(self._folder, "node-red-broker", programs))
        pid = stack.enter_context(node_red.node_red(self._folder, program, its_broker, url))
        return node_red.NodeRed(self._bench, pid, its_broker, database)

    def _gateway(self, stack: ExitStack, name: str, url: str, more: Mapping[str, Mapping[str, object]]) -> Gateway:
        housekeeping = {"every": "1d"}  # or its minute would fall into the turn of somebody else
        sections = {"database": {"url": url}, "api": {"port": 0}, "maintenance": housekeeping, **more}
        return stack.enter_context(gateway(self._folder, name.replace(" ", "-"), sections))

    def _registered(self, name: str, idle: int) -> str:
        return registered(self._server, name, self._fleet.device_ids, idle=idle)

    @staticmethod
    def _connect(stack: ExitStack, url: str) -> Connection[TupleRow]:
        return stack.enter_context(psycopg.connect(url, autocommit=True))


async def _shelf(url: str, start_s: int) -> tuple[str, ReadingTable]:
    """Make the table that raw COPY writes to, exactly as the gateway makes its own; and what database it is.

    Native partitions are made beforehand, from the first reading's day until tomorrow.
    """
    await migrate(url)
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        edition = await detect_edition(conn)
        divider = divider_of(edition, _CHUNK_S)
        tables = ReadingTables(divider)
        await tables.load(conn, [load_profiles()[MODEL]])
        table = tables[MODEL]
        days = np.arange(start_s, time.time() + 2 * _DAY_S, _DAY_S, dtype=np.int64)
        await divider.make_room(conn, table.name, days * 1_000_000)
        return edition.describe().partition(";")[0], table
