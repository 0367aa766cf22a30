"""When a device is worn, when it reports, and when what it reported arrives.

Owners differ: some hardly ever leave a device at home, some do so every other week, and what they leave at home mostly
lies there for a night and a day, now and then for a week. So how often a device is put away varies by more than an
order of magnitude from owner to owner, and its own past says much of its future.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulators.usage.lives import Flags, Floats, Life

LONGEST_H: Final = 14 * 24.0  # that something is put away and then used again


@dataclass(frozen=True, slots=True)
class Presence:
    """Arrays [hours]: what of a life can be seen, and when."""

    worn: Flags
    reported: Flags  # a line of this hour is ever sent
    arrives: Floats  # in which hour it is sent; its own where it is on time
    charging: Flags


def wear(life: Life, rng: np.random.Generator, *, complete: bool = False) -> Presence:
    """A device that is worn: taken off for nights, for charging, for hours and for days; a part of that unreported.

    One that is `complete` tells of every hour, in time: in a drawer, of hours without use.
    """
    hours = len(life.use)
    off = np.zeros(hours, np.bool_)
    if rng.random() < 0.45:
        off |= life.asleep & (rng.random(int(life.day.max()) + 2) < rng.uniform(0.6, 1.0))[life.day]
    _spells(off, rng, every_h=24 * rng.uniform(2, 20), lasting_h=(2, 9))
    _put_away(off, rng, every_days=(12, 400), median_h=20.0)
    charging = np.zeros(hours, np.bool_)
    every, at = rng.uniform(1.5, 6.0), rng.uniform(18, 31) % 24
    due = np.floor(life.day / every) != np.floor((life.day - 1) / every)
    charging |= due & (((life.local - at) % 24) < rng.integers(1, 4))
    worn = ~(off | charging)
    if complete:
        return Presence(worn, np.ones(hours, np.bool_), np.arange(hours, dtype=np.float64), charging)
    tells = rng.choice([0.0, 0.15, 1.0], p=[0.5, 0.3, 0.2])  # of the hours off: reported as nothing done
    told = np.zeros(hours, np.bool_)
    edges = np.flatnonzero(np.diff(worn.astype(np.int8), prepend=1))
    for start, end in zip(edges, [*edges[1:], hours], strict=True):
        told[start:end] = rng.random() < tells
    reported = worn | told
    _lose(reported, rng, share=rng.choice([0.02, 0.1, 0.25]))
    return Presence(worn, reported, _arrivals(hours, rng), charging)


def stand(life: Life, rng: np.random.Generator) -> Presence:
    """A machine in its place: plugged in, sometimes not, with a network that sometimes fails."""
    hours = len(life.use)
    off = np.zeros(hours, np.bool_)
    if rng.random() < 0.3:
        off |= life.asleep
    if rng.random() < 0.5:  # the others are never unplugged
        _put_away(off, rng, every_days=(20, 300), median_h=40.0)
    reported = ~off
    _lose(reported, rng, share=rng.choice([0.0, 0.05, 0.2]))
    return Presence(~off, reported, _arrivals(hours, rng), np.zeros(hours, np.bool_))


def _spells(off: Flags, rng: np.random.Generator, every_h: float, lasting_h: tuple[float, float]) -> None:
    at = float(rng.exponential(every_h))
    while at < len(off):
        end = at + float(rng.uniform(*lasting_h))
        off[int(at) : int(end)] = True
        at = end + float(rng.exponential(every_h))


def _put_away(off: Flags, rng: np.random.Generator, every_days: tuple[float, float], median_h: float) -> None:
    shortest, longest = every_days
    every_h = 24 * math.exp(rng.uniform(math.log(shortest), math.log(longest)))
    at = float(rng.exponential(every_h))
    while at < len(off):
        end = at + min(median_h * rng.lognormal(0, 0.8), LONGEST_H)
        off[int(at) : int(end)] = True
        at = end + float(rng.exponential(every_h))


def _lose(reported: Flags, rng: np.random.Generator, share: float) -> None:
    """Lose about this share of what would be reported, half of it in pieces of several hours."""
    reported &= rng.random(len(reported)) >= share / 2
    if share:
        lost = np.zeros(len(reported), np.bool_)
        _spells(lost, rng, every_h=2 * 6.0 / share, lasting_h=(2, 10))
        reported &= ~lost


def _arrivals(hours: int, rng: np.random.Generator) -> Floats:
    """One device in four gathers several hours and sends them together."""
    at = np.arange(hours, dtype=np.float64)
    if rng.random() >= 0.25:
        return at
    syncs: list[int] = []
    while not syncs or syncs[-1] < hours:
        syncs.append((syncs[-1] if syncs else 0) + int(rng.integers(2, 9)))
    return np.array(syncs, np.float64)[np.searchsorted(np.array(syncs), np.arange(hours))]
