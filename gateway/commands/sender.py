"""Sends commands that are kept in the database, as soon as their devices are there.

What is sent is marked in the same transaction that holds the row. A gateway that is killed in between has marked
nothing: the command is sent again under its id, which the device knows.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from devices.clock import Clock
from devices.commands import queries
from devices.commands.model import CommandState
from devices.commands.queries import Outgoing
from devices.errors import Retryable
from gateway.commands.settings import CommandSettings
from gateway.commands.words import payload_of, seconds_left
from gateway.outage import Outage
from gateway.pipeline.taps import Taps

LOOK_EVERY_S: Final = 1.0  # real seconds between looks at what has become too old
AFRESH_S: Final = 60.0  # real seconds between looks at everything that is kept
RETRY_S: Final = 1.0
AT_ONCE: Final = 500
AGAIN_S: Final = 30.0  # real seconds after which a device that is heard, and has not answered, is told once more…
MOST_AGAIN_S: Final = 3600.0  # …through the broker; twice as long after each time, up to this

Connection = AsyncConnection[TupleRow]
Log = structlog.typing.FilteringBoundLogger


class Seats(Protocol):
    """The listen door."""

    def is_connected(self, device_id: str) -> bool:
        """Whether a device is connected and logged in."""
        ...

    def send_command(self, device_id: str, command_id: str, payload: bytes, expires_in_s: int | None = None) -> bool:
        """Send a command to a device that is connected and subscribed to it; else False."""
        ...


class Broker(Protocol):
    """The way through a broker."""

    async def publish(self, commands: Sequence[Outgoing], now_s: float) -> list[str]:
        """Hand commands over; the ids of those that the broker has taken. Raises Retryable where it takes none."""
        ...


@dataclass(frozen=True, slots=True)
class Ways:
    """How devices are reached; with both, a command goes both ways, and its device knows it by its id."""

    seats: Seats | None
    broker: Broker | None
    taps: Taps | None = None  # say which devices are heard


@dataclass(frozen=True, slots=True)
class _Published:
    """When a device that a broker has commands for is told them again, once it is heard; monotonic seconds."""

    again_at_s: float
    waited_s: float


class CommandSender:
    """Keeps commands moving for one tenant; the listen door's courier."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Connection],
        connect: Callable[[], Awaitable[Connection]],
        clock: Clock,
        log: Log,
        *,
        tenant_id: str,
        settings: CommandSettings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connect` opens a connection of its own in autocommit mode, to hear of new commands."""
        self._pool = pool
        self._connect = connect
        self._clock = clock
        self._log = log
        self._tenant_id = tenant_id
        self._settings = settings
        self._ways = Ways(None, None)
        self._awaited: set[str] = set()  # devices for which something is kept
        self._due: dict[str, None] = {}  # devices to look at now, in order
        self._delivered: list[str] = []
        self._wake = asyncio.Event()
        self._monotonic = monotonic
        self._published: dict[str, _Published] = {}  # by device: what a broker took for it, and nobody answered
        self._again: set[str] = set()  # devices that are told the same once more

    # -- what the listen door says -------------------------------------------------------------------------------------

    def hears(self, device_id: str) -> None:
        """A device has just subscribed to its commands."""
        if device_id in self._awaited:
            self._look_at(device_id)

    def delivered(self, device_id: str, command_id: str) -> None:
        """A device has acknowledged the message of a command."""
        del device_id
        self._delivered.append(command_id)
        self._wake.set()

    def is_heard(self, device_id: str) -> None:
        """Something of a device has come that a broker took a command for.

        A broker throws away what it takes for a device without a session. Nobody learns of it; so who is there and has
        not answered is told again, and knows by the id what it had.
        """
        published = self._published.get(device_id)
        if published is not None and self._monotonic() >= published.again_at_s:
            self._again.add(device_id)
            self._look_at(device_id)

    def _look_at(self, device_id: str) -> None:
        self._awaited.add(device_id)
        self._due[device_id] = None
        self._wake.set()

    # -- at work -------------------------------------------------------------------------------------------------------

    async def run(self, ways: Ways) -> None:
        """Send until cancelled."""
        self._ways = ways
        if ways.taps is not None:
            ways.taps.seek(self._published.keys(), self.is_heard)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear(), name="new commands")
            tasks.create_task(self._work(), name="commands")

    async def _hear(self) -> None:
        """Follow what is put: by notice, and every now and then by looking at everything."""
        outage = Outage(self._log, "commands.not_heard", "commands.heard_again")
        while True:
            try:
                conn = await self._connect()
                async with conn:
                    await conn.execute("LISTEN " + queries.CHANNEL)
                    while True:
                        self._take_kept(await queries.awaited_devices(conn, self._tenant_id))
                        outage.ends()
                        async for notice in conn.notifies(timeout=AFRESH_S):
                            self._look_at(notice.payload)
            except (psycopg.Error, OSError) as error:
                outage.goes_on(error=type(error).__name__)
                await asyncio.sleep(RETRY_S)

    def _take_kept(self, device_ids: set[str]) -> None:
        self._awaited = device_ids
        seats = self._ways.seats
        if self._ways.broker is not None:
            for device_id in device_ids - self._published.keys():  # of an earlier run, perhaps
                self._published[device_id] = _Published(self._monotonic() + AGAIN_S, AGAIN_S)
        for device_id in device_ids:
            if self._ways.broker is not None or (seats is not None and seats.is_connected(device_id)):
                self._look_at(device_id)

    async def _work(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._settle_delivered()
                await self._send_due()
                await self._look_at_time()
            except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError, Retryable) as error:
                self._log.warning("commands.not_sent", error=type(error).__name__, detail=str(error)[:200])
                await asyncio.sleep(RETRY_S)

    async def _settle_delivered(self) -> None:
        delivered, self._delivered = self._delivered, []
        if not delivered:
            return
        try:
            async with self._pool.connection() as conn, conn.transaction():
                await queries.mark_delivered(conn, delivered, self._clock.now_s())
        except BaseException:
            self._delivered += delivered
            raise

    async def _send_due(self) -> None:
        while self._due:
            device_ids = list(self._due)[:AT_ONCE]
            for device_id in device_ids:
                del self._due[device_id]
            try:
                await self._send_to(device_ids)
            except BaseException:
                self._due |= dict.fromkeys(device_ids)
                raise

    async def _send_to(self, device_ids: Sequence[str]) -> None:
        now_s = self._clock.now_s()
        async with self._pool.connection() as conn, conn.transaction():
            kept = await queries.take_outgoing(conn, self._tenant_id, device_ids, now_s)
            over = set(device_ids) - {command.device_id for command in kept}
            self._awaited -= over
            for device_id in over:
                self._published.pop(device_id, None)
                self._again.discard(device_id)
            # What was acknowledged since the last look is not written down yet, and goes out no more.
            kept = [command for command in kept if command.command_id not in self._delivered]
            if not kept:
                return
            seated = [command.command_id for command in kept if self._hand_over(command, now_s)]
            await queries.mark_sent(conn, seated, self._settings.answer_within)
        published = 0
        if self._ways.broker is not None:
            unseated = [command for command in kept if command.command_id not in seated]
            unsent = [each for each in unseated if not each.was_sent or each.device_id in self._again]
            published = await self._publish(self._ways.broker, unsent, now_s)
            self._again.difference_update(device_ids)
        if seated or published:
            self._log.info("commands.sent", seated=len(seated), published=published)

    def _hand_over(self, command: Outgoing, now_s: float) -> bool:
        seats = self._ways.seats
        return seats is not None and seats.send_command(
            command.device_id, command.command_id, payload_of(command), seconds_left(command, now_s)
        )

    async def _publish(self, broker: Broker, commands: Sequence[Outgoing], now_s: float) -> int:
        """Hand commands to the broker, with no transaction open; who is killed before they are marked does it again."""
        if not commands:
            return 0
        taken = set(await broker.publish(commands, now_s))
        async with self._pool.connection() as conn, conn.transaction():
            for command in commands:
                if command.command_id in taken:
                    kept_s = command.expires_at.timestamp() - now_s
                    await queries.mark_sent(conn, [command.command_id], self._settings.answer_within, kept_s)
        for device_id in {command.device_id for command in commands if command.command_id in taken}:
            self._note_published(device_id)
        return len(taken)

    def _note_published(self, device_id: str) -> None:
        """From when on the device is told again, should it be heard and have said nothing to it."""
        known = self._published.get(device_id) if device_id in self._again else None
        wait_s = AGAIN_S if known is None else min(2 * known.waited_s, MOST_AGAIN_S)
        self._published[device_id] = _Published(self._monotonic() + wait_s, wait_s)

    async def _look_at_time(self) -> None:
        """Give up what is too old, and what was not answered; what did not arrive waits for its device once more."""
        async with self._pool.connection() as conn, conn.transaction():
            overdue = await queries.overdue_commands(conn, self._tenant_id, AT_ONCE)
            lost = [command_id for command_id, device_id, state in overdue if self._has_left(device_id, state)]
            await queries.give_up(conn, [command_id for command_id, _, _ in overdue if command_id not in lost])
            await queries.requeue(conn, lost)
            expired = await queries.expire_commands(conn, self._tenant_id, self._clock.now_s())
        if overdue or expired:
            unanswered = len(overdue) - len(lost)
            self._log.info("commands.given_up", unanswered=unanswered, expired=expired, kept_again=len(lost))

    def _has_left(self, device_id: str, state: CommandState) -> bool:
        """Whether its connection ended before it had acknowledged the message."""
        if state is not CommandState.SENT or self._ways.seats is None or self._ways.broker is not None:
            return False
        if self._ways.seats.is_connected(device_id):
            return False
        self._awaited.add(device_id)
        return True
