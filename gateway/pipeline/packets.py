"""The packets of a batch by their number, for whoever has to look at one of them."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import overload

from gateway.intake import Bunch, Packet


class Packets(Sequence[Packet]):
    """Bunches one after the other, and their packets numbered through from 0; a `Packet` is made when it is asked for.

    `starts` has the number of each bunch's first packet, and at the end the count of all.
    """

    __slots__ = ("bunches", "starts")

    def __init__(self, bunches: Sequence[Bunch]) -> None:
        self.bunches = bunches
        self.starts = list(accumulate([len(bunch.tokens) for bunch in bunches], initial=0))

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
        return _packet(self.bunches[at], number - self.starts[at])

    def __iter__(self) -> Iterator[Packet]:
        for bunch in self.bunches:
            for place in range(len(bunch.tokens)):
                yield _packet(bunch, place)


def _packet(bunch: Bunch, place: int) -> Packet:
    return Packet(
        origin=bunch.origin,
        token=bunch.tokens[place],
        route=bunch.route,
        device_id=bunch.device_id,
        topic=bunch.topic,
        payload=bunch.payloads[place],
        received_s=bunch.received_s,
        codec=bunch.codec,
    )


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
