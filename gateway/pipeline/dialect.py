"""Packets in a dialect become packets in careloop's own words, before anything else looks at them.

A message of a dialect may speak of several devices, so it is taken apart: each part is a packet of its own, of one
device, in the codec `json`. From there on nothing in the pipeline knows of dialects: a part is stored, judged, shown by
`careloop devices tail` and quarantined like any message, and, because it is complete in itself, replayed without the
birth that it once needed. What could not be translated keeps the bytes that came. The verdicts of all parts make the
verdict of the message, whose acknowledgement waits for all of them: they are in one batch, and one transaction.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from itertools import islice
from operator import itemgetter
from typing import Final

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.errors import QuarantineReason
from devices.ids import is_device_id
from devices.payloads import Bad, Codec
from devices.payloads.codec import EPOCH, DecodedEvent, DecodedReading
from devices.payloads.dialect import Dialect, Message, Recall, Reply, Said, Translation, is_dialect
from devices.payloads.one_by_one import MOST_BAD
from gateway.authority import Authority
from gateway.intake import Answering, Bunch, Counted, Origin, Packet, Piece, Route, Verdict, Wrapped, source_of
from gateway.pipeline.clockless import from_us_by_bytes
from gateway.pipeline.packets import Packets, bunches_of
from gateway.pipeline.queries import request_recalls

_CODEC_OF: Final = itemgetter(Bunch._fields.index("codec"))  # where `Mixed` has it too
_EXACT_US: Final = 2**53  # up to here epoch milliseconds as JSON numbers are exact to the microsecond
_MOST_NAMED: Final = 10
_MOST_RECALLS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Expanded:
    """A batch's packets with those of dialects taken apart, and what has to be done about them.

    Positions are the numbers of packets: see `Packets`.
    """

    pieces: Sequence[Piece]
    refused: Mapping[int, Bad] = field(default_factory=dict[int, Bad])  # by position: not to be decoded
    whose: Sequence[int] | None = None  # the position of each packet's message; None: nothing was taken apart
    replies: Sequence[tuple[Origin, Reply]] = ()
    recalls: Sequence[Recall] = ()
    messages: int = 0  # where something was taken apart: how many came

    def verdicts_of_messages(self, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
        """The verdict on each of the messages that came, from those on their parts."""
        if self.whose is None:
            return verdicts
        merged: list[Verdict | None] = [None] * self.messages
        for whose, verdict in zip(self.whose, verdicts, strict=True):
            before = merged[whose]
            merged[whose] = verdict if before is None else _sum(before, verdict)
        return [verdict or Verdict() for verdict in merged]


class Dialects:
    """The installed codecs that are dialects, at work."""

    def __init__(
        self, codecs: Mapping[str, Codec], authority: Authority, max_payload_bytes: int, replays: Origin | None = None
    ) -> None:
        """`replays` is the origin of packets that come from quarantine."""
        self._dialects: dict[str, Dialect] = {name: codec for name, codec in codecs.items() if is_dialect(codec)}
        self._authority = authority
        self._max_payload_bytes = max_payload_bytes
        self._replays = replays
        self._recalls: dict[tuple[str, str], Recall] = {}
        self._asked: Sequence[Recall] = ()

    def concern(self, pieces: Sequence[Piece]) -> bool:
        """Whether anything of it is in a dialect."""
        return not self._dialects.keys().isdisjoint(map(_CODEC_OF, pieces))

    def expand(self, pieces: Sequence[Piece]) -> Expanded:
        """Take apart what is in a dialect; to be called once for each packet, in the order of arrival."""
        if not self.concern(pieces):
            return Expanded(pieces)
        apart: list[Piece] = []
        refused: dict[int, Bad] = {}
        whose: list[int] = []
        replies: list[tuple[Origin, Reply]] = []
        recalls: list[Recall] = []
        position = 0  # of the message
        for piece in pieces:
            dialect = self._dialects.get(piece.codec)
            if dialect is None or piece.route is not Route.TELEMETRY:
                apart.append(piece)
                whose += range(position, position + len(piece.tokens))
                position += len(piece.tokens)
                continue
            for packet in Packets([piece]):
                parts: list[Packet] = []
                bad: dict[int, Bad] = {}
                translation = self._translate(dialect, packet)
                may, faults = self._judged(packet, translation.said)
                for one in _once(_not_too_many([*translation.bad, *faults], packet.payload), packet.payload):
                    bad[len(parts)] = one
                    parts.append(packet)
                for said in may:
                    self._take_apart(packet, said, parts)
                replies += [(packet.origin, reply) for reply in translation.replies]
                recalls += translation.recalls
                if len(bad) < len(parts) and any(one.raw == packet.payload for one in bad.values()):
                    parts = _counted(packet, parts)
                refused.update((len(whose) + place, one) for place, one in bad.items())
                apart += bunches_of(parts)
                whose += [position] * len(parts)
                position += 1
        return Expanded(apart, refused, whose, replies, recalls, position)

    def committed(self, expanded: Expanded) -> None:
        """Send the replies, as far as somebody is still there, and note what can be read now."""
        for origin, reply in expanded.replies:
            if isinstance(origin, Answering):
                origin.publish(reply.topic, reply.payload)
        for recall in expanded.recalls:
            if len(self._recalls) < _MOST_RECALLS:
                self._recalls[recall.device_id, recall.topic] = recall

    def _translate(self, dialect: Dialect, packet: Packet) -> Translation:
        if len(packet.payload) > self._max_payload_bytes:
            detail = f"{len(packet.payload)} bytes; at most {self._max_payload_bytes} are allowed"
            return Translation(bad=[Bad(packet.payload, QuarantineReason.OVERSIZED, detail)])
        received_us = round(packet.received_s * 1e6)
        is_replay = source_of(packet.origin) is self._replays
        try:
            return dialect.translate(Message(packet.topic, packet.payload, packet.device_id, received_us, is_replay))
        except Exception as error:  # noqa: BLE001 - codecs are plug-ins, and a packet must not stop the pipeline
            detail = f"the codec failed: {type(error).__name__}"
            return Translation(bad=[Bad(packet.payload, QuarantineReason.MALFORMED, detail)])

    def _take_apart(self, packet: Packet, said: Said, parts: list[Packet]) -> None:
        for route, payload in _in_json(said, self._max_payload_bytes // 2):
            parts.append(packet._replace(route=route, device_id=said.device_id, payload=payload, codec="json"))

    def _judged(self, packet: Packet, told: Iterable[Said]) -> tuple[list[Said], list[Bad]]:
        """What may be said, and what is wrong with the rest: all of one kind together, for it is one message."""
        may: list[Said] = []
        foreign: dict[str, None] = {}
        no_ids: dict[str, None] = {}
        for said in told:
            if not is_device_id(said.device_id):
                no_ids[repr(said.device_id[:80]) if said.device_id.isprintable() else ascii(said.device_id[:80])] = None
            elif said.via and not self._authority.may(said.via, said.device_id):
                foreign[said.device_id] = None
            else:
                may.append(said)
        bad: list[Bad] = []
        if foreign:
            detail = f"{packet.device_id} may not speak for {_listed(foreign)}: see listen.gateways"
            bad.append(Bad(packet.payload, QuarantineReason.FOREIGN_TOPIC, detail))
        if no_ids:
            detail = f"{_listed(no_ids)} is no device id: 1 to 64 of A-Z a-z 0-9 _ -"
            bad.append(Bad(packet.payload, QuarantineReason.UNKNOWN_DEVICE, detail))
        return may, bad

    @property
    def has_recalls(self) -> bool:
        """Whether a birth has come that may explain what lies in quarantine."""
        return bool(self._recalls)

    async def recall(self, conn: AsyncConnection[TupleRow]) -> None:
        """Ask for the replay of what births have explained since the last call; in the caller's transaction."""
        self._asked = list(self._recalls.values())
        await request_recalls(conn, self._asked)

    def recalled(self) -> None:
        """The transaction of `recall` has committed."""
        for recall in self._asked:
            if self._recalls.get((recall.device_id, recall.topic)) is recall:  # no later one has come meanwhile
                del self._recalls[recall.device_id, recall.topic]


def _listed(names: Collection[str]) -> str:
    some = list(islice(names, _MOST_NAMED))
    more = len(names) - len(some)
    return ", ".join(some) + (f" and {more} more" if more else "")


def _once(bad: Sequence[Bad], payload: bytes) -> Sequence[Bad]:
    """Of a message that is refused as a whole, one refusal that says all that is wrong: it is one row in quarantine."""
    whole = [one for one in bad if one.raw == payload]
    if len(whole) <= 1:
        return bad
    together = Bad(payload, whole[0].reason, "; ".join(dict.fromkeys(one.detail for one in whole)))
    return [*(one for one in bad if one.raw != payload), together]


def _counted(packet: Packet, parts: Sequence[Packet]) -> list[Packet]:
    """Parts of a message that is in quarantine as a whole: a replay will bring them again, as of the same times."""
    origin = packet.origin
    if not isinstance(origin, Wrapped):
        origin = Counted(origin, from_us_by_bytes(round(packet.received_s * 1e6), packet.payload))
    return [part._replace(origin=origin) for part in parts]


def _not_too_many(bad: Sequence[Bad], payload: bytes) -> Sequence[Bad]:
    """Beyond so many, the message as a whole stands for the rest: its good parts are found again by a replay."""
    if len(bad) <= MOST_BAD:
        return bad
    rest = bad[MOST_BAD - 1]
    more = f"{rest.detail} (and {len(bad) - MOST_BAD} more)"
    return [*bad[: MOST_BAD - 1], Bad(payload, rest.reason, more)]


def _sum(one: Verdict, other: Verdict) -> Verdict:
    first = one if one.reason is not None else other
    return Verdict(
        stored=one.stored + other.stored,
        filled=one.filled + other.filled,
        duplicates=one.duplicates + other.duplicates,
        quarantined=one.quarantined + other.quarantined,
        reason=first.reason,
        detail=first.detail,
    )


def _in_json(said: Said, most_bytes: int) -> Iterator[tuple[Route, bytes]]:
    """What is said of one device in payloads of the codec `json`, none much larger than `most_bytes`."""
    if said.status is not None:
        status = {"status": said.status.status, "ts": _ts(said.status.ts_us)}
        yield Route.STATUS, msgspec.json.encode(status)
    for route, elements in (
        (Route.TELEMETRY, [msgspec.json.encode(_reading(one)) for one in said.readings]),
        (Route.EVENTS, [msgspec.json.encode(_event(one)) for one in said.events]),
    ):
        for some in _bunches(elements, most_bytes):
            yield route, b"[" + b",".join(some) + b"]"


def _bunches(elements: Sequence[bytes], most_bytes: int) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for position, element in enumerate(elements):
        if size and size + len(element) > most_bytes:
            yield elements[start:position]
            start, size = position, 0
        size += len(element) + 1
    if elements:
        yield elements[start:]


def _reading(reading: DecodedReading) -> dict[str, object]:
    said: dict[str, object] = {"metrics": reading.metrics}
    if reading.firmware is not None:
        said["firmware"] = reading.firmware
    return _in_time(said, reading.ts_us, reading.seq)


def _event(event: DecodedEvent) -> dict[str, object]:
    said: dict[str, object] = {"code": event.code}
    if event.data is not None:
        said["data"] = msgspec.Raw(event.data)
    return _in_time(said, event.ts_us, event.seq)


def _in_time(said: dict[str, object], ts_us: int | None, seq: int | None) -> dict[str, object]:
    if ts_us is not None:
        said["ts"] = _ts(ts_us)
    if seq is not None:
        said["seq"] = seq
    return said


def _ts(ts_us: int | None) -> int | float | str | None:
    """A `ts` from which the codec `json` reads the same microsecond."""
    if ts_us is None:
        return None
    if ts_us > _EXACT_US:
        return (EPOCH + timedelta(microseconds=ts_us)).astimezone(UTC).isoformat()
    return ts_us // 1000 if ts_us % 1000 == 0 else ts_us / 1000
