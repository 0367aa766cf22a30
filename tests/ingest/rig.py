"""A pipeline on a real database, and a door that remembers verdicts."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.ids import partition_of
from devices.payloads import load_codecs
from devices.profiles import AUTOMATIC
from devices.profiles.model import Metric, MetricKind, Profile
from devices.registry.model import Device
from devices.registry.queries import register_device
from gateway.intake import Bunch, Route, Verdict
from gateway.pipeline.directory import DeviceDirectory
from gateway.pipeline.judge import Engine
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from gateway.store.store import Store
from tests.ingest.recorder import RecordingEngine
from tests.services.patience import PATIENCE_S

NOW_S = 1_760_000_000.0

KETTLE = Profile(
    model="kettle",
    title="Kettle",
    metrics={
        "celsius": Metric(kind=MetricKind.GAUGE, unit="Cel", minimum=-20.0, maximum=130.0),
        "boils": Metric(kind=MetricKind.COUNTER, minimum=0.0),
    },
)
PROFILES = {AUTOMATIC.model: AUTOMATIC, KETTLE.model: KETTLE}
SUFFIX = {Route.TELEMETRY: "telemetry", Route.EVENTS: "events", Route.STATUS: "status", Route.UNKNOWN: "nonsense"}


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.at_s = now_s

    def now_s(self) -> float:
        """Where it stands."""
        return self.at_s


class Door:
    """An origin that keeps the verdicts in the order in which they came."""

    def __init__(self, *, keeps_order: bool = True) -> None:
        self.keeps_order = keeps_order
        self.settled: list[tuple[int, Verdict]] = []
        self._sent = 0

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Keep verdicts."""
        self.settled += zip(tokens, verdicts, strict=True)

    def next_token(self) -> int:
        """A token for the next packet."""
        self._sent += 1
        return self._sent

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts alone."""
        return [verdict for _, verdict in self.settled]


@dataclass
class Rig:
    """What a test works with; `settings` are the pipeline's."""

    url: str
    engine: Engine = field(default_factory=RecordingEngine)
    settings: PipelineSettings = field(default_factory=PipelineSettings)
    profiles: Mapping[str, Profile] = field(default_factory=lambda: PROFILES)
    clock: HandClock = field(default_factory=HandClock)
    door: Door = field(default_factory=Door)
    doors_healthy: Callable[[], bool] = lambda: True
    devices: Mapping[str, str | None] = field(default_factory=lambda: {"k1": "kettle", "k2": "kettle", "a1": None})
    via: str = ""  # how the store connects, where not by `url`
    told_crm: int = 0
    make_engine: Callable[[], Engine] | None = None  # for what is judged anew

    def __post_init__(self) -> None:
        self.log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
        self.codecs = load_codecs()
        self.directory = DeviceDirectory(
            [Device(name, "default", model, None, partition_of(name)) for name, model in self.devices.items()]
        )
        self.store = self.make_store()
        self.pipeline = Pipeline(
            self.settings,
            self.store,
            self.engine,
            self.directory,
            self.codecs,
            self.clock,
            self.log,
            doors_healthy=self.doors_healthy,
            on_alarms=self._count_alarms,
            make_engine=self.make_engine,
        )

    @property
    def recorder(self) -> RecordingEngine:
        """The engine, where it is one that remembers."""
        assert isinstance(self.engine, RecordingEngine)
        return self.engine

    def make_store(self) -> Store:
        """The store of the pipeline."""
        return Store(self.via or self.url, self.profiles, self.log)

    def _count_alarms(self) -> None:
        self.told_crm += 1

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Rig"]:
        """The pipeline at work; stopped in good order at the end."""
        await self.prepare()
        task = asyncio.create_task(self.pipeline.run())
        try:
            await self.until(lambda: self.pipeline.healthy, task)
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def prepare(self) -> None:
        """Register the devices."""
        async with await self.connect() as conn:
            for name, model in self.devices.items():
                await register_device(conn, "default", name, model, "add")

    async def until(self, is_true: Callable[[], bool], task: asyncio.Task[None] | None = None) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_true():
                if task is not None and task.done():
                    await task
                await asyncio.sleep(0.005)

    async def until_rows(self, query: str, expected: list[TupleRow]) -> None:
        """Wait for a query to have a result."""
        async with asyncio.timeout(PATIENCE_S), await self.connect() as conn:
            while await (await conn.execute(query.encode())).fetchall() != expected:  # noqa: ASYNC110 - the database does not call us
                await asyncio.sleep(0.01)

    async def connect(self) -> AsyncConnection[TupleRow]:
        """A connection of the test's own."""
        return await AsyncConnection.connect(self.url, autocommit=True)

    def packet(
        self, device_id: str, payload: object, route: Route = Route.TELEMETRY, door: Door | None = None
    ) -> Bunch:
        """A packet as a door would submit it: a bunch of one."""
        origin = door or self.door
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        topic = f"devices/{device_id}/{SUFFIX[route]}"
        return Bunch(origin, route, device_id, topic, "json", self.clock.now_s(), [origin.next_token()], [raw])

    async def send(self, *bunches: Bunch) -> list[Verdict]:
        """Submit packets, and wait for their verdicts."""
        before = len(self.door.settled)
        packets = sum(len(bunch.tokens) for bunch in bunches)
        self.pipeline.submit(bunches)
        await self.until(lambda: len(self.door.settled) >= before + packets)
        return self.door.verdicts[before:]

    async def tell(self, device_id: str, *readings: object) -> list[Verdict]:
        """Send readings, a packet each."""
        return await self.send(*(self.packet(device_id, reading) for reading in readings))

    async def rows(self, query: str, *values: object) -> list[TupleRow]:
        """Rows of the database."""
        async with await self.connect() as conn:
            return await (await conn.execute(query.encode(), values or None)).fetchall()


async def crash(rig: Rig, task: asyncio.Task[None]) -> None:
    """End a pipeline without a chance to write anything more.

    Its work ends before its connections do: else it would open others meanwhile, and go on until it is cancelled.
    """
    ended = [work for work in asyncio.all_tasks() if work.get_name() == "pipeline.work"]
    for work in ended:
        work.cancel()
    if ended:
        await asyncio.wait(ended, timeout=PATIENCE_S)
    await rig.store.close()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def reading(at_s: float, **metrics: float) -> dict[str, object]:
    """A reading at some seconds after NOW_S."""
    return {"ts": round((NOW_S + at_s) * 1000), "metrics": metrics}


def small_batches(max_readings: int = 1) -> PipelineSettings:
    """Settings that make a batch of every few packets."""
    return PipelineSettings(batch=BatchSettings(max_readings=max_readings, max_age=0.0), ingest=IngestSettings())
