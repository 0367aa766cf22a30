"""What waits for a batch: bounded, and fair between connections.

Each origin has a lane of its own. A batch takes a turn from every lane that has packets, so that a device in a storm
fills what the others leave free and no more. Within a lane the order of arrival stands, which is the order per
connection, and per device for as long as a device keeps to one connection.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from gateway.intake import Packet
from gateway.pipeline.settings import BatchSettings

_LOW_WATER: Final = 0.5  # of the bounds; below it the doors read again
_BYTES_PER_READING: Final = 512  # bounds a batch of packets that each hold many readings
_TURNS: Final = 8  # a lane gets at most this fraction of a batch while others wait


class PacketQueue:
    """Packets between the doors and the pipeline."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._lanes: dict[int, deque[Packet]] = {}  # by the origin's identity; a lane is never empty
        self._turn = max(settings.max_readings // _TURNS, 1)
        self._waiting_doors: list[Callable[[], None]] = []
        self._arrived = asyncio.Event()
        self._ripe = asyncio.Event()
        self._since_s = 0.0  # when the oldest packet began to wait, on the loop's clock
        self.packets = 0
        self.bytes = 0

    def put(self, packets: Sequence[Packet]) -> bool:
        """Append packets of one or several origins; False above the bounds."""
        lanes = self._lanes
        for packet in packets:
            key = id(packet.origin)
            lane = lanes.get(key)
            if lane is None:
                lane = lanes[key] = deque()
            lane.append(packet)
            self.bytes += len(packet.payload)
        self.packets += len(packets)
        if packets and not self._arrived.is_set():
            self._arrived.set()
            self._since_s = asyncio.get_running_loop().time()
        if self.packets >= self._settings.max_readings:
            self._ripe.set()
        return not self.is_full

    @property
    def is_full(self) -> bool:
        """Whether the doors should stop reading."""
        return self.packets >= self._settings.queue_packets or self.bytes >= self._settings.queue_bytes

    def when_ready(self, resume: Callable[[], None]) -> None:
        """Call `resume` once there is room again; at once, but not from within, when there is."""
        if self._has_room():
            asyncio.get_running_loop().call_soon(resume)
        else:
            self._waiting_doors.append(resume)

    def oldest_received_s(self) -> float | None:
        """Receipt time of the oldest packet that waits, on the gateway's clock."""
        return min((lane[0].received_s for lane in self._lanes.values()), default=None)

    async def wait(self, timeout_s: float) -> bool:
        """Return when a batch is ripe, by count or by age; False when nothing has come for `timeout_s`."""
        if not await _is_set(self._arrived, timeout_s):
            return False
        age_s = asyncio.get_running_loop().time() - self._since_s
        await _is_set(self._ripe, max(self._settings.max_age - age_s, 0.0))
        return True

    def take(self) -> list[Packet]:
        """A batch's worth of packets, a turn from each lane after the other; those of an origin stand together."""
        room, room_bytes = self._settings.max_readings, self._settings.max_readings * _BYTES_PER_READING
        taken: dict[int, list[Packet]] = {}
        while room > 0 and room_bytes > 0 and self._lanes:
            origin, lane = next(iter(self._lanes.items()))
            batch = taken.setdefault(origin, [])
            for _ in range(min(room, len(lane), room if len(self._lanes) == 1 else self._turn)):
                packet = lane.popleft()
                batch.append(packet)
                room -= 1
                room_bytes -= len(packet.payload)
                if room_bytes <= 0:
                    break
            del self._lanes[origin]
            if lane:
                self._lanes[origin] = lane  # to the end of the round
        packets = [packet for batch in taken.values() for packet in batch]
        self.packets -= len(packets)
        self.bytes -= sum(len(packet.payload) for packet in packets)
        self._settle_marks()
        self._wake_doors()
        return packets

    def _settle_marks(self) -> None:
        self._since_s = asyncio.get_running_loop().time()
        if not self._lanes:
            self._arrived.clear()
        if self.packets < self._settings.max_readings:
            self._ripe.clear()

    def _has_room(self) -> bool:
        return (
            self.packets <= self._settings.queue_packets * _LOW_WATER
            and self.bytes <= self._settings.queue_bytes * _LOW_WATER
        )

    def _wake_doors(self) -> None:
        if self._waiting_doors and self._has_room():
            doors, self._waiting_doors = self._waiting_doors, []
            for resume in doors:
                asyncio.get_running_loop().call_soon(resume)


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    if event.is_set():
        return True
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
