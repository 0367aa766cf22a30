"""The subscription to a broker by our own client: many packets a read, acknowledgements joined; tcp and TLS."""

import asyncio
import random
import socket
from contextlib import suppress
from typing import Final, NoReturn

from devices.clock import Clock
from gateway.doors.mqtt.codes import MQTT_5
from gateway.doors.mqtt.native import load_cutter_of_mixed
from gateway.doors.routes import Routes
from gateway.doors.settings import SubscribeSettings
from gateway.doors.sparing import Log
from gateway.doors.subscribe.fast_connection import FastConnection
from gateway.doors.subscribe.fast_context import FastContext
from gateway.doors.subscribe.renewal import NOT_TAKEN
from gateway.doors.subscribe.retry import BrokerLost, Versions, delay_s
from gateway.doors.subscribe.secrets import read_secrets
from gateway.doors.subscribe.stats import SubscribeStats
from gateway.doors.subscribe.topics import RememberedTopics
from gateway.intake import Intake

_STOP_S: Final = 10.0


class FastSubscription:
    """A client of the user's broker with a session that the broker keeps while we are away.

    It lives in the event loop. When the pipeline is full the socket is not read; for QoS 1 the receive maximum bounds
    what can be under way in any case.
    """

    def __init__(  # noqa: PLR0917 - the same order as the listen door's
        self,
        settings: SubscribeSettings,
        intake: Intake,
        routes: Routes,
        clock: Clock,
        log: Log,
        jitter: random.Random | None = None,
    ) -> None:
        """Read the certificates and the password. Raises ConfigError."""
        self._settings = settings
        self._log = log
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads reconnects, hides nothing
        self._tls, password = read_secrets(settings)
        self._context = FastContext(
            settings=settings,
            credentials=(settings.username, password) if settings.username else None,
            topic_filters=routes.topic_filters(),
            topics=RememberedTopics(routes),
            intake=intake,
            now_s=clock.now_s,
            log=log,
            on_settled=self._on_settled,
            cut=load_cutter_of_mixed(),
        )
        self._versions = Versions(settings.protocol)
        self._connection: FastConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._stopping = False
        self._has_subscribed = False
        self._connected = self._lost = 0

    @property
    def healthy(self) -> bool:
        """Whether we are connected and subscribed, and what comes is not only what came before."""
        connection = self._connection
        if connection is None or not connection.is_subscribed or connection.ended.done():
            return False
        return not self._context.renewal.is_stuck

    @property
    def trouble(self) -> str | None:
        """What the broker does wrong, in words; None when nothing."""
        return NOT_TAKEN if self._context.renewal.is_in_vain else None

    @property
    def stats(self) -> SubscribeStats:
        """What the subscription has seen since it started."""
        counters = self._context.counters
        return SubscribeStats(
            connected=self._connected,
            lost=self._lost,
            received=counters.received,
            redelivered=counters.redelivered,
            acknowledged=counters.acknowledged,
            too_late=counters.too_late,
            unsettled=counters.unsettled,
        )

    async def start(self) -> None:
        """Begin to connect; `healthy` tells when that has succeeded."""
        self._task = asyncio.create_task(self._run(), name="careloop-subscribe")

    async def stop(self) -> None:
        """Read no more, acknowledge what is settled meanwhile, say goodbye; the session stays on the broker."""
        task = self._task
        if task is None:
            return
        self._stopping = True
        if self._connection is not None:
            await self._connection.leave(_STOP_S)
            await self._connection.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        """Connect, serve, and begin again, until told to stop."""
        failures = 0
        while True:
            await self._wait_for_room()
            was_connected = self._connected
            try:
                await self._serve()
            except BrokerLost as lost:
                if lost.is_renewal and not self._stopping:
                    failures = 0  # who leaves by himself was let in
                    self._log.info(
                        "subscribe.renewed", host=self._settings.host, port=self._settings.port, reason=str(lost)
                    )
                    continue
                self._versions.lost(lost)
                reason = str(lost)
            except Exception as error:  # noqa: BLE001 - the subscription's supervisor: it logs, and tries anew
                reason = f"{type(error).__name__}: {error}"
            if self._stopping:
                return
            failures = 0 if self._connected > was_connected else failures + 1
            self._lost += 1
            self._log.warning("subscribe.lost", host=self._settings.host, port=self._settings.port, reason=reason)
            await asyncio.sleep(delay_s(self._settings, failures, self._jitter))

    async def _serve(self) -> NoReturn:
        """Serve one connection to its end, which comes as BrokerLost."""
        connection = FastConnection(self._context, self._versions.current, is_first=not self._has_subscribed)
        self._connection = connection
        try:
            await self._connect(connection)
            lost = await connection.subscribed
            if lost is None:
                self._connected += 1
                self._has_subscribed = True
                self._versions.worked()
                protocol = "5" if self._versions.current == MQTT_5 else "3.1.1"
                self._log.info("subscribe.ready", host=self._settings.host, port=self._settings.port, protocol=protocol)
                lost = await connection.ended
            raise lost
        finally:
            await connection.close()

    async def _connect(self, connection: FastConnection) -> None:
        """Open the socket, and agree on TLS where it is wanted. Raises BrokerLost."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.connect_timeout):
                transport, _ = await loop.create_connection(
                    lambda: connection, settings.host, settings.port, ssl=self._tls
                )
        except TimeoutError as error:
            raise BrokerLost("the broker did not answer in time") from error
        except OSError as error:
            raise BrokerLost(str(error) or type(error).__name__) from error
        opened = transport.get_extra_info("socket")
        with suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def _on_settled(self) -> None:
        if not self._context.is_much_unsettled:
            self._room.set()
            if self._connection is not None:
                self._connection.check_window()

    async def _wait_for_room(self) -> None:
        """Wait until the pipeline has settled enough: a new connection would only bring the same packets again."""
        while self._context.is_much_unsettled:
            self._room.clear()
            await self._room.wait()
