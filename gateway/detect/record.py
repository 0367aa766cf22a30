"""A value beyond everything that this series has shown, in units of what it has shown.

Two features of each sample: its distance to the mean of the same hour of the day, and the distance to the long-run mean
that it shares with the two samples before it (their median, so that one stray value is none). Each has a range that it
has kept to so far, which shrinks slowly. The score is how far a feature leaves its range, in widths of the range; the
larger of the two counts. A series that leaves its ranges often must leave them further: its unrest divides the score.
What follows soon after a record must be larger still: a bar jumps to each record and sinks again.
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
from gateway.detect.table import Field, Numeric, Rows
from gateway.detect.words import say_metric, say_number, say_quantity, say_span

SLOW: Final = 0.002  # of the slow mean towards each sample
HOURLY: Final = 0.03
SHRINK: Final = 0.0004  # of a range, per sample; young ranges shrink faster, they were made by the first samples
WARM_UP: Final = 180.0  # samples before anything is scored
RESOLUTION: Final = 0.02  # a range narrower than this share of the level counts as so wide
NARROWEST: Final = np.float32(0.25)  # of an amount's first range, as which its others count
LARGEST_STEP: Final = 0.5  # widths by which one sample can widen a range
PACE_WHILE_FIRING: Final = 0.0005  # of means and ranges: or the fault becomes what is expected
UNREST: Final = 0.5  # that a sample one width outside adds
UNREST_FROM: Final = 0.1  # widths outside that count as unrest
UNREST_FALL: Final = 0.999  # per sample
BAR_FALL: Final = 0.985  # of the bar, per sample
BAR_MARGIN: Final = 1.8  # over the bar, to be a new record
WORTH_TELLING: Final = 0.5  # no watch alerts below it
HALF: Final = 0.3  # excess, in widths, that scores 0.5
WEIGHTS: Final[Shorts] = np.array([[1.5], [0.95]], np.float32)
FEATURES: Final = len(WEIGHTS)
MIGRATED: Final = ("slow", "last", "count", "bar", "kind", *(field.name for field in KIND_FIELDS), "hourly", "start_s")
LARGEST_RATIO: Final = np.float32(1e6)
MANY: Final = 1e6  # samples; more of them no longer change anything
NOTHING: Final = np.float32(0)
SMALLEST: Final = np.float32(1e-30)  # what is divided by at least
SAYINGS: Final = ("unlike itself at this time of day", "further from its long-run level than ever before")


class Record:
    """Record exceedance: how far beyond its own past a value is."""

    name: Final = "record"
    version: Final = 2
    kind: Final = Kind.RECORD
    fields: Sequence[Field] = (
        Field("slow"),
        Field("count", "f4"),  # samples learnt from, up to a million
        Field("bar", "f4"),
        Field("unrest", "f4"),  # what the ranges were left by lately
        *KIND_FIELDS,
        Field("hourly", "f4", np.nan, lanes=24, apart=True),
        Field("before", "f4", np.nan, lanes=2),  # distances of the last two samples to the slow mean, newest first
        Field("low", "f4", np.inf, lanes=FEATURES),
        Field("high", "f4", -np.inf, lanes=FEATURES),
        Field("last", initial=np.nan, group="record"),  # value as it came, of a counter
        Field("start_s", initial=np.nan, group="record"),  # first sample
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
        before = state["kind"]
        kind = self._follow_kind(state, batch)
        counter = kind == LearntKind.COUNTER
        value = batch.value
        if counter.any():
            value = np.where(counter, difference(value, state["last"]), value)
        if (kind <= LearntKind.COUNTER).any():
            # The spread of amounts grows with them; that of their square roots does not.
            value = np.where(kind <= LearntKind.COUNTER, np.copysign(np.sqrt(np.abs(value)), value), value)
        followed = np.flatnonzero((counter | (before == LearntKind.UNSETTLED)) & ~batch.late)
        if len(followed):
            some = state.aside(followed)
            some["last"] = batch.value[followed]
            some.flush()
        usable = np.isfinite(value) & ~batch.late
        pace = np.where(batch.firing, PACE_WHILE_FIRING, 1.0)
        amounts = kind <= LearntKind.COUNTER
        if usable.all():
            score, inside = _score(state, batch.ts_s, value, (pace, amounts))
        elif usable.any():
            chosen = np.flatnonzero(usable)
            some = state.at(chosen)
            score[chosen], inside[chosen] = _score(
                some, batch.ts_s[chosen], value[chosen], (pace[chosen], amounts[chosen])
            )
            some.flush()
        tells = (kind != LearntKind.STATE) & ~(amounts & (value == 0))  # what is not used is the usage drop's to tell
        breach = usable & tells & (score >= batch.parameter("score")) & (score > 0)
        news = np.flatnonzero(breach)
        if len(news):
            warm_up = np.broadcast_to(batch.parameter("warm_up"), len(score))[news]
            breach[news] = batch.ts_s[news] - state.aside(news)["start_s"] >= warm_up
        return Findings(breach, usable & inside & ~breach, score, judged=usable, dismissed=kind == LearntKind.STATE)

    def migrate(self, version: int, saved: Mapping[str, Numeric]) -> Mapping[str, Numeric] | None:
        """Version 1 had four features and no unrest; two of its ranges are of use."""
        if version != 1:
            return None
        taken = {name: saved[name] for name in MIGRATED if name in saved}
        if "low" in saved and "high" in saved:
            taken |= {name: saved[name][:, [1, 0]] for name in ("low", "high")}
        return taken

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
        off = (max(seen - high, low - seen) / (high - low)) if high > low else 0.0
        unusual = f", and this is out by {say_number(off)} times that range" if off > 0 else ""
        text = (
            f"{now}: {SAYINGS[int(state['feature'][0])]}; expected was {expected}, by {say_span(window_s)} of its own "
            f"past{unusual}"
        )
        return Words(text, expected, observed, window_s)

    def _follow_kind(self, state: Rows, batch: Batch) -> Floats:
        """The series' kinds; one that turns out to be of amounts starts anew, on their square roots."""
        before = state["kind"]
        kind = learn_kind(state, batch.ts_s, batch.value, state["last"], batch.parameter("kind"))
        turned = np.flatnonzero((before == LearntKind.UNSETTLED) & (state["kind"] <= LearntKind.COUNTER))
        if len(turned):
            some = state.at(turned)
            some["count"], some["bar"], some["unrest"] = 0.0, 0.0, 0.0
            some.set_lanes("before", np.full((2, len(turned)), np.nan))
            some.set_lanes("low", np.full((FEATURES, len(turned)), np.inf))
            some.set_lanes("high", np.full((FEATURES, len(turned)), -np.inf))
            some.flush()
            some.set_vector("hourly", np.full((len(turned), 24), np.nan))
        return kind


def _score(state: Rows, ts_s: Floats, value: Floats, learns: tuple[Floats, Mask]) -> tuple[Floats, Mask]:
    """One step of both features: the score, and whether the value was within both ranges.

    What `learns` says: a pace, which is 1, less where what is seen must not become what is expected; and which are
    amounts. One of nothing says nothing of how large amounts are.
    """
    pace, amounts = learns
    count, slow, unrest = state["count"], state["slow"], state["unrest"]
    first = count == 0
    if first.any():
        slow = np.where(first, value, slow)
        _begin(state.aside(np.flatnonzero(first)), ts_s[first])
    hourly = state.cells("hourly", hour_of_day(ts_s))
    before = state.lanes("before")
    distance = (value - slow).astype(np.float32)
    steady = np.fmax(np.fmin(distance, before[0]), np.fmin(np.fmax(distance, before[0]), before[1]))
    features = np.stack([(value - hourly.values).astype(np.float32), steady])

    ranges = _Ranges(state, np.abs(slow), count, amounts)
    ratio = ranges.exceeded_by(features)
    raw = np.minimum(ratio.max(axis=0), LARGEST_RATIO)
    excess = raw / (1.0 + unrest)
    bar = state["bar"]
    news = excess > BAR_MARGIN * bar
    wide = excess.astype(np.float64)
    score = np.where(news, wide / (wide + HALF), 0.0)
    telling = np.flatnonzero(score >= WORTH_TELLING)
    if len(telling):
        bases = np.stack([hourly.values, slow])[:, telling]
        ranges.note(state.aside(telling), telling, ratio[:, telling], (bases, value[telling]))
    added = pace.astype(np.float32) * UNREST * np.minimum(raw, np.float32(1))
    state["unrest"] = unrest * UNREST_FALL + np.where(raw > UNREST_FROM, added, NOTHING)
    state["bar"] = np.where(news, excess, bar * BAR_FALL)
    state["slow"] = slow + pace * np.fmax(SLOW, 1.0 / (count + 1.0)) * (value - slow)
    state["count"] = np.minimum(count + 1.0, MANY)
    state.set_lanes("before", np.stack([distance, before[0]]))
    known = hourly.values + pace * HOURLY * (value - hourly.values)
    hourly.put(np.where(np.isnan(hourly.values), value, known))
    ranges.widen(features, pace, amounts & (value == 0))
    return score, raw == 0


def _begin(state: Rows, ts_s: Floats) -> None:
    state["start_s"] = ts_s
    state.flush()


class _Ranges:
    """What each feature of each series has kept to so far: [features, n] each, in single precision."""

    def __init__(self, state: Rows, level: Floats, count: Floats, amounts: Mask) -> None:
        self._state = state
        self._count = count
        self._low, self._high = state.lanes("low"), state.lanes("high")
        self._width = self._high - self._low
        least = (RESOLUTION * level).astype(np.float32)
        # Of what is used seldom, three uses on end are no wonder: their median counts by how far single ones go.
        least = np.where(amounts, np.maximum(least, NARROWEST * self._width[0]), least)
        self._scale = np.maximum(self._width, least)

    def exceeded_by(self, features: Shorts) -> Shorts:
        """How far beyond its range each feature is, in weighted widths; 0 within it, and while it is young."""
        excess = np.fmax(features - self._high, self._low - features)
        # A series that was constant so far has no range; its first change cannot be measured in it.
        scored = (self._width > 0) & (excess > 0) & (self._count >= WARM_UP)
        with np.errstate(over="ignore"):
            ratio = np.where(scored, excess, NOTHING) / np.maximum(self._scale, SMALLEST) * WEIGHTS
        return ratio.astype(np.float32, copy=False)

    def widen(self, features: Shorts, pace: Floats, rests: Mask) -> None:
        """Shrink the ranges a little, then let in what was just seen, or a step towards it."""
        low, high = self._low, self._high
        step = (LARGEST_STEP * pace).astype(np.float32) * self._scale
        kept = np.minimum(np.maximum(features, low - step), high + step)
        # A range without a width takes any first step; one of its own width would not move it.
        free = ~(self._width > 0) | (self._count < WARM_UP)
        if free.any():
            kept = np.where(free, features, kept)
        rate = np.where(rests, NOTHING, (0.5 * (SHRINK + 1.0 / (self._count + 10.0))).astype(np.float32))
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
