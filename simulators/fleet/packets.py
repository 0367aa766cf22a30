"""What a device sends: readings packed into MQTT payloads, and what the simulator remembers of each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulators.fleet.habits import Floats

UNSTORABLE: Final = -1
"""Stands for the time of a reading that can only be quarantined."""


class Channel(StrEnum):
    """The last level of a device's topics."""

    TELEMETRY = "telemetry"
    EVENTS = "events"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of a device."""

    ts_s: float
    code: str
    data: dict[str, float | str]


@dataclass(frozen=True, slots=True)
class Life:
    """What a device measured: instants (epoch seconds, rising) and one array per metric, NaN = not reported."""

    ts_s: Floats
    metrics: dict[str, Floats]
    happenings: tuple[Happening, ...] = ()


@dataclass(frozen=True, slots=True)
class Packet:
    """One PUBLISH as the device sends it, with the identity of each reading inside.

    `ts_ms` and `digests` have one element per reading: its time (or UNSTORABLE) and the first eight bytes of the
    SHA-256 of its bytes on the wire, by which it is recognised in quarantine.
    """

    device_id: str
    channel: Channel
    payload: bytes
    ts_ms: NDArray[np.int64]
    digests: NDArray[np.uint64]
    again: bool = False  # a redelivery


_NO_TIMES: Final = np.empty(0, dtype=np.int64)
_NO_DIGESTS: Final = np.empty(0, dtype=np.uint64)


def digest_of(raw: bytes) -> int:
    """The first eight bytes of the SHA-256."""
    return int.from_bytes(hashlib.sha256(raw).digest()[:8], "big")


def telemetry(device_id: str, elements: Sequence[bytes], ts_ms: NDArray[np.int64]) -> Packet:
    """Readings in one packet: a single one as an object, several as an array."""
    payload = elements[0] if len(elements) == 1 else b"[" + b",".join(elements) + b"]"
    digests = np.fromiter(map(digest_of, elements), dtype=np.uint64, count=len(elements))
    return Packet(device_id, Channel.TELEMETRY, payload, ts_ms, digests)


def broken(device_id: str, payload: bytes) -> Packet:
    """A telemetry packet that can only be quarantined, as one piece."""
    digests = np.array([digest_of(payload)], dtype=np.uint64)
    return Packet(device_id, Channel.TELEMETRY, payload, np.array([UNSTORABLE], dtype=np.int64), digests)


def status(device_id: str, word: str) -> Packet:
    """A birth, or a farewell."""
    return Packet(device_id, Channel.STATUS, word.encode(), _NO_TIMES, _NO_DIGESTS)


def events(device_id: str, happenings: Sequence[Happening], first_seq: int) -> Packet:
    """Events in one packet."""
    items = [
        {"ts": round(item.ts_s * 1000), "seq": first_seq + n, "code": item.code, "data": item.data}
        for n, item in enumerate(happenings)
    ]
    return Packet(device_id, Channel.EVENTS, msgspec.json.encode(items), _NO_TIMES, _NO_DIGESTS)


@dataclass(slots=True)
class Encoder:
    """Writes a device's readings as JSON, each the same bytes whenever it is asked."""

    life: Life
    firmware: Sequence[str]  # one per reading
    booleans: frozenset[str]  # state metrics that are written as true and false
    words: bool  # times as RFC 3339 text rather than as epoch milliseconds
    ts_ms: NDArray[np.int64] = field(init=False)
    _columns: list[tuple[str, list[float | int | bool | None]]] = field(init=False)
    _json: msgspec.json.Encoder = field(init=False, default_factory=msgspec.json.Encoder)

    def __post_init__(self) -> None:
        self.ts_ms = np.round(self.life.ts_s * 1000).astype(np.int64)
        self._columns = [(name, self._column(name, values)) for name, values in self.life.metrics.items()]

    def take_over(self, other: "Encoder", from_s: float) -> None:
        """From then on, what another life of the same device has to say."""
        later = np.flatnonzero(self.life.ts_s >= from_s)
        if not len(later):
            return
        first = int(later[0])
        theirs = dict(other._columns)  # noqa: SLF001 - it is one of our kind
        self._columns = [(name, [*column[:first], *theirs[name][first:]]) for name, column in self._columns]

    def _column(self, name: str, values: Floats) -> list[float | int | bool | None]:
        known = np.isfinite(values)
        if name in self.booleans:
            plain: list[float | int | bool] = (np.nan_to_num(values) > 0).tolist()
        elif np.all(values[known] == np.floor(values[known])):
            plain = np.nan_to_num(values).astype(np.int64).tolist()
        else:
            plain = np.round(values, 3).tolist()
        if known.all():
            return list(plain)
        return [value if there else None for value, there in zip(plain, known.tolist(), strict=True)]

    def elements(self, rows: Sequence[int], first_seq: int, skew_ms: int = 0) -> tuple[list[bytes], NDArray[np.int64]]:
        """The JSON of each reading, and its time as the device's own clock has it."""
        ts_ms = self.ts_ms[np.asarray(rows, dtype=np.intp)] + skew_ms
        times = _in_words(ts_ms) if self.words else ts_ms.tolist()
        columns = self._columns
        readings: list[dict[str, object]] = []
        for n, row in enumerate(rows):
            metrics = {name: values[row] for name, values in columns if values[row] is not None}
            readings.append({"ts": times[n], "seq": first_seq + n, "metrics": metrics})
        readings[0]["firmware"] = self.firmware[rows[0]]
        return self._json.encode_lines(readings).split(b"\n")[: len(rows)], ts_ms


def _in_words(ts_ms: NDArray[np.int64]) -> list[str]:
    texts: list[str] = np.datetime_as_string(ts_ms.astype("datetime64[ms]"), unit="ms").tolist()
    return [text + "Z" for text in texts]
