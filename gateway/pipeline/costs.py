"""What packets cost: guessed from their looks, and learnt of each device from what became of those before.

The unit is a reading of a packet of its own, stored. Others cost the database and the decoder a multiple of that, and
of some it cannot be seen beforehand: garbage, readings told again and otherwise. So that no batch takes far longer
than a full one of plain readings, a device's packets are taken to cost what its last ones did.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from gateway.intake import Alike, Bunch, Mixed, Piece, Verdict

LARGE: Final = 1024
"""Bytes; a smaller payload is taken to hold one reading."""
_BYTES_AT_MOST: Final = 512  # of a reading that is told among many
_BYTES_AT_LEAST: Final = 32  # of one that is not told in JSON
_BRACES: Final = 2  # that open for a reading in JSON
_UNKNOWN: Final = 4.0
"""How many times more than they look like the large payloads of a device cost of which nothing is known."""
_DEAR: Final = 1.5
_SLOWLY: Final = 0.5  # does a device become cheaper again, from batch to batch
_MOST_KNOWN: Final = 10_000

# What was measured of the processor time and the wait for the database, beside a new reading in a packet of its own.
_AGAIN: Final = 1.5
_FILLED: Final = 20.0
_QUARANTINED: Final = 6.0
_BYTES_LOOKED_AT: Final = 128  # of a payload that is taken apart since something in it is wrong


class Costs:
    """What is known of the devices whose packets cost more than those of others, or hold many readings."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}  # by device, the one heard last at the end; how many times what it looks

    def may_be_dear(self, piece: Piece, size: int) -> bool:
        """Whether packets, of so many bytes together, may cost more than one reading each."""
        if size > LARGE * len(piece.tokens):
            return True
        if not self._times:
            return False
        if isinstance(piece, Mixed):
            return not self._times.keys().isdisjoint(piece.device_ids)
        return piece.device_id in self._times

    def is_dear(self, device_id: str) -> bool:
        """Whether a device's last packets cost far more than they looked."""
        return self._times.get(device_id, 1.0) > _DEAR

    def of(self, bunch: Bunch, first: int) -> Sequence[float]:
        """What each of the first packets is expected to cost; at least 1."""
        times = self._times.get(bunch.device_id)
        payloads = bunch.payloads[:first]
        if times is None and max(map(len, payloads)) < LARGE:
            return [1.0] * len(payloads)
        looks = map(looks_like, payloads)
        if times is None:
            return [cost if cost == 1 else cost * _UNKNOWN for cost in looks]
        return [cost * times for cost in looks]

    def learn(self, pieces: Sequence[Piece], verdicts: Sequence[Verdict]) -> bool:
        """Take notice of what became of a batch's packets; whether somebody's may cost more than one each."""
        if isinstance(verdicts, Alike):
            of_each = {id(verdicts.verdict): work_of(verdicts.verdict)}
            is_plain = of_each[id(verdicts.verdict)] <= _DEAR
        else:
            of_each = {id(verdict): work_of(verdict) for verdict in verdicts}
            is_plain = max(of_each.values(), default=0.0) <= _DEAR
        if is_plain and not self._times:
            return False
        looks: dict[str, float] = {}
        works: dict[str, float] = {}
        large: set[str] = set()
        places = iter(verdicts)
        for device_id, payload in _each(pieces):
            verdict = next(places)
            work = of_each[id(verdict)]
            if verdict.quarantined:
                work += len(payload) / _BYTES_LOOKED_AT
            look = looks_like(payload)
            if look > 1:
                large.add(device_id)
            looks[device_id] = looks.get(device_id, 0.0) + look
            works[device_id] = works.get(device_id, 0.0) + work
        for device_id, work in works.items():
            self._note(device_id, work / looks[device_id], is_large=device_id in large)
        return not self._times.keys().isdisjoint(works)

    def _note(self, device_id: str, times: float, *, is_large: bool) -> None:
        times = max(times, self._times.pop(device_id, 1.0) * _SLOWLY, 1.0)
        if times > _DEAR or is_large:
            self._times[device_id] = times
            if len(self._times) > _MOST_KNOWN:
                del self._times[next(iter(self._times))]


def looks_like(payload: bytes) -> int:
    """How many readings a payload seems to hold."""
    size = len(payload)
    if size < LARGE:
        return 1
    found = payload.count(b"{") // _BRACES if payload[:1] in {b"[", b"{"} else size // _BYTES_AT_LEAST
    return max(found, size // _BYTES_AT_MOST)


def work_of(verdict: Verdict) -> float:
    """What a packet that this became of has cost, whatever its size."""
    return verdict.stored + _AGAIN * verdict.duplicates + _FILLED * verdict.filled + _QUARANTINED * verdict.quarantined


def _each(pieces: Iterable[Piece]) -> Iterable[tuple[str, bytes]]:
    return chain.from_iterable(
        zip(piece.device_ids, piece.payloads, strict=True)
        if isinstance(piece, Mixed)
        else [(piece.device_id, payload) for payload in piece.payloads]
        for piece in pieces
    )
