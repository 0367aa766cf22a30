"""What the devices of a model have in common, and what of it a new one is given before it has shown anything itself.

A *prior* is made from the state of all detectors, once in a while, and has the number of the batch with which it came
into force. A series is given its share at its birth, and never after: from then on it learns by itself alone. So
what a device is judged by depends on its own readings and on one number.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from gateway.detect.arrays import Floats, Indices
from gateway.detect.episodes import Phase
from gateway.detect.habit import HOUR_S
from gateway.detect.kinds import LearntKind
from gateway.detect.station import Station
from gateway.detect.table import Journal, Rows

FEWEST: Final = 20  # devices that must have settled
MOST: Final = 500  # of them that are asked, evenly spread
MATURE_DAYS: Final = 14.0
MOST_BORROWED: Final = 3.0  # days of habit that a new device is credited with, where all are alike
LEAST_BORROWED: Final = 1.0
NOT_ALIKE: Final = 1.0  # the middle half of the levels, in medians, from which on nothing of them is borrowed
USUAL_RECORD: Final = 0.75  # so many of the devices have shown no more
DAY_H: Final = 24
NOBODY: Final = -1  # the number under which a device is born that nothing was known for


class Habits(msgspec.Struct, frozen=True, array_like=True):
    """Of one watch over one metric of a model."""

    model: str
    detector: str
    watch: str
    devices: int  # that it was learnt from
    kind: float | None = None  # `LearntKind` that all of them have
    borrowed: float = 0.0  # days of habit; 0: their levels differ too much
    scalars: dict[str, float] = {}
    vectors: dict[str, list[float]] = {}


class Prior(msgspec.Struct, frozen=True, array_like=True):
    """All that is known beforehand, from a numbered batch on."""

    number: int
    habits: Sequence[Habits]


def encode(prior: Prior) -> bytes:
    """As it is kept."""
    return msgspec.msgpack.encode(prior)


def decode(body: bytes) -> Prior:
    """As it was kept."""
    return msgspec.msgpack.decode(body, type=Prior)


def survey(stations: Sequence[Station]) -> Iterator[Sequence[Habits]]:
    """What the devices have in common, watch by watch; a bounded number of each one's series is asked."""
    for station in stations:
        if "kind" in station.table.fields:
            for number in range(len(station.bindings)):
                found = _survey(station, number)
                yield [] if found is None else [found]


def _survey(station: Station, number: int) -> Habits | None:
    owners = station.table.column("watch")
    slots = np.flatnonzero((owners == number) & (station.table.column("device") >= 0)).astype(np.int64)
    if len(slots) < FEWEST:
        return None
    slots = slots[np.unique(np.linspace(0, len(slots) - 1, min(len(slots), MOST)).astype(np.int64))]
    state, binding = station.table.rows(slots), station.bindings[number]
    found = Habits(binding.model, station.name, binding.watch, len(slots))
    if np.isnan(binding.parameters.get("kind", 0.0)):
        found = _with_kind(found, state["kind"].astype(np.float64))
    if station.name == "usage_drop":
        found = _with_habit(found, state)
    return found if found.kind is not None or found.scalars else None


def _with_kind(found: Habits, kinds: Floats) -> Habits:
    """Only what none of them contradicts: a kind that is settled stays."""
    settled = kinds[kinds != LearntKind.UNSETTLED]
    if len(settled) < FEWEST or (settled != settled[0]).any():
        return found
    return msgspec.structs.replace(found, kind=float(settled[0]), devices=len(settled))


def _with_habit(found: Habits, state: Rows) -> Habits:
    """How much, at which hours and on which weekdays; and how long pauses are that mean nothing."""
    mature = (state["days"] >= MATURE_DAYS) & (state["phase"] == Phase.IDLE) & (state["per_day"] > 0)
    some = state.at(mature)
    if len(some) < FEWEST:
        return found
    records = {name: float(np.quantile(some[name], USUAL_RECORD)) for name in ("record", "longest")}
    levels = some["per_day"]
    low, level, high = np.quantile(levels, [0.25, 0.5, 0.75]).tolist()
    borrowed = MOST_BORROWED * max(0.0, 1.0 - (high - low) / level / NOT_ALIKE)
    found = msgspec.structs.replace(found, devices=len(some), scalars=records)
    usual, weekday = _shape(some.vector("usual")), _shape(some.vector("weekday"))
    if borrowed < LEAST_BORROWED or usual is None or weekday is None:
        return found
    means = {name: float(np.median(some[name])) for name in ("hour_use", "hour_square")}
    return msgspec.structs.replace(
        found,
        borrowed=borrowed,
        scalars={**records, **means, "per_day": level},
        vectors={"usual": (usual * level).tolist(), "weekday": (weekday * level * len(weekday)).tolist()},
    )


def _shape(lanes: Floats) -> Floats | None:
    """How the mean device's use is shared out over these lanes; None where a lane is known of nobody."""
    whole = np.nansum(lanes, axis=1, keepdims=True)
    told = np.isfinite(lanes) & (whole > 0)
    counts = told.sum(axis=0)
    if not (counts > 0).all():
        return None
    shares = np.where(told, lanes / np.where(whole > 0, whole, 1.0), 0.0).sum(axis=0) / counts
    return shares / shares.sum()


class Nursery:
    """Gives new series what the prior in force knows."""

    def __init__(self, journal: Journal) -> None:
        self.number = NOBODY
        self._journal = journal
        self._known: Mapping[tuple[str, str, str], Habits] = {}

    def adopt(self, prior: Prior) -> None:
        """Let a prior be in force for whatever is born from now on."""
        self.number = prior.number
        self._known = {(each.model, each.detector, each.watch): each for each in prior.habits}

    def raise_up(self, station: Station, index: Indices, watches: Indices, ts_s: Floats) -> None:
        """Give new slots, each with its watch's number and the device time of its first value, what is known.

        Past the journal: a slot stays its device's, even if what was judged in it is undone.
        """
        if not self._known:
            return
        is_open, self._journal.open = self._journal.open, False
        numbers: list[int] = np.unique(watches).tolist()
        for number in numbers:
            binding = station.bindings[number]
            known = self._known.get((binding.model, station.name, binding.watch))
            if known is not None:
                mine = watches == number
                _give(station.table.rows(index[mine]), known, ts_s[mine])
        self._journal.open = is_open


def _give(state: Rows, known: Habits, ts_s: Floats) -> None:
    if known.kind is not None:
        state["kind"] = known.kind
    for name, value in known.scalars.items():
        state[name] = value
    if known.scalars:
        state["peers"] = float(known.devices)
    if known.borrowed:
        days = float(np.ceil(known.borrowed))
        state["days"], state["borrowed"] = known.borrowed, days
        state["first_day"] = np.floor(ts_s / HOUR_S / DAY_H) - days
    state.flush()
    for name, lanes in known.vectors.items():
        state.set_vector(name, np.tile(np.array(lanes, np.float32), (len(state), 1)))
