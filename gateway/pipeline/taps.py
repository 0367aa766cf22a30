"""What became of each packet of a device, for whoever is watching it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from devices.errors import QuarantineReason
from gateway.intake import Mixed, Packet, Verdict
from gateway.pipeline.packets import Packets

_MOST: Final = 1000
"""Fates that wait for a slow watcher; older ones are dropped then."""


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


class Taps:
    """Hands packet fates to watchers, after their commit; costs nothing while nobody watches."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[asyncio.Queue[PacketFate]]] = {}

    async def watch(self, device_id: str) -> AsyncGenerator[PacketFate]:
        """What becomes of the device's packets from now on, until the caller stops listening."""
        fates: asyncio.Queue[PacketFate] = asyncio.Queue(_MOST)
        watchers = self._watchers.setdefault(device_id, [])
        watchers.append(fates)
        try:
            while True:
                yield await fates.get()
        finally:
            watchers.remove(fates)
            if not watchers:
                self._watchers.pop(device_id, None)

    def tell(self, packets: Packets, verdicts: Sequence[Verdict]) -> None:
        """Hand on what became of packets."""
        if not self._watchers:
            return
        for start, piece in zip(packets.starts, packets.pieces, strict=False):
            device_ids = piece.device_ids if isinstance(piece, Mixed) else repeat(piece.device_id, len(piece.tokens))
            for number, device_id in enumerate(device_ids, start):
                watchers = self._watchers.get(device_id)
                if watchers:
                    _put(watchers, _fate(packets[number], verdicts[number]))


def _put(watchers: Sequence[asyncio.Queue[PacketFate]], fate: PacketFate) -> None:
    for fates in watchers:
        if fates.full():
            fates.get_nowait()
        fates.put_nowait(fate)


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
