"""What goes into quarantine of a packet, and its bytes."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from devices.errors import QuarantineReason, Rejected
from devices.payloads.elements import Element, Walk
from gateway.intake import Counted, Kept, Packet, Route, source_of
from gateway.pipeline.replay import Replays
from gateway.pipeline.sources import Sources
from gateway.store.rows import QuarantineRow

_SEVERAL: Final = 2  # elements; a payload with one is quarantined as it came


def quarantine_row(  # noqa: PLR0917 - where it came from, what it is, and why
    sources: Sources, packets: Sequence[Packet], index: int, raw: bytes, reason: QuarantineReason, detail: str
) -> QuarantineRow:
    """What goes into quarantine for a packet, or for a part of it."""
    packet = packets[index]
    origin = packet.origin
    device = sources.devices.get(packet.device_id)
    return QuarantineRow(
        tenant_id=sources.settings.tenant_id if device is None else device.tenant_id,
        device_id=_storable(packet.device_id),
        topic=_storable(packet.topic),
        codec=packet.codec,
        route=int(packet.route),
        reason=reason,
        detail=_storable(detail),
        raw=raw,
        received_us=round(packet.received_s * 1e6),
        packet=index,
        retained=isinstance(origin, Kept),
        counted_from_us=origin.from_us if isinstance(origin, Counted) and raw == packet.payload else None,
        is_replay=isinstance(source_of(origin), Replays),
    )


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


class RawElements:
    """The bytes of single elements of payloads, each payload taken apart at most once."""

    def __init__(self, packets: Sequence[Packet]) -> None:
        self._packets = packets
        self._found: dict[int, tuple[list[bytes], Iterator[Element]]] = {}  # as far as was asked for, and the rest

    def raw(self, index: int, element: int) -> bytes:
        """One element of a packet, where its codec's payloads can be taken apart; else the whole payload."""
        packet = self._packets[index]
        if packet.codec != "json" or packet.route not in {Route.TELEMETRY, Route.EVENTS}:
            return packet.payload
        if index not in self._found:
            self._found[index] = [], iter(Walk(packet.payload))
        found, rest = self._found[index]
        with suppress(Rejected):
            found += [piece.raw for piece in islice(rest, max(element + 1, _SEVERAL) - len(found))]
        return found[element] if len(found) >= max(element + 1, _SEVERAL) else packet.payload
