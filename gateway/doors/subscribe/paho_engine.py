"""The subscription to a broker, on paho-mqtt: every transport and TLS option that it has."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion

from devices.clock import Clock
from gateway.doors.routes import Routes
from gateway.doors.settings import SubscribeSettings
from gateway.doors.sparing import Log
from gateway.doors.subscribe.paho_connection import BrokerConnection, Surroundings
from gateway.doors.subscribe.renewal import NOT_TAKEN, WHY, WITHIN_S, Renewal
from gateway.doors.subscribe.retry import BrokerLost, Versions, delay_s
from gateway.doors.subscribe.secrets import read_secrets
from gateway.doors.subscribe.stats import SubscribeStats
from gateway.intake import Bunch, Intake

_TICK_S: Final = 0.5
_STOP_S: Final = 10.0


class PahoSubscription:
    """A client of the user's broker with a session that the broker keeps while we are away.

    The network runs in a thread of its own, which hands packets to the event loop in bunches. When the pipeline is
    full the thread stops reading; for QoS 1 the receive maximum bounds what can be under way in any case.
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
        self._intake = intake
        self._log = log
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads reconnects, hides nothing
        tls, password = read_secrets(settings)
        self._renewal = Renewal()
        self._around = Surroundings(
            settings, password, tls, routes.topic_filters(), routes.match, clock.now_s, self._on_settled, self._renewal
        )
        self._versions = Versions(settings.protocol)
        self._stopping = threading.Event()
        self._waker, self._wakee = socket.socketpair()
        for end in (self._waker, self._wakee):
            end.setblocking(False)  # noqa: FBT003 - its name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._healthy = False
        self._has_subscribed = False
        self._held_since_s: float | None = None
        # Each of these is written by one thread only.
        self._connected = self._lost = self._received = self._redelivered = self._acknowledged = 0  # the network thread
        self._settled = self._too_late = 0  # the event loop

    @property
    def healthy(self) -> bool:
        """Whether we are connected and subscribed, and what comes is not only what came before."""
        return self._healthy and not self._renewal.is_stuck

    @property
    def trouble(self) -> str | None:
        """What the broker does wrong, in words; None when nothing."""
        return NOT_TAKEN if self._renewal.is_in_vain else None

    @property
    def stats(self) -> SubscribeStats:
        """What the subscription has seen since it started."""
        return SubscribeStats(
            connected=self._connected,
            lost=self._lost,
            received=self._received,
            redelivered=self._redelivered,
            acknowledged=self._acknowledged,
            too_late=self._too_late,
            unsettled=self._received - self._settled,
        )

    async def start(self) -> None:
        """Begin to connect; `healthy` tells when that has succeeded."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="careloop-subscribe", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Read no more, acknowledge what is settled meanwhile, say goodbye; the session stays on the broker."""
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._waker.close()
        self._wakee.close()

    # -- in the event loop ---------------------------------------------------------------------------------------------

    def _deliver(self, bunches: Sequence[Bunch]) -> None:
        if not self._intake.submit(bunches) and self._held_since_s is None:
            self._held_since_s = time.monotonic()
            self._intake.when_ready(self._read_on)

    def _read_on(self) -> None:
        self._held_since_s = None
        self._wake()

    def _on_settled(self, packets: int, too_late: int) -> None:
        self._settled += packets
        self._too_late += too_late
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it will wake anyway; closed: it is gone
            self._waker.send(b"\0")

    # -- in the network thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Connect, serve, and begin again, until told to stop."""
        failures = 0
        where = {"host": self._settings.host, "port": self._settings.port}
        while not self._stopping.is_set():
            version = MQTTProtocolVersion(self._versions.current)
            connection = BrokerConnection(self._around, version, is_first=not self._has_subscribed)
            try:
                self._serve(connection)
            except BrokerLost as lost:
                if lost.is_renewal:
                    self._log.info("subscribe.renewed", **where, reason=str(lost))
                    continue
                self._versions.lost(lost)
                reason = str(lost)
            except Exception as error:  # noqa: BLE001 - the thread's supervisor: it logs, and tries anew
                reason = f"{type(error).__name__}: {error}"
            else:
                return
            finally:
                connection.close()
                failures = 0 if self._healthy else failures + 1
                self._healthy = False
            self._lost += 1
            self._log.warning("subscribe.lost", **where, reason=reason)
            self._stopping.wait(delay_s(self._settings, failures, self._jitter))

    def _serve(self, connection: BrokerConnection) -> None:
        """Serve one connection to its end, or to ours."""
        redelivered_before = self._redelivered
        self._renewal.begin()
        connection.open()
        due_s = time.monotonic() + self._settings.connect_timeout
        while not self._stopping.is_set():
            reading = self._may_read()
            if self._is_to_begin_anew(connection, reading=reading):
                self._leave(connection, WITHIN_S)
                raise BrokerLost(WHY, is_renewal=True)
            connection.wait(self._wakee, _TICK_S, reading=reading)
            self._drain_wakee()
            received: list[Bunch] = []
            if reading and self._may_read():  # it may have become full meanwhile
                again_before = connection.redelivered
                received = connection.read()
                self._redelivered = redelivered_before + connection.redelivered
                came = sum(len(bunch.tokens) for bunch in received)
                self._renewal.came(time.monotonic(), came, connection.redelivered - again_before)
                self._hand_over(received)
            if received or not reading:
                # What the broker had queued for us comes before its answer to SUBSCRIBE, and may take its time.
                due_s = time.monotonic() + self._settings.connect_timeout
            self._acknowledged += connection.write()
            if connection.is_subscribed and not self._healthy:
                self._connected += 1
                self._versions.worked()
                self._healthy = self._has_subscribed = True
                self._log.info("subscribe.ready", host=self._settings.host, port=self._settings.port)
            elif not connection.is_subscribed and time.monotonic() > due_s:
                raise BrokerLost("the broker did not answer in time")
        self._leave(connection, _STOP_S)

    def _is_to_begin_anew(self, connection: BrokerConnection, *, reading: bool) -> bool:
        now_s = time.monotonic()
        if not reading or self._held_since_s is not None:
            self._renewal.paused(now_s)
        # Who keeps nothing for us, or sends all at QoS 0, has put nothing off; what came meanwhile would be lost.
        may_leave = connection.is_subscribed and connection.keeps_session and self._acknowledged > 0
        is_calm = self._received == self._settled
        if not may_leave or not self._renewal.is_due(now_s, is_calm=is_calm):
            return False
        self._renewal.renewed(now_s, is_calm=is_calm)
        return True

    def _leave(self, connection: BrokerConnection, within_s: float) -> None:
        """Acknowledge what the pipeline still settles, then close."""
        due_s = time.monotonic() + within_s
        while self._received > self._settled and time.monotonic() < due_s:
            connection.wait(self._wakee, _TICK_S, reading=False)
            self._drain_wakee()
            self._acknowledged += connection.write()
        self._acknowledged += connection.write()

    def _hand_over(self, bunches: list[Bunch]) -> None:
        if not bunches or self._loop is None:
            return
        self._received += sum(len(bunch.tokens) for bunch in bunches)
        try:
            self._loop.call_soon_threadsafe(self._deliver, bunches)
        except RuntimeError:  # the loop is closed: nobody will ever settle these, so the broker keeps them
            self._stopping.set()

    def _may_read(self) -> bool:
        """Whether the pipeline can take more.

        While it is full for long we still read now and then, so that the broker's answer to our ping gets through;
        what that brings is bounded.
        """
        unsettled = self._received - self._settled
        if unsettled >= 2 * self._settings.receive_maximum:
            return False
        held_since_s = self._held_since_s
        return held_since_s is None or time.monotonic() - held_since_s > self._settings.keep_alive / 2

    def _drain_wakee(self) -> None:
        with suppress(BlockingIOError):
            while len(self._wakee.recv(4096)) == 4096:  # noqa: PLR2004 - as many as were asked for: there may be more
                pass
