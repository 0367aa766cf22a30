"""Captures: an operator has one device's raw messages kept for some minutes.

They come from the taps, which cost ingest nothing while nobody watches: a capture is one more who watches. So only its
own device's messages are copied, after their commit; where the database is slow, the oldest that wait are dropped.
A capture is over with its time or with the gateway; what it kept is let go after a day.
"""

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from devices.clock import Clock, to_datetime
from devices.errors import CareloopError
from gateway.captures.queries import MOST_MESSAGES, Connection, RawMessage, keep_messages
from gateway.pipeline.taps import PacketFate, Taps

MOST_AT_ONCE: Final = 20
"""Devices of one tenant."""
_WRITE_EVERY_S: Final = 0.5


@dataclass(slots=True)
class Capture:
    """One that goes on."""

    tenant_id: str
    device_id: str
    by: str
    until_s: float  # the gateway's clock
    heard: deque[RawMessage] = field(default_factory=lambda: deque[RawMessage](maxlen=MOST_MESSAGES))
    number: int = 0
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = field(default=None, repr=False)


class Captures:
    """Those of one gateway."""

    def __init__(self, pool: AsyncConnectionPool[Connection], taps: Taps, clock: Clock) -> None:
        self._pool = pool
        self._taps = taps
        self._clock = clock
        self._going_on: dict[tuple[str, str], Capture] = {}

    def find(self, tenant_id: str, device_id: str) -> Capture | None:
        """The capture of a device that goes on, if one does."""
        return self._going_on.get((tenant_id, device_id))

    @contextmanager
    def booked(self, tenant_id: str, device_id: str, by: str, seconds: float) -> Generator[Capture]:
        """Room for a capture, which begins when the caller is through, and not at all where the caller fails.

        Raises CareloopError where the device's messages are being kept already, or those of as many as may be.
        """
        if self.find(tenant_id, device_id) is not None:
            raise CareloopError("captured_already", f"messages of {device_id} are being kept already")
        if sum(tenant == tenant_id for tenant, _ in self._going_on) >= MOST_AT_ONCE:
            raise CareloopError("busy", f"messages of {MOST_AT_ONCE} devices are being kept; end one of them first")
        capture = Capture(tenant_id, device_id, by, self._clock.now_s() + seconds)
        self._going_on[tenant_id, device_id] = capture
        try:
            yield capture
        except BaseException:
            del self._going_on[tenant_id, device_id]
            raise
        capture.work = asyncio.create_task(self._follow(capture), name=f"capture {device_id}")

    async def stop(self, tenant_id: str, device_id: str) -> bool:
        """End a capture; what was heard until now is kept. False where none goes on.

        Takes a connection of the pool: whoever holds one meanwhile may wait for himself.
        """
        capture = self._going_on.get((tenant_id, device_id))
        if capture is None or capture.work is None:
            return False
        await self.end(capture)
        return True

    async def end(self, capture: Capture) -> None:
        """The same, of one that was found; does nothing where it is over already, or has not begun."""
        capture.is_over.set()
        if capture.work is not None:
            await asyncio.wait([capture.work])

    async def _follow(self, capture: Capture) -> None:
        listener = asyncio.create_task(self._listen(capture), name=f"captured {capture.device_id}")
        try:
            while not capture.is_over.is_set() and self._clock.now_s() < capture.until_s:
                with suppress(TimeoutError):
                    await asyncio.wait_for(capture.is_over.wait(), _WRITE_EVERY_S)
                await self._write(capture)
            await self._write(capture)  # what came while it was written
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
            del self._going_on[capture.tenant_id, capture.device_id]

    async def _listen(self, capture: Capture) -> None:
        async with aclosing(self._taps.watch_raw(capture.device_id)) as told:
            async for fate, payload in told:
                capture.heard.append(_message(capture.number, fate, payload))
                capture.number += 1

    async def _write(self, capture: Capture) -> None:
        """Write what was heard; while the database is away it waits, as much of it as there is room for."""
        messages = list(capture.heard)
        if not messages:
            return
        try:
            async with self._pool.connection() as conn:
                await keep_messages(conn, capture.tenant_id, capture.device_id, messages)
        except (psycopg.OperationalError, PoolTimeout):
            return
        last = messages[-1].number
        while capture.heard and capture.heard[0].number <= last:
            capture.heard.popleft()


def _message(number: int, fate: PacketFate, payload: bytes) -> RawMessage:
    return RawMessage(
        number=number,
        received_at=to_datetime(fate.received_s),
        topic=fate.topic,
        payload=payload,
        payload_bytes=fate.payload_bytes,
        stored=fate.stored + fate.filled,
        duplicates=fate.duplicates,
        quarantined=fate.quarantined,
        reason=None if fate.reason is None else str(fate.reason),
    )
