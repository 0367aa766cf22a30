"""A value beyond everything that this series has shown, in units of what it has shown.

Four features of each sample: its distance to the slow mean, to the mean of the same hour of the day, and to the fast
mean, and the fast mean's distance to the slow one. Each has a range that it has kept to so far, which shrinks slowly.
The score is how far a feature leaves its range, in widths of the range; the largest of the four counts. What follows
soon after must be larger still: a bar jumps to each record and sinks again.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats, Indices, Mask, Shorts
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Words
from gateway.detect.habit import hour_of_day
from gateway.detect.kinds import KIND_FIELDS, LearntKind, difference, learn_kind, tell_kind
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Rows
from gateway.detect.words import say_metric, say_quantity

SLOW: Final = 0.004  # of the slow mean towards each sample
FAST: Final = 0.08
HOURLY: Final = 0.07
SHRINK: Final = 0.0004  # of a range, per sample; young ranges shrink faster, they were made by the first samples
WARM_UP: Final = 200.0  # samples before anything is scored
RESOLUTION: Final = 0.02  # a range narrower than this share of the level counts as so wide
LARGEST_STEP: Final = 1.0  # widths by which one sample can widen a range
PACE_WHILE_FIRING: Final = 0.0005  # of means and ranges: or the fault becomes what is expected
BAR_FALL: Final = 0.979  # of the bar, per sample
BAR_MARGIN: Final = 1.3  # over the bar, to be a new record
WORTH_TELLING: Final = 0.5  # no watch alerts below it
HALF: Final = 0.3  # excess, in widths, that scores 0.5
WEIGHTS: Final[Shorts] = np.array([[0.3], [1.4], [1.0], [1.0]], np.float32)
FEATURES: Final = len(WEIGHTS)
LARGEST_RATIO: Final = np.float32(1e6)
MANY: Final = 1e6  # samples; more of them no longer change anything
NOTHING: Final = np.float32(0)
SMALLEST: Final = np.float32(1e-30)  # what is divided by at least
SAYINGS: Final = (
    "further from its long-run level than ever before",
    "unlike itself at this time of day",
    "away from its long-run level for longer than ever before",
    "a jump larger than any before",
)


class Record:
    """Record exceedance: how far beyond its own past a value is."""

    name: Final = "record"
    version: Final = 1
    kind: Final = Kind.RECORD
    fields: Sequence[Field] = (
        Field("slow"),
        Field("fast"),
        Field("count", "f4"),  # samples learnt from, up to a million
        Field("bar", "f4"),
        Field("last", initial=np.nan),  # value as it came
        Field("start_s", initial=np.nan),  # first sample
        *KIND_FIELDS,
        Field("hourly", "f4", np.nan, lanes=24, apart=True),
        Field("low", "f4", np.inf, lanes=FEATURES),
        Field("high", "f4", -np.inf, lanes=FEATURES),
        Field("feature", "f4", group="record"),  # of the last breach, and the values that would have been in its range
        Field("expected_low", "f4", group="record"),
        Field("expected_high", "f4", group="record"),
        Field("observed", "f4", group="record"),  # as it was judged
    )
    parameters: Sequence[Parameter] = (
        Parameter("score", default=0.85, minimum=WORTH_TELLING, maximum=1.0),
        Parameter("warm_up", default=0.0, minimum=0.0, span=True),  # device time, besides the samples
        Parameter("kind", minimum=0.0, maximum=4.0),  # a LearntKind; else it is learnt
    )
    evidence_points: Final = 16

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """A profiled metric's kind need not be learnt."""
        del settings
        return {"kind": tell_kind(metric)}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Score each sample against the ranges so far, then widen them by it. Late samples change nothing."""
        score = np.zeros(len(state))
        inside = np.zeros(len(state), bool)
        kind = self._follow_kind(state, batch)
        counter = kind == LearntKind.COUNTER
        last = state["last"]
        value = np.where(counter, difference(batch.value, last), batch.value) if counter.any() else batch.value
        if (kind <= LearntKind.COUNTER).any():
            # The spread of amounts grows with them; that of their square roots does not.
            value = np.where(kind <= LearntKind.COUNTER, np.sign(value) * np.sqrt(np.abs(value)), value)
        state["last"] = np.where(batch.late, last, batch.value)
        usable = np.isfinite(value) & ~batch.late
        new = usable & np.isnan(state["start_s"])
        if new.any():
            state["start_s"] = np.where(new, batch.ts_s, state["start_s"])
        pace = np.where(batch.firing, PACE_WHILE_FIRING, 1.0)
        if usable.all():
            score, inside = _score(state, batch.ts_s, value, pace)
        elif usable.any():
            chosen = np.flatnonzero(usable)
            some = state.at(chosen)
            score[chosen], inside[chosen] = _score(some, batch.ts_s[chosen], value[chosen], pace[chosen])
            some.flush()
        warm = batch.ts_s - state["start_s"] >= batch.parameter("warm_up")
        breach = usable & warm & (kind != LearntKind.STATE) & (score >= batch.parameter("score")) & (score > 0)
        return Findings(breach, usable & inside & ~breach, score, judged=usable, dismissed=kind == LearntKind.STATE)

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Say which feature left its range, and what would have been within."""
        told = moment.parameters["kind"]
        kind = float(state["kind"][0]) if np.isnan(told) else told
        low, high, seen = (float(state[name][0]) for name in ("expected_low", "expected_high", "observed"))
        if kind <= LearntKind.COUNTER:  # judged by their square roots
            low, high, seen = max(low, 0.0) ** 2, high**2, seen**2
        name, unit = say_metric(moment.metric), moment.unit
        expected = f"{say_quantity(low, unit)} to {say_quantity(high, unit)}"
        window_s = moment.ts_s - float(state["start_s"][0])
        counts = kind == LearntKind.COUNTER
        if moment.event == "cleared":
            observed = say_quantity(moment.value, unit)
            now = f"{name} rises" if counts else f"{name} {observed}, back"
            return Words(f"{now} within what this device has shown before", expected, observed, window_s)
        observed = say_quantity(seen if moment.event == "raised" or counts else moment.value, unit)
        now = f"{name} rose by {observed}" if counts else f"{name} {observed}"
        return Words(
            f"{now}: {SAYINGS[int(state['feature'][0])]}; expected was {expected}", expected, observed, window_s
        )

    def _follow_kind(self, state: Rows, batch: Batch) -> Floats:
        """The series' kinds; one that turns out to be of amounts starts anew, on their square roots."""
        before = state["kind"]
        kind = learn_kind(state, batch.ts_s, batch.value, state["last"], batch.parameter("kind"))
        turned = np.flatnonzero((before == LearntKind.UNSETTLED) & (state["kind"] <= LearntKind.COUNTER))
        if len(turned):
            some = state.at(turned)
            some["count"], some["bar"], some["start_s"] = 0.0, 0.0, batch.ts_s[turned]
            some.set_lanes("low", np.full((FEATURES, len(turned)), np.inf))
            some.set_lanes("high", np.full((FEATURES, len(turned)), -np.inf))
            some.flush()
            some.set_vector("hourly", np.full((len(turned), 24), np.nan))
        return kind


def _score(state: Rows, ts_s: Floats, value: Floats, pace: Floats) -> tuple[Floats, Mask]:
    """One step of all four features: the score, and whether the value was within all ranges.

    `pace` is 1, less where what is seen must not become what is expected.
    """
    count, slow, before = state["count"], state["slow"], state["fast"]
    first = count == 0
    if first.any():
        slow, before = np.where(first, value, slow), np.where(first, value, before)
    fast = before + FAST * (value - before)
    hourly = state.cells("hourly", hour_of_day(ts_s))
    features = np.empty((FEATURES, len(value)), np.float32)
    for feature, (seen, base) in zip(
        features, ((value, slow), (value, hourly.values), (fast, slow), (value, before)), strict=True
    ):
        feature[:] = seen - base

    ranges = _Ranges(state, np.abs(slow), count)
    ratio = ranges.exceeded_by(features)
    raw = np.minimum(ratio.max(axis=0), LARGEST_RATIO).astype(np.float64)
    bar = state["bar"]
    news = raw > BAR_MARGIN * bar
    score = np.where(news, raw / (raw + HALF), 0.0)
    telling = np.flatnonzero(score >= WORTH_TELLING)
    if len(telling):
        bases = np.stack([slow, hourly.values, slow, before])[:, telling]
        ranges.note(state.aside(telling), telling, ratio[:, telling], (bases, value[telling]))
    state["bar"] = np.where(news, raw, bar * BAR_FALL)
    state["slow"] = slow + pace * np.fmax(SLOW, 1.0 / (count + 1.0)) * (value - slow)
    state["fast"] = fast
    state["count"] = np.minimum(count + 1.0, MANY)
    known = hourly.values + pace * HOURLY * (value - hourly.values)
    hourly.put(np.where(np.isnan(hourly.values), value, known))
    ranges.widen(features, pace)
    return score, raw == 0


class _Ranges:
    """What each feature of each series has kept to so far: [features, n] each, in single precision."""

    def __init__(self, state: Rows, level: Floats, count: Floats) -> None:
        self._state = state
        self._count = count
        self._low, self._high = state.lanes("low"), state.lanes("high")
        self._width = self._high - self._low
        self._scale = np.maximum(self._width, (RESOLUTION * level).astype(np.float32))

    def exceeded_by(self, features: Shorts) -> Shorts:
        """How far beyond its range each feature is, in weighted widths; 0 within it, and while it is young."""
        excess = np.fmax(features - self._high, self._low - features)
        # A series that was constant so far has no range; its first change cannot be measured in it.
        scored = (self._width > 0) & (excess > 0) & (self._count >= WARM_UP)
        with np.errstate(over="ignore"):
            ratio = np.where(scored, excess, NOTHING) / np.maximum(self._scale, SMALLEST) * WEIGHTS
        return ratio.astype(np.float32, copy=False)

    def widen(self, features: Shorts, pace: Floats) -> None:
        """Shrink the ranges a little, then let in what was just seen, or a step towards it."""
        low, high = self._low, self._high
        step = (LARGEST_STEP * pace).astype(np.float32) * self._scale
        kept = np.minimum(np.maximum(features, low - step), high + step)
        # A range without a width takes any first step; one of its own width would not move it.
        free = ~(self._width > 0) | (self._count < WARM_UP)
        if free.any():
            kept = np.where(free, features, kept)
        rate = (0.5 * (SHRINK + 1.0 / (self._count + 10.0))).astype(np.float32)
        shrink = rate * np.maximum(self._width, NOTHING)
        # A feature that is not there yet (an hour of the day not seen before) is NaN, and changes nothing.
        self._state.set_lanes("low", np.fmin(low + shrink, kept))
        self._state.set_lanes("high", np.fmax(high - shrink, kept))

    def note(self, state: Rows, chosen: Indices, ratio: Shorts, seen: tuple[Floats, Floats]) -> None:
        """Keep what a record is explained with: the feature, and the values that would have been in its range."""
        feature, each = ratio.argmax(axis=0), np.arange(len(state))
        bases, state["observed"] = seen
        state["feature"] = feature
        state["expected_low"] = bases[feature, each] + self._low[feature, chosen]
        state["expected_high"] = bases[feature, each] + self._high[feature, chosen]
        state.flush()
