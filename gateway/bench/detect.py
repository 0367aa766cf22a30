"""The detection benchmark: samples of random series through every generic watch, beside detectors of one series."""

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from devices.profiles import AUTOMATIC
from gateway.bench.windowed_gaussian import WindowedGaussian
from gateway.detect.engine import Engine
from gateway.detect.model import Samples
from gateway.detect.settings import DetectSettings

_METRIC: Final = "value"
_EVERY_S: Final = 300.0  # between two samples of a series, on average
_WARM_UP_EVERY_S: Final = 6 * 3600.0
_WARM_UP_SAMPLES: Final = 60  # a series': fifteen days, after which the watches judge
_BASELINE_SERIES: Final = 1000
_START_S: Final = 1_760_000_000.0


class Scalar(Protocol):
    """A detector of one series."""

    def score(self, value: float) -> float:
        """Judge a value, then learn it."""
        ...


@dataclass(frozen=True, slots=True)
class DetectPlan:
    """What is measured, and for how long."""

    series: int = 100_000
    batch: int = 5000
    seconds: float = 2.0
    rounds: int = 3
    warm_up_samples: int = _WARM_UP_SAMPLES


@dataclass(frozen=True, slots=True)
class DetectRatios:
    """Our updates a second over theirs, medians of the rounds; None where the peer is not installed."""

    over_river: float | None
    over_windowed_gaussian: float


@dataclass(frozen=True, slots=True)
class DetectFigures:
    """What `careloop bench detect` found."""

    series: int
    updates_per_s: float
    bytes_per_series: int
    compiled: bool  # whether the detectors' loops are
    ratios: DetectRatios


class Updates:
    """Batches of samples of random series, each series at most once a batch; the same for the same seed.

    Half of the series are levels, the other half amounts that are nothing every third time: all watches have work.
    """

    def __init__(self, plan: DetectPlan, engine: Engine, seed: int = 1) -> None:
        self._plan = plan
        self._random = np.random.default_rng(seed)
        self._numbers = engine.numbers_of([f"dev-{number:06d}" for number in range(plan.series)])
        self._level = self._random.uniform(10.0, 100.0, plan.series)
        self._now_s = _START_S

    def next(self, every_s: float = _EVERY_S) -> Samples:
        """One more batch; the samples of a series are `every_s` apart, on average."""
        plan = self._plan
        which = self._random.choice(plan.series, plan.batch, replace=False)
        self._now_s += every_s * plan.batch / plan.series
        used = (which % 2 == 0) | (self._random.random(plan.batch) > 1 / 3)
        values = np.where(used, self._level[which] * self._random.normal(1.0, 0.05, plan.batch), 0.0)
        return Samples(
            profile=AUTOMATIC,
            device_ids=(),
            numbers=self._numbers[which],
            device=np.arange(plan.batch, dtype=np.int32),
            ts_s=self._now_s + self._random.uniform(0.0, 60.0, plan.batch),
            alive_s=self._now_s,
            metrics=(_METRIC,),
            values=values[:, None],
        )


def run_detect(plan: DetectPlan, say: Callable[[str], None]) -> DetectFigures:
    """Measure, contestants in turn."""
    say("warming up")
    engine, updates = warmed_up(plan)
    values = np.random.default_rng(2).normal(50.0, 5.0, 100_000)
    peers: dict[str, Callable[[], Scalar]] = {"windowed_gaussian": WindowedGaussian}
    river = load_river()
    if river is not None:
        peers["river"] = river
    detectors = {name: [make() for _ in range(_BASELINE_SERIES)] for name, make in peers.items()}
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(plan.rounds):
        say(f"round {number + 1}: careloop")
        ours.append(_engine_per_s(engine, updates, plan))
        for name, its in detectors.items():
            say(f"round {number + 1}: {name}")
            theirs[name].append(_scalar_per_s(its, values, plan.seconds / 2))
    ratios = {name: median(a / b for a, b in zip(ours, rates, strict=True)) for name, rates in theirs.items()}
    return DetectFigures(
        plan.series,
        round(median(ours), 1),
        bytes_per_series(engine, plan),
        engine.is_compiled,
        DetectRatios(
            _three_digits(ratios["river"]) if "river" in ratios else None, _three_digits(ratios["windowed_gaussian"])
        ),
    )


def warmed_up(plan: DetectPlan) -> tuple[Engine, Updates]:
    """An engine that has learnt from updates, and those to come."""
    engine = Engine({AUTOMATIC.model: AUTOMATIC}, DetectSettings())
    updates = Updates(plan, engine)
    for _ in range(plan.warm_up_samples * plan.series // plan.batch):
        _judge(engine, [updates.next(_WARM_UP_EVERY_S)])
    return engine, updates


def bytes_per_series(engine: Engine, plan: DetectPlan) -> int:
    """What all generic watches keep, over the series; each has a device to itself, whose share it bears alone."""
    return round(sum(engine.bytes_held.values()) / plan.series)


def _judge(engine: Engine, batch: Sequence[Samples]) -> None:
    engine.begin()
    engine.judge(batch)
    engine.commit()


def _engine_per_s(engine: Engine, updates: Updates, plan: DetectPlan) -> float:
    """Series updates a second of processor time; only the engine's own counts."""
    spent_s, count = 0.0, 0
    while spent_s < plan.seconds:
        batch = [updates.next()]
        before_s = time.process_time()
        _judge(engine, batch)
        spent_s += time.process_time() - before_s
        count += plan.batch
    return count / spent_s


def _scalar_per_s(detectors: Sequence[Scalar], values: NDArray[np.float64], seconds: float) -> float:
    """Updates a second, of processor time too, of detectors that take a sample at a time."""
    start_s, count = time.process_time(), 0
    for one, value in _turns(detectors, values.tolist()):
        one.score(value)
        count += 1
        if not count % 1000 and time.process_time() - start_s > seconds:
            break
    return count / (time.process_time() - start_s)


def _turns(detectors: Sequence[Scalar], values: Sequence[float]) -> Iterator[tuple[Scalar, float]]:
    while True:
        for number, value in enumerate(values):
            yield detectors[number % len(detectors)], value


def load_river() -> Callable[[], Scalar] | None:
    """River's Gaussian scorer, a detector a series; None where river is not installed."""
    try:
        anomaly = importlib.import_module("river.anomaly")
    except ImportError:
        return None
    make = cast("Callable[[], Any]", anomaly.GaussianScorer)  # river has no types

    class River:
        """One series in river."""

        def __init__(self) -> None:
            self._scorer = make()

        def score(self, value: float) -> float:
            """Judge a value, then learn it."""
            score = float(self._scorer.score_one(None, value))
            self._scorer.learn_one(None, value)
            return score

    return River


def _three_digits(ratio: float) -> float:
    return float(f"{ratio:.3g}")
