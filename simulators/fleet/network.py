"""Between the device and the broker: gaps, offline hours, redeliveries, reordering, wrong clocks, broken packets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from simulators.fleet.faults import FaultKind, Label, of_kind
from simulators.fleet.habits import HOUR_S, Floats, Span
from simulators.fleet.packets import Happening, Life

_T = TypeVar("_T")


class Act(Enum):
    """What a device does on its connection."""

    CONNECT = auto()  # and say so: the birth
    SEND = auto()
    SEND_TWICE = auto()  # the device did not see the PUBACK of the first
    BREAK = auto()  # a packet that nobody can read
    TELL = auto()  # events
    LEAVE = auto()  # say good-bye, and disconnect
    VANISH = auto()  # the connection breaks, which its will tells
    STUMBLE = auto()  # the connection breaks with packets in flight, and is made anew at once


@dataclass(frozen=True, slots=True)
class Sending:
    """One act of a device at a simulated moment; `rows` are indices of readings, `happenings` are events."""

    at_s: float
    act: Act
    rows: NDArray[np.int64] | None = None
    happenings: tuple[Happening, ...] = ()


@dataclass(frozen=True, slots=True)
class Sync:
    """How a product model reports."""

    every_s: float  # a packet so often
    offline_h: tuple[float, float] = (1.0, 5.0)  # mean length of an offline time, from device to device
    most: int = 48  # readings in one packet
    words: bool = False  # times as RFC 3339
    mqtt: int = 5  # or 4, which is MQTT 3.1.1


@dataclass(frozen=True, slots=True)
class Mess:
    """How unreliable one device's way to the broker is; the default is a perfect one."""

    missing: float = 0.0  # share of readings that are never sent
    offline_per_day: float = 0.0
    offline_h: float = 4.0  # mean length of an offline time
    twice: float = 0.0  # share of packets
    swapped: float = 0.0
    broken: float = 0.0
    stumbles_per_day: float = 0.0
    skew_s: float = 0.0  # its clock is fast by so much, until it is set
    skew_until_s: float = np.inf

    @property
    def tidy(self) -> bool:
        """Whether nothing is wrong."""
        return self == Mess()


def make_mess(share: float, sync: Sync, span: Span, rng: np.random.Generator) -> Mess:
    """Draw a device's misfortune: none for some, all sorts for `share` of them."""
    messy = rng.random() < share
    skewed = rng.random() < 0.3
    mess = Mess(
        missing=float(rng.uniform(0.005, 0.08)),
        offline_per_day=float(rng.uniform(0.05, 0.5)),
        offline_h=float(rng.uniform(*sync.offline_h)),
        twice=float(rng.uniform(0.0, 0.04)),
        swapped=float(rng.uniform(0.0, 0.04)),
        broken=float(rng.uniform(0.0, 0.006)),
        stumbles_per_day=float(rng.uniform(0.0, 0.3)),
        skew_s=float(rng.uniform(-400, 400)) if skewed else 0.0,
        skew_until_s=float(rng.uniform(span.start_s, span.end_s)) if rng.random() < 0.5 else np.inf,
    )
    return mess if messy else Mess()


def skewed(life: Life, mess: Mess) -> Life:
    """The same life by the device's own clock; a moment that a clock set back repeats is told a little later."""
    ts_ms = np.round((life.ts_s + np.where(life.ts_s < mess.skew_until_s, mess.skew_s, 0.0)) * 1000).astype(np.int64)
    while True:
        _, first = np.unique(ts_ms, return_index=True)
        if len(first) == len(ts_ms):
            return replace(life, ts_s=ts_ms / 1000)
        repeated = np.ones(len(ts_ms), dtype=np.bool_)
        repeated[first] = False
        ts_ms[repeated] += 1


def _offline(mess: Mess, span: Span, rng: np.random.Generator) -> list[tuple[float, float]]:
    count = int(rng.poisson(mess.offline_per_day * span.days))
    begins = np.sort(rng.uniform(span.start_s, span.end_s, count))
    lengths = np.clip(rng.exponential(mess.offline_h * HOUR_S, count), 0.5 * HOUR_S, 16 * HOUR_S)
    windows: list[tuple[float, float]] = []
    for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True):
        if not windows or begin > windows[-1][1] + HOUR_S:
            windows.append((begin, begin + length))
    return windows


def _arrivals(sent_s: Floats, windows: Sequence[tuple[float, float]]) -> Floats:
    """When readings due at `sent_s` really leave: at the end of the offline time they fall into."""
    late = sent_s.copy()
    for begin, end in windows:
        late[(sent_s >= begin) & (sent_s < end)] = end
    return late


def _swap(sendings: list[Sending], share: float, rng: np.random.Generator) -> None:
    """Let some packets be overtaken by the next one."""
    for n in np.flatnonzero(rng.random(max(0, len(sendings) - 1)) < share).tolist():
        one, other = sendings[n], sendings[n + 1]
        if one.act is Act.SEND and other.act is Act.SEND:
            sendings[n], sendings[n + 1] = replace(other, at_s=one.at_s), replace(one, at_s=other.at_s)


def _packed(arrival_s: Floats, keep: NDArray[np.bool_], most: int) -> list[tuple[float, NDArray[np.int64]]]:
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(arrival_s[rows], kind="stable")]
    if not len(rows):
        return []
    moments, first = np.unique(arrival_s[rows], return_index=True)
    packed: list[tuple[float, NDArray[np.int64]]] = []
    for moment, group in zip(moments.tolist(), np.split(rows, first[1:]), strict=True):
        packed += [(moment, group[n : n + most]) for n in range(0, len(group), most)]
    return packed


def deliver(
    life: Life, *, sync: Sync, mess: Mess, labels: Sequence[Label], span: Span, rng: np.random.Generator
) -> list[Sending]:
    """The acts of one device on its connection, in the order of time, for the whole span.

    `life.ts_s` is true time here; a clock that is wrong changes what is written, not when it is sent.
    """
    silences = of_kind(labels, FaultKind.SILENCE)
    phase_s = rng.uniform(0, sync.every_s)
    tick_s = np.ceil((life.ts_s - phase_s) / sync.every_s) * sync.every_s + phase_s
    windows = _offline(mess, span, rng)
    arrival_s = _arrivals(tick_s, windows)
    keep = (rng.random(len(life.ts_s)) >= mess.missing) & (arrival_s < span.end_s)
    for silence in silences:
        keep &= ~(silence.during(life.ts_s) | silence.during(arrival_s))
    sendings = [
        Sending(at_s, Act.SEND_TWICE if again else Act.SEND, rows)
        for (at_s, rows), again in _with_luck(_packed(arrival_s, keep, sync.most), mess.twice, rng)
    ]
    _swap(sendings, mess.swapped, rng)
    for (at_s, _), breaks in _with_luck([(s.at_s, None) for s in sendings], mess.broken, rng):
        if breaks:
            sendings.append(Sending(at_s, Act.BREAK))
    sendings += _told(life.happenings, sync, windows, silences, span)
    sendings += _connection(windows, silences, span, rng)
    for at_s in rng.uniform(span.start_s, span.end_s, int(rng.poisson(mess.stumbles_per_day * span.days))).tolist():
        sendings.append(Sending(at_s, Act.STUMBLE))
    return _connected(sorted(sendings, key=lambda sending: sending.at_s))


def _with_luck(items: Sequence[_T], share: float, rng: np.random.Generator) -> list[tuple[_T, bool]]:
    return list(zip(items, (rng.random(len(items)) < share).tolist(), strict=True))


def _told(
    happenings: Sequence[Happening],
    sync: Sync,
    windows: Sequence[tuple[float, float]],
    silences: Sequence[Label],
    span: Span,
) -> list[Sending]:
    """Events leave at once, or at the end of an offline time."""
    if not happenings:
        return []
    at_s = np.array([item.ts_s for item in happenings])
    arrival_s = _arrivals(at_s, windows)
    keep = arrival_s < span.end_s
    for silence in silences:
        keep &= ~(silence.during(at_s) | silence.during(arrival_s))
    packed = _packed(arrival_s, keep, sync.most)
    return [Sending(moment, Act.TELL, None, tuple(happenings[int(n)] for n in group)) for moment, group in packed]


def _connection(
    windows: Sequence[tuple[float, float]], silences: Sequence[Label], span: Span, rng: np.random.Generator
) -> list[Sending]:
    """Births, good-byes and wills; many devices keep their connection open through a short hole in the network."""
    acts = [Sending(span.start_s, Act.CONNECT)]
    for begin, end in windows:
        if rng.random() < 0.4:
            acts += [Sending(begin, Act.LEAVE if rng.random() < 0.5 else Act.VANISH), Sending(end, Act.CONNECT)]
    for silence in silences:
        dead = silence.during(np.array([act.at_s for act in acts]))
        acts = [act for act, gone in zip(acts, dead.tolist(), strict=True) if not gone]
        acts.append(Sending(silence.starts_at_s, Act.VANISH))
        if silence.ends_at_s is not None:
            acts.append(Sending(silence.ends_at_s, Act.CONNECT))
    return acts


_NEEDS_CONNECTION = frozenset({Act.SEND, Act.SEND_TWICE, Act.BREAK, Act.TELL})


def _connected(sendings: Sequence[Sending]) -> list[Sending]:
    """Connect where something is to be sent and the connection is away; leave out what changes nothing."""
    acts: list[Sending] = []
    up = False
    for sending in sendings:
        if sending.act is Act.CONNECT:
            if not up:
                acts.append(sending)
            up = True
        elif sending.act in {Act.LEAVE, Act.VANISH, Act.STUMBLE}:
            if up:
                acts.append(sending)
            up = up and sending.act is Act.STUMBLE
        else:
            if not up:
                acts.append(Sending(sending.at_s, Act.CONNECT))
                up = True
            acts.append(sending)
    return acts


def broken_payload(sample: bytes, rng: np.random.Generator) -> bytes:
    """What a packet looks like when firmware or radio went wrong: cut off, not JSON, wrong types, impossible values."""
    kinds = (
        lambda: sample[: int(rng.integers(2, max(3, len(sample) - 1)))],
        lambda: rng.bytes(int(rng.integers(4, 60))),
        lambda: sample.replace(b'"metrics":{', b'"metrics":[', 1),
        lambda: b'{"ts":"yesterday","metrics":{"' + rng.bytes(3).hex().encode() + b'":1}}',
        lambda: b'{"ts":%d,"metrics":{"x":1}}' % int(4_000_000_000_000 + rng.integers(10**9)),
        lambda: b'{"ts":%d,"metrics":{"x":"%s"}}' % (int(rng.integers(10**9)), rng.bytes(2).hex().encode()),
        lambda: b'{"metrics":{"x":NaN,"y":%d}}' % int(rng.integers(10**9)),
    )
    return kinds[int(rng.integers(len(kinds)))]()
