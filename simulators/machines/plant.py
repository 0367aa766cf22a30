"""Fleets of machines that wear out: sensors in noise, and a wear that grows faster and faster until the end.

The wear follows the form that is commonly used for turbines: an exponential of a power of the age, with rates that
differ from unit to unit, until it passes what the unit can bear (Saxena, Goebel, Simon and Eklund, "Damage propagation
modeling for aircraft engine run-to-failure simulation", PHM 2008).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

START_S: Final = 1_704_672_000  # Monday, 8 January 2024
SHORTEST, LONGEST = 128, 362  # cycles
SENSORS: Final = 14  # that feel the wear
REGIMES: Final = 6
HOUR_S: Final = 3600
DAY_S: Final = 86_400

Floats = NDArray[np.float64]


class Plant(StrEnum):
    """What sort of fleet it is."""

    HOURLY = "hourly"  # a cycle is an hour
    DAILY = "daily"
    REGIMES = "regimes"  # the operating point jumps between six, and takes every sensor with it
    CALM = "calm"  # nothing wears: rhythms, weather, and noise that resembles itself
    SLOW = "slow"  # it grows 15-fold over a life, where the others' grows 60-fold
    UNEVEN = "uneven"  # no two units wear alike, none is quite new, and wear wanders on its way


@dataclass(frozen=True, slots=True)
class Unit:
    """A machine's readings, from its first cycle to its last."""

    name: str
    start_s: float
    cycle_s: float
    readings: Floats  # [cycles, metrics]

    @property
    def cycles(self) -> int:
        """How long it lives."""
        return len(self.readings)


@dataclass(frozen=True, slots=True)
class _Make:
    """What all units of a fleet have in common, [sensors] each."""

    level: Floats
    noise: Floats
    gain: Floats  # by how many noises a sensor has moved when the unit fails
    regime: Floats  # [regimes, sensors], in noises
    weather: Floats  # how much a sensor feels what all feel
    built: float  # by how many noises a sensor of one unit lies beside that of another


def make_fleet(plant: Plant, seed: int, units: int) -> Sequence[Unit]:
    """Draw a fleet; the same seed is always the same one."""
    rng = np.random.default_rng([seed, list(Plant).index(plant)])
    make = _draw_make(plant, rng)
    cycle_s = DAY_S if plant is Plant.DAILY else HOUR_S
    live = _live_calmly if plant is Plant.CALM else _wear_out
    fleet: list[Unit] = []
    for number in range(units):
        deviations, points = live(make, plant, rng)
        start_s = START_S + float(rng.integers(0, 90)) * DAY_S
        fleet.append(Unit(f"unit-{number:03d}", start_s, cycle_s, _measure(make, deviations, points, rng)))
    return fleet


def names_of(fleet: Sequence[Unit]) -> list[str]:
    """The metrics that a fleet sends."""
    return [f"sensor_{number:02d}" for number in range(1, fleet[0].readings.shape[1] + 1)]


def lines_of(fleet: Sequence[Unit]) -> Iterator[bytes]:
    """NDJSON, in the order of time."""
    encoder, names = msgspec.json.Encoder(), names_of(fleet)
    moments = [(unit.start_s + cycle * unit.cycle_s, unit, cycle) for unit in fleet for cycle in range(unit.cycles)]
    for ts_s, unit, cycle in sorted(moments, key=lambda moment: moment[0]):
        metrics = dict(zip(names, unit.readings[cycle].tolist(), strict=True))
        yield encoder.encode({"device": unit.name, "ts": round(ts_s * 1000), "metrics": metrics}) + b"\n"


def _draw_make(plant: Plant, rng: np.random.Generator) -> _Make:
    level = 10 ** rng.uniform(0.5, 4, SENSORS)
    noise = level * 10 ** rng.uniform(-4, -2, SENSORS)
    uneven = plant is Plant.UNEVEN  # some sensors feel twice of what others do
    gain = np.exp(rng.normal(np.log(5.8), 0.28, SENSORS)) if uneven else rng.normal(5.7, 1.0, SENSORS)
    return _Make(
        level=level,
        noise=noise,
        gain=gain * rng.choice([-1, 1], SENSORS),
        regime=rng.normal(0, 60, (REGIMES, SENSORS)),
        weather=rng.normal(0, 1, SENSORS),
        built=0.3 if uneven else 1.0,
    )


def _wear_out(make: _Make, plant: Plant, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Deviations over a life, in noises, and what the operating point alone makes of them: [cycles, sensors] each."""
    cycles, rate, power, bears = 0, 0.0, 0.0, 0.0
    slowness = -6.99 if plant in {Plant.SLOW, Plant.UNEVEN} else -6.57
    while not SHORTEST <= cycles <= LONGEST:
        rate, power = float(np.exp(rng.normal(slowness, 0.28))), float(rng.uniform(1.4, 1.6))
        bears = _draw_bearing(plant, rng)
        cycles = int((np.log(bears) / rate) ** (1 / power))
    age = np.arange(1, cycles + 1, dtype=np.float64)
    wear = (np.exp(rate * age**power) - 1) / (bears - 1)
    if plant is Plant.UNEVEN:
        wear = _uneven(wear, rng)
    gain = make.gain * rng.lognormal(0, 0.12, SENSORS)
    gain[-2:] = rng.normal(0, 8, 2)  # two take another way in every unit
    moved = wear[:, None] * gain + rng.normal(0, make.built, SENSORS)  # no two units are built alike
    points = make.regime[rng.integers(REGIMES, size=cycles)] if plant is Plant.REGIMES else np.zeros(moved.shape)
    moved += points
    common = rng.normal(size=(cycles, 1)) * 0.3 * np.sign(make.weather)
    return moved + common + 0.95 * rng.normal(size=(cycles, SENSORS)), points


def _draw_bearing(plant: Plant, rng: np.random.Generator) -> float:
    """By how many times wear grows until the unit fails."""
    match plant:
        case Plant.UNEVEN:
            return math.exp(rng.uniform(math.log(5), math.log(60)))
        case Plant.SLOW:
            return float(rng.uniform(10, 20))
        case _:
            return float(rng.uniform(40, 80))


def _uneven(wear: Floats, rng: np.random.Generator) -> Floats:
    """Wear of a unit that was not as new as the next one, fails a little earlier or later, and wanders on its way."""
    start, end = rng.normal(0, 0.08), rng.normal(1, 0.05)
    wander = _wander(len(wear), 1, 0.95, rng)[:, 0]
    return start + wear * (end - start) + 0.03 * wander * (0.5 + wear)


def _live_calmly(make: _Make, plant: Plant, rng: np.random.Generator) -> tuple[Floats, Floats]:
    del plant
    cycles = LONGEST
    hours = np.arange(cycles)[:, None]
    rhythm = rng.uniform(0, 2, SENSORS) * np.sin(2 * np.pi * (hours / 24 + rng.uniform()))
    weather = _wander(cycles, 1, rng.uniform(0.8, 0.97), rng) * make.weather
    own = np.hstack([_wander(cycles, 1, likeness, rng) for likeness in rng.uniform(0, 0.9, SENSORS)])
    return rhythm + weather + own, np.zeros(own.shape)


def _wander(cycles: int, count: int, likeness: float, rng: np.random.Generator) -> Floats:
    """Noise of spread 1 in which neighbours resemble each other."""
    steps = rng.normal(size=(cycles, count)) * np.sqrt(1 - likeness**2)
    found = np.empty_like(steps)
    now = rng.normal(size=count)
    for cycle in range(cycles):
        now = likeness * now + steps[cycle]
        found[cycle] = now
    return found


def _measure(make: _Make, deviations: Floats, points: Floats, rng: np.random.Generator) -> Floats:
    """What is sent: sensors rounded as their displays are, settings, and sensors that always say the same."""
    cycles = len(deviations)
    decimals = np.clip(np.ceil(1 - np.log10(make.noise)), 0, 6).astype(int)
    values = make.level + make.noise * deviations
    sensors = [np.round(values[:, k], int(decimals[k])) for k in range(SENSORS)]
    settings = [
        np.round(rng.normal(0, 0.002, cycles) + points[:, 0] / 5, 4),  # altitude, say: they say which point it is
        np.round(rng.normal(0, 0.0003, cycles) + points[:, 1] / 300, 4),  # speed
    ]
    levels = (100, 14.62, 518.67, 1.3, 2388)
    flat = [np.round(value * (1 + points[:, k] / 1000), 2) for k, value in enumerate(levels)]
    flat.append(np.where(rng.random(cycles) < 0.02, 21.60, 21.61))
    return np.column_stack([*settings, *sensors, *flat])
