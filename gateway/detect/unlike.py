"""A device whose metrics, all together, have not been as they are now: of what is read every few minutes or seconds.

How far a row lies from what is usual is measured by `taken_together`. Of sensors that always move together a common
swing says little, and one of them that goes its own way much; so a change of a correlation and a ramp of minutes are
found, as well as a step. The *level* is that distance over half a minute, or some rows.

How far chance takes the level is learnt from the device itself: the highest level of each of the last 32 spans, which
grow with what is known to a day each, says how high it comes once in 300 days (Gumbel's distribution of maxima). So a
likeness of neighbouring rows, heavy tails, hours of the day and the cadence are all counted in. An alarm is raised
where the level comes there, and is over where it is back near the usual highest ones. What it has come to counts among
the highest levels from then on: a device that is often unlike itself must be more so.

A watch over a metric raises nothing; it keeps the metric's latest value for the device's watch.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Part, Parts, Words, code_of
from gateway.detect.exact import log_of
from gateway.detect.groups import rarely
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Rows
from gateway.detect.taken_together import DAY_S, FIRST, PAIRS, VALUES, by_part, learn, measure
from gateway.detect.words import say_instant, say_metric, say_number, say_quantity, say_span

FEWEST: Final = 2  # values of a row, where a device has more than one metric
QUICKEST_S: Final = 0.1  # quicker is a waveform, or a number of cycles that is read as milliseconds: no rows
KNOWN_CADENCE: Final = 12.0  # gaps
CADENCE: Final = 0.05  # of the mean gap towards each one,…
LONGEST: Final = 10.0  # …which counts as so many mean ones at most
LEVEL_S: Final = 30.0  # that the level looks back,…
LEVEL: Final = 0.3  # …by this much of a row at most
AS_FAR: Final = 0.9  # of the row before: what is smoothed sinks faster than that after a single row
HIGHS: Final = 32  # spans of which the highest level is kept,…
FIRST_SPAN: Final = 4.0  # …rows long at first, and a day at last
FEWEST_HIGHS: Final = 8
YOUNG_S: Final = 3 * DAY_S  # so young, a device is judged as if it had been known for longer, at most:…
AS_LONG: Final = 6.0  # …so many times as long,…
FIRST_S: Final = 3600.0
AS_LONG_AT_FIRST: Final = 3.0  # …and its first hour so many times
GUMBEL: Final = 0.78  # spreads of the highest levels that their logarithm of rarity goes up by: √6/π
EULER: Final = 0.5772
UNSURE: Final = 4.0  # by so much over their number their spread is taken for wider,…
LEAST_SWING: Final = 0.05  # …and for this share of their mean at least
LEAST_BAR: Final = 1.0
CALM: Final = 0.3  # of the way from the usual highest level to the bar
SLOW_WHILE_FAR: Final = 0.05  # so much is learnt…
FAR: Final = 2.5  # …of rows as far as that
ENOUGH: Final = 0.5  # of the values, for a row to be judged
MANY: Final = 1e6
NAMED: Final = 3  # metrics in an explanation


class Unlike:
    """Rows that are further from what a device's rows usually are than chance takes them."""

    name: Final = "unlike"
    version: Final = 1
    kind: Final = Kind.RECORD
    fields: Sequence[Field] = (
        Field("last", initial=np.nan),  # value; of a device, when its latest row was judged
        Field("heard_s", initial=np.nan),  # latest reading
        Field("gap_s", "f4"),  # mean of the gaps between readings
        Field("gaps", "f4"),
        *rarely(
            "row",
            (
                Field("first_s", initial=np.nan, group="row"),  # the first row
                Field("since_s", initial=np.nan, group="row"),  # since when the level has been near the bar
                Field("block_since_s", group="row"),  # since when the present span
                Field("rows", group="row"),  # that were learnt from; those that are far off count little
                Field("mean", lanes=VALUES, group="row"),
                Field("distance", "f4", group="row"),  # of the latest row, from what is usual
                Field("level", "f4", group="row"),  # usual distances
                Field("bar", "f4", group="row"),  # of the level
                Field("top", "f4", group="row"),  # mean of the highest levels
                Field("swing", "f4", group="row"),  # their spread
                Field("peak", "f4", group="row"),  # highest level of the present span; 0 for none
                Field("block_s", "f4", group="row"),  # length of a span
                Field("kept", "f4", group="row"),  # highest levels that are kept
                Field("next", "f4", group="row"),  # where the next one is kept
                Field("highs", "f4", lanes=HIGHS, group="row"),
                Field("code", "i4", lanes=VALUES, group="row"),  # of the metric in each place, 0 for none
                Field("spread", "f4", lanes=VALUES, group="row"),
                Field("smooth", "f4", lanes=VALUES, group="row"),  # in spreads
                Field("seen", "f4", lanes=VALUES, group="row"),
                Field("along", "f4", lanes=PAIRS, group="row"),  # factors of the covariance of what is smoothed
            ),
        ),
    )
    parameters: Sequence[Parameter] = (
        Parameter("every", default=300 * DAY_S, minimum=3600.0, span=True),  # about so rarely chance alone raises
        Parameter("cadence", default=900.0, minimum=0.0, span=True),  # what is read more rarely is not judged
        Parameter("warm_up", default=3 * DAY_S, minimum=0.0, span=True),  # nothing is raised before
    )
    evidence_points: Final = 0
    fewest_parts: int = 1

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """How soon something is raised is set for all devices."""
        del metric
        return {"warm_up": settings.rows_warm_up}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Keep the value for the device; say nothing."""
        count = len(state)
        nothing = np.zeros(count, np.bool_)
        state["last"] = np.where(batch.late, state["last"], batch.value)
        rare = _follow_cadence(state, batch)
        return Findings(nothing, nothing, np.zeros(count), judged=nothing, dismissed=rare)

    def combine(self, state: Rows, parts: Parts, batch: Batch) -> Findings:
        """Judge devices by the latest row of each, once, when enough of its values are there."""
        count = len(state)
        rare = _follow_cadence(state, batch)
        known = (state["gaps"] >= KNOWN_CADENCE) & ~rare & ~batch.late
        chosen = np.flatnonzero(known & ~(state["last"] == batch.ts_s))
        found = Findings(
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
            np.zeros(count),
            judged=np.zeros(count, np.bool_),
            began_s=batch.ts_s.copy(),
            dismissed=rare,
        )
        if len(chosen):
            some = state.at(chosen)
            values = _values(some, parts, (chosen, batch.ts_s))
            there = np.count_nonzero(~np.isnan(values), axis=1)
            taken = np.count_nonzero(some.lanes("code"), axis=0)
            whole = np.flatnonzero((there >= np.where(taken == 1, 1, FEWEST)) & (there >= ENOUGH * taken))
            if len(whole):
                row = some.at(whole)
                _judge_rows(row, values[whole], batch, (chosen[whole], found))
                row.flush()
            some.flush()
        return found

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Series are not judged one by one; a device with a single metric is judged as a device, too."""
        del state
        value = say_quantity(moment.value, moment.unit)
        return Words(f"{say_metric(moment.metric)} {value}", value, value, 0.0)

    def explain_device(self, state: Rows, moment: Moment, parts: Sequence[Part]) -> Words:
        """Say which metrics are unlike what the others make expect, and what they usually are."""
        window_s, since = moment.ts_s - moment.began_s, say_instant(moment.began_s, moment.ts_s)
        level, bar, top = (float(state[name][0]) for name in ("level", "bar", "top"))
        expected = f"metrics that lie, and go together, as they have so far: {say_number(top)} at most on most days"
        observed = f"{say_number(level)} times as far from that as usual"
        evidence = ((moment.began_s, bar), (moment.ts_s, level))
        named = {code_of(part.metric): part for part in parts}
        if moment.event == "cleared":
            return Words(_say_over(state, named, since), expected, observed, window_s, evidence)
        most = _say_most(state, named)
        every = say_span(float(_rarely(moment.parameters["every"], moment.ts_s - float(state["first_s"][0]))))
        chance = f"{observed} since {since}, where chance takes {{}} about once in {every} to {say_number(bar)} times"
        if _alone(state)[0]:
            text = f"{'; '.join(most)}: {chance.format('it')}"
        else:
            together = f"The device's metrics, taken together, are {chance.format('them')}"
            text = f"{together}; what adds most to it: {'; '.join(most)}"
        return Words(text, expected, observed, window_s, evidence)


def _alone(state: Rows) -> Mask:
    """Which devices have a single metric."""
    return np.count_nonzero(state.lanes("code"), axis=0) == 1


def _say_over(state: Rows, named: Mapping[int, Part], since: str) -> str:
    alone = named.get(int(state.lanes("code")[0, 0])) if _alone(state)[0] else None
    if alone is not None:
        return f"{say_metric(alone.metric)} lies again as it did; it had not since {since}"
    return f"The device's metrics lie and go together again as they did; they had not since {since}"


def _say_most(state: Rows, named: Mapping[int, Part]) -> list[str]:
    """What adds most to the distance of a device's row, and where it usually is."""
    mean, spread, smooth = (state.lanes(name)[:, 0].astype(np.float64) for name in ("mean", "spread", "smooth"))
    most: list[str] = []
    for place in by_part(state):
        part = named.get(int(state.lanes("code")[place, 0]))
        if part is not None and len(most) < NAMED:
            now = mean[place] + smooth[place] * spread[place]
            seen, usual = say_quantity(now, part.unit), say_quantity(mean[place], part.unit)
            most.append(f"{say_metric(part.metric)} about {seen}, usually {usual}")
    return most


def _follow_cadence(state: Rows, batch: Batch) -> Mask:
    """Learn how far readings are apart, those of one instant being one; gives which are too rare or too quick."""
    gap_s = batch.ts_s - state["heard_s"]
    later, gaps, mean_s = gap_s > 0, state["gaps"].astype(np.float64), state["gap_s"].astype(np.float64)
    rate = np.maximum(1.0 / (gaps + 1.0), CADENCE)
    counts_s = np.where(gaps > 0, np.minimum(gap_s, LONGEST * mean_s), gap_s)
    state["gap_s"] = np.where(later, mean_s + rate * (counts_s - mean_s), mean_s)
    state["gaps"] = np.where(later, np.minimum(gaps + 1.0, MANY), gaps)
    state["heard_s"] = np.fmax(state["heard_s"], batch.ts_s)
    mean_s = state["gap_s"].astype(np.float64)
    too = (mean_s > batch.parameter("cadence")) | (mean_s < QUICKEST_S)
    return (state["gaps"] >= KNOWN_CADENCE) & too


def _values(state: Rows, parts: Parts, which: tuple[Indices, Floats]) -> Floats:
    """The values of the present row of each device, [n, places]; NaN for what is not in it."""
    chosen, ts_s = which
    mine = np.full(len(ts_s), -1)
    mine[chosen] = np.arange(len(chosen))
    here = np.flatnonzero((mine[parts.owner] >= 0) & (parts.rows["newest_s"] == ts_s[parts.owner]))
    owner, code, value = mine[parts.owner[here]], parts.codes[here], parts.rows["last"][here]
    codes = state.lanes("code").T.astype(np.int64)
    new = ~(codes[owner] == code[:, None]).any(axis=1)
    if new.any():
        along = state.lanes("along").T.copy()
        for at in sorted(np.flatnonzero(new).tolist(), key=lambda at: int(code[at])):  # once for each series
            place = int(np.count_nonzero(codes[owner[at]]))
            if place < VALUES:
                codes[owner[at], place] = code[at]
                along[owner[at], _own(place)] = 1.0
        state.set_lanes("code", codes.T)
        state.set_lanes("along", along.T)
        state.flush()
    match = codes[owner] == code[:, None]
    placed = match.any(axis=1)
    values = np.full((len(chosen), VALUES), np.nan)
    values[owner[placed], match[placed].argmax(axis=1)] = value[placed]
    return values


def _own(place: int) -> int:
    """Where a place's own factor is."""
    return place * VALUES - place * (place - 1) // 2


def _judge_rows(state: Rows, values: Floats, batch: Batch, where: tuple[Indices, Findings]) -> None:
    """Measure rows, [n, places], note what is found of them, and learn from them."""
    chosen, found = where
    ts_s = batch.ts_s[chosen]
    state["last"] = ts_s
    state["first_s"] = np.where(np.isnan(state["first_s"]), ts_s, state["first_s"])
    age_s = ts_s - state["first_s"]
    seen = measure(state, values, state["gap_s"].astype(np.float64))
    known = np.flatnonzero(state["rows"] >= FIRST)
    if len(known):
        some = state.at(known)
        _tell(some, (seen.distance[known], age_s[known]), batch, (chosen[known], found))
        some.flush()
    is_old = age_s >= np.broadcast_to(batch.parameter("warm_up"), len(batch.ts_s))[chosen]
    far = batch.firing[chosen] | ((seen.distance > FAR) & is_old)
    learn(state, seen, np.where(far, SLOW_WHILE_FAR, 1.0))


def _tell(state: Rows, seen: tuple[Floats, Floats], batch: Batch, where: tuple[Indices, Findings]) -> None:
    """Compare the level with the bar; `seen` is how far rows are, and how long the devices have been known.

    A metric alone needs days before anything is told: nothing beside it shows what is the rhythm of a day.
    """
    (distance, age_s), (chosen, found) = seen, where
    assert found.judged is not None
    assert found.began_s is not None
    ts_s = batch.ts_s[chosen]
    every_s, warm_up_s = (
        np.broadcast_to(batch.parameter(name), len(batch.ts_s))[chosen] for name in ("every", "warm_up")
    )
    warm_up_s = np.where(_alone(state), np.maximum(warm_up_s, YOUNG_S), warm_up_s)
    before, top, gap_s = (state[name].astype(np.float64) for name in ("level", "top", "gap_s"))
    last = state["distance"].astype(np.float64)
    counts = np.minimum(distance, np.where(distance >= AS_FAR * last, last, before))
    level = np.where(before > 0.0, before + np.minimum(gap_s / LEVEL_S, LEVEL) * (counts - before), distance)
    bar = _bar(state, every_s, age_s)
    calm = level < top + CALM * (bar - top)
    since_s = np.fmin(state["since_s"], ts_s)
    found.judged[chosen] = True
    found.breach[chosen] = (level >= bar) & (age_s >= warm_up_s)
    found.calm[chosen] = calm
    found.score[chosen] = level / (level + bar)
    found.began_s[chosen] = np.where(calm, ts_s, since_s)
    state["since_s"] = np.where(calm, np.nan, since_s)
    state["distance"], state["level"], state["bar"] = distance, level, bar
    _follow_span(state, np.minimum(level, bar), ts_s, batch.firing[chosen])


def _bar(state: Rows, every_s: Floats, age_s: Floats) -> Floats:
    """The level that chance reaches once in `every_s`, by the highest ones so far."""
    kept, top, swing, block_s = (state[name].astype(np.float64) for name in ("kept", "top", "swing", "block_s"))
    every_s = _rarely(every_s, age_s)
    spans = np.maximum(every_s / np.where(block_s > 0.0, block_s, 1.0), 2.0)
    rarity = GUMBEL * (log_of(spans) - EULER)
    unsure = 1.0 + UNSURE / np.maximum(kept, 1.0)
    bar = np.maximum(top + rarity * unsure * np.maximum(swing, LEAST_SWING * top), LEAST_BAR)
    return np.where(kept >= FEWEST_HIGHS, bar, np.inf)


def _rarely(every_s: Floats | float, age_s: Floats | float) -> Floats:
    """How rarely chance is to reach the bar: what has been known for hours cannot tell of months."""
    known_s = AS_LONG * np.asarray(age_s) - (AS_LONG - AS_LONG_AT_FIRST) * np.minimum(age_s, FIRST_S)
    return np.where(np.less(age_s, YOUNG_S), np.minimum(every_s, known_s), every_s)


def _follow_span(state: Rows, level: Floats, ts_s: Floats, is_up: Mask) -> None:
    """Take a level into the present span, and keep its highest one when it is over; none while an alarm is up."""
    first = state["block_s"] == 0.0
    state["block_s"] = np.where(first, FIRST_SPAN * state["gap_s"].astype(np.float64), state["block_s"])
    state["block_since_s"] = np.where(first, ts_s, state["block_since_s"])
    state["peak"] = np.where(is_up, state["peak"], np.maximum(state["peak"], level))
    over = ~(ts_s - state["block_since_s"] < state["block_s"])
    highs = np.flatnonzero(over & (state["peak"] > 0.0))
    if len(highs):
        some = state.at(highs)
        _keep_high(some)
        some.flush()
    state["peak"] = np.where(over, 0.0, state["peak"])
    state["block_since_s"] = np.where(over, ts_s, state["block_since_s"])


def _keep_high(state: Rows) -> None:
    """Keep the highest level of a span that is over; short spans become longer ones, up to a day."""
    highs, block_s = state.lanes("highs").copy(), state["block_s"].astype(np.float64)
    kept, following = state["kept"].astype(np.int64), state["next"].astype(np.int64)
    double = (kept == HIGHS) & (block_s < DAY_S)
    pairs = np.maximum(highs[0::2], highs[1::2])
    highs[: HIGHS // 2] = np.where(double, pairs, highs[: HIGHS // 2])
    kept = np.where(double, HIGHS // 2, kept)
    following = np.where(double, HIGHS // 2, following % HIGHS)
    state["block_s"] = np.where(double, 2.0 * block_s, block_s)
    highs[following, np.arange(len(state))] = state["peak"]
    kept = np.minimum(kept + 1, HIGHS)
    total, squares = np.zeros(len(state)), np.zeros(len(state))
    for at in range(HIGHS):
        total = np.where(kept > at, total + highs[at].astype(np.float64), total)
    top = total / kept
    for at in range(HIGHS):
        away = highs[at].astype(np.float64) - top
        squares = np.where(kept > at, squares + away * away, squares)
    state["top"], state["swing"] = top, np.sqrt(squares / kept)
    state["kept"], state["next"] = kept, following + 1
    state.set_lanes("highs", highs)
