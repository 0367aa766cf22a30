"""What became of each packet of a device, for whoever is watching it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from devices.errors import QuarantineReason
from gateway.intake import Mixed, Packet, Verdict
from gateway.pipeline.packets import Packets, device_ids_of

_MOST: Final = 1000
"""Fates that wait for a slow watcher; older ones are dropped then."""
_MOST_BYTES: Final = 2000
"""Of a packet, for whoever looks at it."""


@dataclass(frozen=True, slots=True)
class PacketFate:
    """One packet, and what became of it."""

    device_id: str
    topic: str
    payload_bytes: int
    received_s: float  # the gateway's clock, epoch seconds
    stored: int
    filled: int
    duplicates: int
    quarantined: int
    reason: QuarantineReason | None
    detail: str


_Fates = asyncio.Queue[tuple[PacketFate, bytes]]


class Taps:
    """Hands packet fates to watchers, after their commit; costs nothing while nobody watches."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[_Fates]] = {}
        self._sought: Collection[str] = ()
        self._found: Callable[[str], None] = _nobody

    def seek(self, device_ids: Collection[str], found: Callable[[str], None]) -> None:
        """Call `found` whenever one of these devices is heard; the caller may add to them and take from them."""
        self._sought, self._found = device_ids, found

    async def watch(self, device_id: str) -> AsyncGenerator[PacketFate]:
        """What becomes of the device's packets from now on, until the caller stops listening."""
        async with aclosing(self.watch_raw(device_id)) as told:
            async for fate, _ in told:
                yield fate

    async def watch_raw(self, device_id: str) -> AsyncGenerator[tuple[PacketFate, bytes]]:
        """The same, each with the first bytes of the packet itself."""
        fates: _Fates = asyncio.Queue(_MOST)
        watchers = self._watchers.setdefault(device_id, [])
        watchers.append(fates)
        try:
            while True:
                yield await fates.get()
        finally:
            watchers.remove(fates)
            if not watchers:
                self._watchers.pop(device_id, None)

    @property
    def seeks(self) -> bool:
        """Whether somebody waits for a device to be heard."""
        return bool(self._sought)

    def tell(self, packets: Packets, verdicts: Sequence[Verdict]) -> None:
        """Hand on what became of packets."""
        if self._sought:
            # Those of this batch are gone through: of the sought ones there may be a whole fleet.
            for device_id in device_ids_of(packets.pieces):
                if device_id in self._sought:
                    self._found(device_id)
        if not self._watchers:
            return
        for start, piece in zip(packets.starts, packets.pieces, strict=False):
            device_ids = piece.device_ids if isinstance(piece, Mixed) else repeat(piece.device_id, len(piece.tokens))
            for number, device_id in enumerate(device_ids, start):
                watchers = self._watchers.get(device_id)
                if watchers:
                    _put(watchers, packets[number], verdicts[number])


def _nobody(_device_id: str) -> None:
    return None


def _put(watchers: Sequence[_Fates], packet: Packet, verdict: Verdict) -> None:
    told = _fate(packet, verdict), bytes(packet.payload[:_MOST_BYTES])
    for fates in watchers:
        if fates.full():
            fates.get_nowait()
        fates.put_nowait(told)


def _fate(packet: Packet, verdict: Verdict) -> PacketFate:
    return PacketFate(
        device_id=packet.device_id,
        topic=packet.topic,
        payload_bytes=len(packet.payload),
        received_s=packet.received_s,
        stored=verdict.stored,
        filled=verdict.filled,
        duplicates=verdict.duplicates,
        quarantined=verdict.quarantined,
        reason=verdict.reason,
        detail=verdict.detail,
    )
