"""The composition root: builds every part from the settings, lets them run, and stops them in good order."""

import asyncio
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.cases.desk import Desk
from crm_sync.trust.rules import TrustRules
from crm_sync.wording.catalogue import load_wordings
from devices.clock import Clock
from devices.payloads import load_codecs
from devices.profiles.model import Profile
from gateway.api.app import ApiParts, build_api
from gateway.api.server import ApiServer
from gateway.api.token import resolve_token
from gateway.backtest.jobs import Backtests, Ground
from gateway.captures.captures import Captures
from gateway.check import check_settings
from gateway.commands.broker import BrokerWay
from gateway.commands.issue import Rules
from gateway.commands.sender import CommandSender, Ways
from gateway.console.app import build_console
from gateway.console.parts import ConsoleParts
from gateway.database.hold import Database, hold_database
from gateway.database.session import open_session
from gateway.detect.engine import Engine
from gateway.doctor.examine import examine
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.doors.listen.counters import ListenStats
from gateway.doors.listen.server import ListenDoor
from gateway.doors.routes import Routes
from gateway.doors.routing import build_routes
from gateway.doors.subscribe.choose import Subscription, choose_engine
from gateway.doors.subscribe.stats import SubscribeStats
from gateway.failing import told_alone
from gateway.garbage import collecting_seldom
from gateway.maintenance.job import Maintenance, Upkeep
from gateway.metrics.exposition import Metrics, MetricSources
from gateway.outreach.supervisor import Outreach
from gateway.outreach.words import Start
from gateway.people.people import People
from gateway.people.welcome import welcome
from gateway.pipeline.directory import DeviceDirectory
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.settings import PipelineSettings
from gateway.readiness import Readiness, Watched
from gateway.registry_watch import watch_registry
from gateway.running import RunningGateway, announce_start, forget_gateway, remember_gateway
from gateway.settings import Settings, build_clock
from gateway.store.store import Store

Log = structlog.typing.FilteringBoundLogger

READY_LOOK_S: Final = 0.02


class Door(Protocol):
    """Where readings come in."""

    @property
    def healthy(self) -> bool:
        """Whether devices can reach us through it."""
        ...

    @property
    def trouble(self) -> str | None:
        """What is wrong although it is open."""
        ...

    async def start(self) -> None:
        """Open it."""
        ...

    async def stop(self) -> None:
        """Take no more, and settle what was taken."""
        ...


@dataclass(frozen=True, slots=True)
class _Ground:
    """What everything else stands on."""

    settings: Settings
    profiles: Mapping[str, Profile]
    clock: Clock
    database: Database
    log: Log


async def serve(settings: Settings, stop: asyncio.Event, announce: Callable[[str], None]) -> None:
    """Run a gateway until `stop` is set; `announce` is told a line for everything that is ready.

    Raises ConfigError when the settings cannot be carried out, Retryable when the database does not come up.
    """
    log: Log = structlog.get_logger()
    profiles = check_settings(settings)
    api = ApiServer(settings.api) if settings.api.enabled else None
    announce_start(settings)
    with told_alone(), _forgotten_at_last(settings):
        async with asyncio.TaskGroup() as tasks:
            if api is not None:
                tasks.create_task(api.run(), name="api")
                announce(f"api       {api.url}")
            async with hold_database(settings, stop, api.wait_for if api else _ignore, log) as database:
                if database is not None:
                    applied = f"; {database.applied} migrations applied" if database.applied else ""
                    announce(f"database  {database.edition.describe()}{applied}")
                    ground = _Ground(settings, profiles, build_clock(settings.clock), database, log)
                    await _Gateway(ground).run(api, stop, announce)
            if api is not None:
                api.stop()


@contextmanager
def _forgotten_at_last(settings: Settings) -> Generator[None]:
    try:
        yield
    finally:
        forget_gateway(settings)


def _outreach_of(ground: _Ground) -> Start:
    settings = ground.settings
    return Start(
        url=ground.database.url,
        pool_size=settings.database.pool_size,
        tenant_id=settings.tenant.id,
        crm=settings.crm,
        trust=TrustRules(settings.budget, settings.trust, settings.listen.authority().edge_nodes),
        log=settings.log,
        profiles=dict(ground.profiles),
        clock=ground.clock,
    )


def _pipeline_of(settings: Settings, routes: Routes) -> PipelineSettings:
    return PipelineSettings(
        settings.tenant.id,
        settings.batch,
        settings.ingest,
        settings.order,
        settings.listen.authority(),
        settings.fleet,
        routes.misplaced,
    )


class _Gateway:
    """The parts of one running gateway, and the order in which they start and stop."""

    def __init__(self, ground: _Ground) -> None:
        settings, log = ground.settings, ground.log
        self._ground = ground
        self._directory = DeviceDirectory()
        self._codecs = load_codecs()
        self._routes = build_routes(settings.routes, self._codecs)
        self._authenticator = RegistryAuthenticator(with_certificates=bool(settings.listen.tls.client_ca))
        self._outreach = Outreach(_outreach_of(ground), log)
        self._store = Store(ground.database.url, ground.profiles, log)
        self._pipeline = Pipeline(
            _pipeline_of(settings, self._routes),
            self._store,
            Engine(ground.profiles, settings.detect),
            self._directory,
            self._codecs,
            ground.clock,
            log,
            doors_healthy=lambda: all(door.healthy for door in self._doors.values()),
            make_engine=partial(Engine, ground.profiles, settings.detect),
            on_alarms=self._outreach.wake,
        )
        self._sender = CommandSender(
            ground.database.pool,
            self._connect,
            ground.clock,
            log,
            tenant_id=settings.tenant.id,
            settings=settings.commands,
        )
        self._broker = BrokerWay(settings.subscribe) if settings.subscribe.enabled else None
        self._doors = self._build_doors()
        self._registry_loaded = asyncio.Event()
        self._readiness = Readiness(
            Watched(
                doors=self._doors,
                queue=self._pipeline.queue,
                pipeline=self._pipeline,
                crm=self._outreach,
                pool=ground.database.pool,
                edition=ground.database.edition.describe(),
            )
        )
        self._metrics = Metrics(self._metric_sources())

    def _build_doors(self) -> dict[str, Door]:
        settings, clock, log = self._ground.settings, self._ground.clock, self._ground.log
        routes = self._routes
        doors: dict[str, Door] = {}
        if settings.listen.enabled:
            doors["listen"] = ListenDoor(
                settings.listen, self._pipeline, self._authenticator, routes, clock, log, courier=self._sender
            )
        if settings.subscribe.enabled:
            subscription = choose_engine(settings.subscribe)
            doors["subscribe"] = subscription(settings.subscribe, self._pipeline, routes, clock, log)
        return doors

    async def run(self, api: ApiServer | None, stop: asyncio.Event, announce: Callable[[str], None]) -> None:
        """Start from the inside out, stop from the outside in: intake first, then what it feeds."""
        settings, log = self._ground.settings, self._ground.log
        async with asyncio.TaskGroup() as tasks:
            pipeline = tasks.create_task(self._pipeline.run(), name="pipeline")
            outer = [tasks.create_task(self._outreach.run(), name="crm")]
            outer.append(tasks.create_task(self._watch_registry(), name="registry"))
            outer.append(tasks.create_task(self._readiness.watch(), name="readiness"))
            outer.append(tasks.create_task(self._metrics.watch(), name="metrics"))
            outer.append(tasks.create_task(self._maintenance().run(), name="maintenance"))
            if api is not None:
                pool = self._ground.database.pool
                people = People(pool, settings.tenant.id, settings.people, resolve_token(settings))
                await welcome(people, api.url, announce, stop, log)
                parts = self._api_parts(people)
                application = build_api(parts)
                if settings.console.enabled:
                    application.router.default = build_console(self._console_parts(parts))
                api.use(application)
            is_ready = await self._is_ready(stop)
            with collecting_seldom():  # from before a device waits, for the first look takes long
                if is_ready:
                    for door in self._doors.values():
                        await door.start()
                    outer.append(tasks.create_task(self._sender.run(self._ways()), name="commands"))
                    self._remember(api, announce)
                    log.info("gateway.ready")
                await stop.wait()
            log.info("gateway.stopping")
            await asyncio.gather(*(door.stop() for door in self._doors.values()))
            pipeline.cancel()
            with suppress(asyncio.CancelledError):
                await pipeline
            for task in outer:
                task.cancel()
        log.info("gateway.stopped")

    async def _is_ready(self, stop: asyncio.Event) -> bool:
        """Wait until the registry is known and readings can be stored; False when told to stop before that.

        A standby waits here: devices must find no open door at a gateway that cannot store.
        """
        while not (self._pipeline.healthy and self._registry_loaded.is_set()):
            if stop.is_set():
                return False
            await asyncio.sleep(READY_LOOK_S)
        return True

    def _remember(self, api: ApiServer | None, announce: Callable[[str], None]) -> None:
        settings = self._ground.settings
        listen = self._doors.get("listen")
        port = listen.port if isinstance(listen, ListenDoor) else None
        if port is not None:
            scheme = "mqtts" if settings.listen.tls.enabled else "mqtt"
            announce(f"listen    {scheme}://{settings.listen.host}:{port}")
        if settings.subscribe.enabled:
            announce(f"subscribe {settings.subscribe.host}:{settings.subscribe.port}")
        token = resolve_token(settings) if api else None
        host = settings.listen.host if port is not None else None
        remember_gateway(settings, RunningGateway(os.getpid(), api.url if api else None, token, host, port))

    def _maintenance(self) -> Maintenance:
        settings, ground, stats = self._ground.settings, self._ground, self._pipeline.stats
        upkeep = Upkeep(
            ground.database.url,
            settings.tenant.id,
            ground.profiles,
            settings.maintenance,
            settings.retention,
            ground.database.edition,
            ground.clock,
            ground.log,
        )
        return Maintenance(
            upkeep,
            fence=lambda: self._store.fence if self._pipeline.healthy else None,
            is_behind=lambda: stats.queued_packets > settings.batch.max_readings,
        )

    async def _watch_registry(self) -> None:
        listen = self._doors.get("listen")
        on_lost = listen.disconnect if isinstance(listen, ListenDoor) else _ignore
        await watch_registry(
            self._directory, self._authenticator, self._connect, on_lost, self._registry_loaded, self._ground.log
        )

    async def _connect(self) -> AsyncConnection[TupleRow]:
        url = self._ground.database.url
        return await open_session(url, autocommit=True)

    def _ways(self) -> Ways:
        listen = self._doors.get("listen")
        return Ways(listen if isinstance(listen, ListenDoor) else None, self._broker, self._pipeline.taps)

    def _api_parts(self, people: People) -> ApiParts:
        listen = self._doors.get("listen")
        return ApiParts(
            pool=self._ground.database.pool,
            tenant_id=self._ground.settings.tenant.id,
            people=people,
            clock=self._ground.clock,
            on_clock_set=self._outreach.follow_clock,
            pipeline=self._pipeline,
            crm=self._ground.settings.crm,
            trust=TrustRules(self._ground.settings.budget, self._ground.settings.trust),
            probe=self._readiness.probe,
            scrape=self._metrics.scrape,
            settings=self._ground.settings.api,
            is_connected=listen.is_connected if isinstance(listen, ListenDoor) else _is_nowhere,
            database=self._ground.database.edition.describe(),
            controller=self._ground.settings.tenant.controller,
            commands=Rules(self._ground.settings.tenant.id, self._ground.profiles, self._ground.settings.commands),
            captures=Captures(self._ground.database.pool, self._pipeline.taps, self._ground.clock),
        )

    def _console_parts(self, api: ApiParts) -> ConsoleParts:
        ground = self._ground
        desk = Desk(api.crm, ground.profiles, api.trust, load_wordings(api.crm.language, api.crm.wording_folder))
        return ConsoleParts(
            pool=api.pool,
            clock=api.clock,
            pipeline=api.pipeline,
            crm=api.crm,
            trust=api.trust,
            profiles=ground.profiles,
            probe=api.probe,
            is_connected=api.is_connected,
            database=api.database,
            people=api.people,
            public_url=api.settings.public_url,
            settings=ground.settings.console,
            examine=partial(examine, ground.settings),
            commands=api.commands,
            backtests=Backtests(api.clock.now_s),
            history=Ground(ground.database.url, desk, ground.settings.detect),
            captures=api.captures,
        )

    def _metric_sources(self) -> MetricSources:
        ground = self._ground
        return MetricSources(
            tenant_id=ground.settings.tenant.id,
            pool=ground.database.pool,
            edition=ground.database.edition.describe(),
            clock=ground.clock,
            pipeline=self._pipeline,
            limits=ground.settings.batch,
            outreach=self._outreach,
            doors=lambda: {name: door.healthy for name, door in self._doors.items()},
            listen=self._listen_stats,
            subscribe=self._subscribe_stats,
            checks=self._readiness.truths,
            database_answer_s=lambda: self._readiness.answer_s,
        )

    def _listen_stats(self) -> ListenStats | None:
        door = self._doors.get("listen")
        return door.stats if isinstance(door, ListenDoor) else None

    def _subscribe_stats(self) -> SubscribeStats | None:
        door = self._doors.get("subscribe")
        return door.stats if isinstance(door, Subscription) else None


def _ignore(_text: str) -> None:
    return None


def _is_nowhere(_device_id: str) -> bool:
    return False
