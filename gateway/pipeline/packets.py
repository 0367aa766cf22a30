"""The packets of a batch by their number, for whoever has to look at one of them."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import overload

from gateway.intake import Bunch, Gathered, Mixed, Origin, Packet, Piece


class Packets(Sequence[Packet]):
    """Pieces one after the other, and their packets numbered through from 0; a `Packet` is made when it is asked for.

    `starts` has the number of each piece's first packet, and at the end the count of all.
    """

    __slots__ = ("pieces", "starts")

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        self.starts = list(accumulate([len(piece.tokens) for piece in pieces], initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    @overload
    def __getitem__(self, index: int) -> Packet: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Packet]: ...
    def __getitem__(self, index: int | slice) -> Packet | Sequence[Packet]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        at = bisect_right(self.starts, number) - 1
        return _packet(self.pieces[at], number - self.starts[at])

    def __iter__(self) -> Iterator[Packet]:
        for piece in self.pieces:
            for place in range(len(piece.tokens)):
                yield _packet(piece, place)


def _packet(piece: Piece, place: int) -> Packet:
    is_mixed = isinstance(piece, Mixed)
    return Packet(
        origin=origin_of(piece, place),
        token=piece.tokens[place],
        route=piece.route,
        device_id=piece.device_ids[place] if is_mixed else piece.device_id,
        topic=piece.topics[place] if is_mixed else piece.topic,
        payload=piece.payloads[place],
        received_s=piece.received_s,
        codec=piece.codec,
    )


def origin_of(piece: Piece, place: int) -> Origin:
    """Where one of the packets came from."""
    origin = piece.origin
    return origin.origins[place] if isinstance(origin, Gathered) else origin


def device_ids_of(pieces: Iterable[Piece]) -> set[str]:
    """The devices whose packets these are."""
    found: set[str] = set()
    for piece in pieces:
        if isinstance(piece, Mixed):
            found.update(piece.device_ids)
        else:
            found.add(piece.device_id)
    return found


def one_of(mixed: Mixed, place: int) -> Bunch:
    """One of the packets, as a bunch of its own."""
    _, route, device_ids, topics, codec, received_s, tokens, payloads = mixed
    one, origin = slice(place, place + 1), origin_of(mixed, place)
    return Bunch(origin, route, device_ids[place], topics[place], codec, received_s, tokens[one], payloads[one])


def unmixed(mixed: Mixed) -> list[Bunch]:
    """The same packets in the same order, those that follow each other on one topic in one bunch."""
    origin, route, device_ids, topics, codec, received_s, tokens, payloads = mixed
    if isinstance(origin, Gathered):
        return [one_of(mixed, place) for place in range(len(tokens))]
    ends = [end for end in range(1, len(topics)) if topics[end] != topics[end - 1]]
    return [
        Bunch(origin, route, device_ids[at], topics[at], codec, received_s, tokens[at:end], payloads[at:end])
        for at, end in zip([0, *ends], [*ends, len(topics)], strict=True)
    ]


def bunches_of(packets: Sequence[Packet]) -> list[Bunch]:
    """Packets as bunches: those that follow each other and differ in nothing but token and payload share one."""
    bunches: list[Bunch] = []
    tokens: list[int] = []
    payloads: list[bytes] = []
    last: tuple[object, ...] | None = None
    for origin, token, route, device_id, topic, payload, received_s, codec in packets:
        key = (id(origin), route, device_id, topic, codec, received_s)
        if key == last:
            tokens.append(token)
            payloads.append(payload)
            continue
        last = key
        tokens, payloads = [token], [payload]
        bunches.append(Bunch(origin, route, device_id, topic, codec, received_s, tokens, payloads))
    return bunches
