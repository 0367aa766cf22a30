"""Slow decline: of use, and of levels that drift away from their own early life.

A series steps once an hour at most, so that a minute's cadence and a day's are judged alike (of its first hours see
`early`). A *level* keeps a slow mean of its own past, a fast one of the present, and its spread. The distance of the
two means, in standard errors, is the series' share of its device's evidence. How much neighbours resemble each other
widens that error, and lengthens the time until the series is known: rhythms and moods are no drift.

Of an amount the level is the logarithm of a day's use, were the whole day covered, and it steps once a day; what counts
is how far it falls. A day of which little was heard says nothing.

One share says little. A watch without a metric judges the device: many sensors that drift a little together tell of
wear early. Sensors that move together from one reading to the next anyway (a regime, the weather) count as fewer. A
watch over a metric says that this one alone has moved by more than it ever varies.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Part, Parts, Words
from gateway.detect.drift import LEVEL, NO_SHARE, TINY, error_of, step, wide
from gateway.detect.early import Early, follow_early, haste
from gateway.detect.falling_use import explain_use, judge_use
from gateway.detect.kinds import LearntKind, tell_kind
from gateway.detect.model import Kind
from gateway.detect.regimes import DOUBT_AT, IN_REGIMES, LOOKING, REGIME_FIELDS, doubt, look_for, take_out
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Numeric, Rows
from gateway.detect.words import say_instant, say_metric, say_number, say_quantity, say_span

HOUR_S: Final = 3600.0
OLD: Final = 250.0  # steps from which on a device is not expected to wander any further
CHANCE: Final = 1.0  # standard errors that are nobody's drift
MOST: Final = 3.0  # a series' largest share
GRAIN: Final = 256.0  # shares are whole parts of it, so that their sum has no order
FEW_FALLS: Final = 0.15  # what hardly ever falls, or hardly ever rises, counts; it does not drift
SOME_ZEROS: Final = 0.05
FEWEST_FALLS: Final = 0.02  # a counter may be reset now and then
TO_SETTLE: Final = 48.0  # steps before a kind is learnt
STEPS_ALONE: Final = 300.0  # before a series is judged by itself
MARGIN: Final = 1.3  # over the record of its drifts
FADED: Final = 0.97  # what remains of the record when another drift ends
MOST_RECORD: Final = 1.5  # bars that a drift can set the record to
FEWEST: Final = 3  # levels that make a device's evidence
PRIOR: Final = 6.0  # further levels as if they were there and calm: few sensors must drift further
CALM_SWING: Final = 0.8  # mean of a calm deviation, in spreads, and the spread of it
CALM_SPREAD: Final = 0.6
LARGEST_SWING: Final = 3.0
NAMED: Final = 3  # metrics in an explanation
EASY: Final = 0.5  # share of the bar below which it is calm


class Decline:
    """Slow drift of levels away from their own past, each by itself and all of a device together."""

    name: Final = "decline"
    version: Final = 3
    kind: Final = Kind.DECLINE
    fields: Sequence[Field] = (
        # What every reading looks at; the rest is wanted once an hour.
        Field("hour", "f4", np.nan),  # of the last step, since 1970
        Field("kind", "f4", LearntKind.UNSETTLED),
        Field("zeros", "f4"),
        Field("use", "f4"),  # of an amount, in the day of the last step; of a young level, roots of…
        Field("covered", "f4"),  # hours of that day; …the leaps that land where it stood, and how many
        Field("last", initial=np.nan, group="means"),  # value of the last step
        Field("slow", group="means"),  # a level's slow mean; of a young device see early.py
        Field("count", "f4", group="means"),  # steps; of a device, readings that its swing was learnt from
        Field("spread", "f4", group="means"),  # around the slow mean; of a device, as how many its series move together
        Field("jitter", "f4", group="means"),  # what the spread would be, were neighbours independent
        Field("fast", "f4", group="means"),  # the fast mean less the slow one; of a device, its evidence
        Field("share", "f4", NO_SHARE, group="means"),  # of a device's evidence
        Field("falls", "f4", group="means"),
        Field("since_s", initial=np.nan, group="drift"),  # when the present drift began
        Field("peak", "f4", group="drift"),  # how far it has come
        Field("record", "f4", group="drift"),  # how far earlier ones came, fading
        *REGIME_FIELDS,
    )
    parameters: Sequence[Parameter] = (
        Parameter("evidence", default=2.5, minimum=0.1),  # of all series of a device together
        Parameter("shift", default=3.0, minimum=1.0),  # of one level, in spreads
        Parameter("fall", default=0.25, minimum=0.05, maximum=0.95),  # of use, by this share of the usual
        Parameter("sure", default=3.3, minimum=1.0),  # and in standard errors
        Parameter("lasting", default=10 * 86_400.0, minimum=0.0, span=True),  # so long has it declined
        Parameter("kind", minimum=0.0, maximum=4.0),  # a LearntKind; else it is learnt
        Parameter("early", default=0.0, minimum=0.0, span=True),  # every reading is a step in a series' first hours
    )
    evidence_points: Final = 0
    fewest_parts: int = FEWEST

    def migrate(self, version: int, saved: Mapping[str, Numeric]) -> Mapping[str, Numeric] | None:
        """Version 1 knew no regimes, and version 2 not how far a level leaps that stays in one."""
        if version not in {1, 2}:
            return None
        amount = saved["kind"] <= LearntKind.COUNTER
        return {**saved, "covered": np.where(amount, saved["covered"], 0.0)}

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """A profiled metric's kind need not be learnt."""
        return {"kind": tell_kind(metric), "early": settings.decline_early}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Step levels whose hour is a new one, and amounts whose day is. Late samples change nothing."""
        count = len(state)
        told = np.broadcast_to(batch.parameter("kind"), count)
        kind = np.where(np.isnan(told), state["kind"], told)
        amounts = ~batch.late & (kind <= LearntKind.COUNTER)
        hour = np.floor(batch.ts_s / HOUR_S).astype(np.float32)
        levels = ~batch.late & ~amounts & (kind != LearntKind.STATE)
        early = follow_early(state, batch, levels)
        levels &= hour != state["hour"]
        found = Findings(
            np.zeros(count, bool),
            np.zeros(count, bool),
            np.zeros(count),
            judged=np.zeros(count, bool),
            began_s=batch.ts_s.copy(),
            dismissed=kind == LearntKind.STATE,
        )
        chosen = np.flatnonzero(amounts)
        if len(chosen):
            judge_use(state.at(chosen), batch, kind[chosen], chosen, found)
        chosen = np.flatnonzero(levels)
        if len(chosen):
            some = state.at(chosen)
            some["hour"] = np.where(early.steps[chosen], some["hour"], hour[chosen])
            _judge_level(some, batch, (chosen, early), found)
            _settle(some, told[chosen], early.steps[chosen])
            some.flush()
        return found

    def combine(self, state: Rows, parts: Parts, batch: Batch) -> Findings:
        """Judge devices by the shares of all their series, once an hour."""
        count = len(state)
        hour = np.floor(batch.ts_s / HOUR_S).astype(np.float32)
        early = follow_early(state, batch, ~batch.late, "use")
        steps = ~batch.late & (hour != state["hour"])
        state["hour"] = np.where(steps & ~early.steps, hour, state["hour"])
        telling = _telling(parts, count)
        levels = np.bincount(parts.owner, telling, minlength=count)
        total = np.bincount(parts.owner, np.where(telling, wide(parts.rows, "share"), 0.0), minlength=count)
        _learn_swing(state, (parts, telling), batch, steps)
        together = np.maximum(wide(state, "spread"), 1.0)
        evidence = total / together / np.sqrt(levels / together + PRIOR)
        state["fast"] = np.where(steps, evidence, state["fast"])
        # What nobody controls wanders, the further the longer it has been watched; wear is quick beside a life.
        growth, is_mute = haste(state, batch, early, np.clip(wide(state, "count"), LEVEL.memory, OLD) / LEVEL.memory)
        bar = batch.parameter("evidence") * growth
        known = (levels >= FEWEST) & (state["count"] >= LEVEL.young)
        breach = steps & known & ~is_mute & (evidence >= bar)
        calm = steps & ~(known & (evidence >= EASY * bar))
        began_s = np.fmin(state["since_s"], batch.ts_s)
        state["since_s"] = np.where(calm, np.nan, np.where(steps, began_s, state["since_s"]))
        return Findings(breach, calm, evidence / (evidence + bar), judged=steps, began_s=began_s)

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Compare the level with the series' own past."""
        told = moment.parameters["kind"]
        if (float(state["kind"][0]) if np.isnan(told) else told) <= LearntKind.COUNTER:
            return explain_use(state, moment)
        name, unit = say_metric(moment.metric), moment.unit
        slow, fast, spread = (float(state[field][0]) for field in ("slow", "fast", "spread"))
        window_s, since = moment.ts_s - moment.began_s, say_instant(moment.began_s, moment.ts_s)
        expected, observed = f"about {say_quantity(slow, unit)}", say_quantity(slow + fast, unit)
        evidence = ((moment.began_s, slow), (moment.ts_s, slow + fast))
        if moment.event == "cleared":
            text = f"{name} is back at its own level of {say_quantity(slow, unit)}; it had drifted since {since}"
            return Words(text, expected, observed, window_s, evidence)
        times = f"{say_number(abs(fast) / spread)} times as far as it usually varies" if spread > 0 else "far"
        way = "up" if fast > 0 else "down"
        when = f"since {since} ({say_span(window_s)})" if window_s > 0 else "lately"
        text = (
            f"{name} has drifted {way} to {observed} {when}: its "
            f"own level was {say_quantity(slow, unit)}, and this is {times}"
        )
        return Words(text, expected, observed, window_s, evidence)

    def explain_device(self, state: Rows, moment: Moment, parts: Sequence[Part]) -> Words:
        """Say how many of its metrics have drifted, and which most."""
        levels = [part for part in parts if part.state["share"][0] >= 0]
        jumping = [part for part in levels if part.state["kind"][0] == IN_REGIMES]
        levels = jumping if 2 * len(jumping) > len(levels) else levels
        drifting = [part for part in levels if part.state["share"][0] > 0]
        drifting.sort(key=lambda part: (-float(part.state["share"][0]), part.metric))
        window_s, since = moment.ts_s - moment.began_s, say_instant(moment.began_s, moment.ts_s)
        expected, observed = "levels as in its own past", f"{len(drifting)} of {len(levels)} metrics away from theirs"
        evidence = ((moment.began_s, EASY * moment.parameters["evidence"]), (moment.ts_s, float(state["fast"][0])))
        if moment.event == "cleared":
            text = f"The device's metrics are back at their own levels; they had drifted since {since}"
            return Words(text, expected, observed, window_s, evidence)
        most = "; ".join(_say_drift(part) for part in drifting[:NAMED])
        text = (
            f"{len(drifting)} of {len(levels)} metrics of this device have drifted away from their own past since "
            f"{since}, together more than chance does: {most}"
        )
        return Words(text, expected, observed, window_s, evidence)


def _say_drift(part: Part) -> str:
    slow, fast = float(part.state["slow"][0]), float(part.state["fast"][0])
    now, then = say_quantity(slow + fast, part.unit), say_quantity(slow, part.unit)
    return f"{say_metric(part.metric)} {now}, was {then}"


def _judge_level(state: Rows, batch: Batch, which: tuple[Indices, Early], found: Findings) -> None:
    """Step levels, and note what is found of them; `which` also says whether they are in their first hours."""
    chosen, early = which
    assert found.judged is not None
    assert found.began_s is not None
    drifted = state["share"] > 0
    value = batch.value[chosen]
    state["zeros"] = np.where(value < 0, -np.inf, state["zeros"] + (value == 0))
    in_regimes = state["kind"] == IN_REGIMES
    jumping = np.flatnonzero(in_regimes)
    if len(jumping):
        some = state.at(jumping)
        value[jumping] = take_out(some, value[jumping], batch.firing[chosen[jumping]])
        some.flush()
    last = np.where(state["count"] == 0, value, state["last"])
    state["falls"] = state["falls"] + (value < last)
    step(state, value, batch.firing[chosen], LEVEL)
    young = ~in_regimes & (state["count"] < LOOKING)
    if young.any():
        look_for(state, value - last, young)
    doubtful = np.flatnonzero(in_regimes & (state["count"] == DOUBT_AT))
    if len(doubtful):
        doubt(state.at(doubtful))
    state["share"] = _share(state)
    known = (state["share"] >= 0) & (state["count"] >= STEPS_ALONE) & ~early.beyond[chosen]
    far, usual = np.abs(wide(state, "fast")), wide(state, "spread")
    far = far / np.maximum(usual, TINY)
    shift = np.broadcast_to(batch.parameter("shift"), len(batch.ts_s))[chosen]
    found.judged[chosen] = True
    found.breach[chosen] = known & (far >= shift) & (state["share"] >= MOST)
    found.calm[chosen] = ~known | (far < EASY * shift)
    found.score[chosen] = np.where(known, far / (far + shift), 0.0)
    moves = np.flatnonzero(drifted | (state["share"] > 0))
    if len(moves):
        at = chosen[moves]
        most = np.where(early.steps[at], np.inf, MOST_RECORD * (shift[moves] * usual[moves]))
        found.began_s[at], is_new = _follow(state.at(moves), batch.ts_s[at], most)
        found.breach[at] &= is_new


def _settle(state: Rows, told: Floats, is_early: Mask) -> None:
    """What is often zero, or hardly ever falls, is an amount, and starts anew as one, once its first hours are over."""
    count, zeros, falls = wide(state, "count"), wide(state, "zeros"), wide(state, "falls")
    ripe = np.isnan(told) & ~is_early & (state["kind"] == LearntKind.UNSETTLED) & (count >= TO_SETTLE)
    often, counter = zeros >= SOME_ZEROS * count, (falls <= FEWEST_FALLS * count) & (state["spread"] > 0)
    level = count >= STEPS_ALONE
    kinds = [LearntKind.COUNTER, LearntKind.DELTA, LearntKind.LEVEL]
    settled = np.select([counter, often, level], [float(each) for each in kinds], float(LearntKind.UNSETTLED))
    kind = np.where(ripe, settled, state["kind"])
    amounts = np.flatnonzero(ripe & (kind <= LearntKind.COUNTER))
    state["kind"] = kind
    if len(amounts):
        some = state.at(amounts)
        for name in ("count", "slow", "fast", "spread", "jitter", "falls", "covered", "use"):
            some[name] = 0.0
        some["share"], some["since_s"] = NO_SHARE, np.nan
        some.flush()


def _follow(state: Rows, ts_s: Floats, most: Floats) -> tuple[Floats, Mask]:
    """When each drift began, and whether it has come further than any before. What has ended becomes the record.

    A record is `most` at most; without a bound in a series' first hours, for machines switch on and off.
    """
    far, drifts, peak = np.abs(wide(state, "fast")), state["share"] > 0, wide(state, "peak")
    record = wide(state, "record")
    is_new = far > MARGIN * record
    closed = np.maximum(np.where(np.isinf(most), record, FADED * record), np.minimum(peak, most))
    since_s = np.fmin(state["since_s"], ts_s)
    state["record"] = np.where(drifts, record, closed)
    state["peak"] = np.where(drifts, np.maximum(peak, far), 0.0)
    state["since_s"] = np.where(drifts, since_s, np.nan)
    state.flush()
    return since_s, is_new


def _share(state: Rows) -> Floats:
    """What each series adds to its device's evidence."""
    count, falls, zeros = wide(state, "count"), wide(state, "falls"), wide(state, "zeros")
    error, wider = error_of(state, LEVEL)
    far = np.abs(wide(state, "fast")) / np.maximum(error, TINY)
    share = np.floor(np.minimum(np.maximum(far - CHANCE, 0.0), MOST) * GRAIN) / GRAIN
    level = (falls >= FEW_FALLS * count) & (falls <= (1.0 - FEW_FALLS) * count) & (zeros < SOME_ZEROS * count)
    return np.where(level & (count >= LEVEL.young * wider) & (state["spread"] > 0), share, NO_SHARE)


def _telling(parts: Parts, devices: int) -> Mask:
    """The levels that count: where most of a device's have regimes, those alone, for others leap with its settings."""
    level = parts.rows["share"] >= 0
    jumping = level & (parts.rows["kind"] == IN_REGIMES)
    most = 2.0 * np.bincount(parts.owner, jumping, minlength=devices) > np.bincount(
        parts.owner, level, minlength=devices
    )
    return np.where(most[parts.owner], jumping, level)


def _learn_swing(state: Rows, of: tuple[Parts, Mask], batch: Batch, steps: Mask) -> None:
    """As how many series move together: the swing of a reading's deviations, in that of independent ones."""
    count, (parts, level) = len(state), of
    rows = parts.rows
    off = np.abs(rows["last"] - rows["slow"] - wide(rows, "fast")) / (1.0 - LEVEL.fast)
    swing = np.minimum(off / np.maximum(wide(rows, "spread"), TINY), LARGEST_SWING)
    swing = np.floor(swing * GRAIN) / GRAIN
    here = level & (rows["newest_s"] == batch.ts_s[parts.owner])
    seen = np.bincount(parts.owner, here, minlength=count)
    total = np.bincount(parts.owner, np.where(here, swing, 0.0), minlength=count)
    telling = steps & (seen >= FEWEST)
    excess = (total - CALM_SWING * seen) / (CALM_SPREAD * np.sqrt(np.maximum(seen, 1.0)))
    known, learnt = wide(state, "spread"), wide(state, "count")
    known = np.where(learnt == 0, 1.0, known)
    moved = known + np.maximum(1.0 / (learnt + 10.0), 1.0 / LEVEL.memory) * (excess * excess - known)
    state["spread"] = np.where(telling, moved, known)
    state["count"] = np.minimum(learnt + telling, 1e6)
