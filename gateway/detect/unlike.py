"""A device whose metrics, all together, have not been as they are now: of what is read every few minutes or seconds.

How far a row lies from what is usual is measured by `taken_together`. Of sensors that always move together a common
swing says little, and one of them that goes its own way much; so a change of a correlation and a ramp of minutes are
found, as well as a step. The *level* of that distance is what it is over half a minute, or some rows. A second level,
of the leaps from row to row of the metric that leaps most for its own usage, finds noise that grows, and spikes.

How far chance takes either level is learnt from the device itself, as `highest` tells: so a likeness of neighbouring
rows, heavy tails, hours of the day and the cadence are all counted in. An alarm is raised where a level comes there,
and is over where both are back near the usual highest ones. What a level has come to counts among the highest ones from
then on: a device that is often unlike itself must be more so.

A watch over a metric raises nothing; it keeps the metric's latest value for the device's watch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Part, Parts, Words, code_of
from gateway.detect.groups import rarely
from gateway.detect.highest import CALM, HIGHEST, bars_of, follow_span
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Numeric, Rows
from gateway.detect.taken_together import DAY_S, FIRST, PAIRS, USUAL, VALUES, by_part, learn, measure
from gateway.detect.words import say_instant, say_metric, say_number, say_quantity, say_span

FEWEST: Final = 2  # values of a row, where a device has more than one metric
QUICKEST_S: Final = 0.1  # quicker is a waveform, or a number of cycles that is read as milliseconds: no rows
KNOWN_CADENCE: Final = 12.0  # gaps
CADENCE: Final = 0.05  # of the mean gap towards each one,…
LONGEST: Final = 10.0  # …which counts as so many mean ones at most
LEVEL_S: Final = 30.0  # that the level looks back,…
LEVEL: Final = 0.3  # …by this much of a row at most
AS_FAR: Final = 0.9  # of the row before: what is smoothed sinks faster than that after a single row
YOUNG_S: Final = 3 * DAY_S  # so young, a device is judged as if it had been known for longer, at most:…
AS_LONG: Final = 6.0  # …so many times as long,…
FIRST_S: Final = 3600.0
AS_LONG_AT_FIRST: Final = 3.0  # …and its first hour so many times
SLOW_WHILE_FAR: Final = 0.05  # so much is learnt…
FAR: Final = 4.0  # …of rows as far as that
ENOUGH: Final = 0.5  # of the values, for a row to be judged
MANY: Final = 1e6
NAMED: Final = 3  # metrics in an explanation


class Unlike:
    """Rows that are further from what a device's rows usually are than chance takes them."""

    name: Final = "unlike"
    version: Final = 2
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
                Field("rows", group="row"),  # that were learnt from; those that are far off count little
                Field("mean", lanes=VALUES, group="row"),
                *HIGHEST,
                Field("distance", "f4", group="row"),  # of the latest row, from what is usual
                Field("code", "i4", lanes=VALUES, group="row"),  # of the metric in each place, 0 for none
                Field("spread", "f4", lanes=VALUES, group="row"),
                Field("smooth", "f4", lanes=VALUES, group="row"),  # in spreads
                Field("seen", "f4", lanes=VALUES, group="row"),
                Field("leap", "f4", lanes=VALUES, group="row"),  # usual one from what is smoothed, in spreads
                Field("leaps", "f4", lanes=VALUES, group="row"),  # roots of the latest ones, in usual ones
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

    def migrate(self, version: int, saved: Mapping[str, Numeric]) -> Mapping[str, Numeric] | None:
        """Version 1 judged the distance alone: what rows are like is kept, how high levels come is learnt anew."""
        if version != 1:
            return None
        anew = {field.name for field in HIGHEST}
        return {name: field for name, field in saved.items() if name not in anew}

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
        named = {code_of(part.metric): part for part in parts}
        levels, bars, tops = (state.lanes(name)[:, 0].astype(np.float64) for name in ("level", "bar", "top"))
        known = math.isfinite(bars[0])  # not of an alarm that has outlived an upgrade
        leaps = known and bool(levels[1] * bars[0] > levels[0] * bars[1])
        if leaps:
            level, bar = float(levels[1]) ** 2, float(bars[1]) ** 2  # they are roots
            expected, observed = "readings as far apart as so far", f"{say_number(level)} times as far as usual"
        else:
            level, bar = float(levels[0]), float(bars[0])
            usual = f": {say_number(float(tops[0]))} at most on most days" if known else ""
            expected = f"metrics that lie, and go together, as they have so far{usual}"
            observed = f"{say_number(level)} times as far from that as usual"
        evidence = ((moment.began_s, bar), (moment.ts_s, level)) if known else ((moment.ts_s, level),)
        if moment.event == "cleared":
            return Words(_say_over(state, named, since), expected, observed, window_s, evidence)
        every = say_span(float(_rarely(moment.parameters["every"], moment.ts_s - float(state["first_s"][0]))))
        rarity = f", where chance takes {{}} about once in {every} to {say_number(bar)} times" if known else ""
        chance = f"since {since}{rarity}"
        say = _say_leaps if leaps else _say_away
        return Words(say(state, named, observed, chance), expected, observed, window_s, evidence)


def _alone(state: Rows) -> Mask:
    """Which devices have a single metric."""
    return np.count_nonzero(state.lanes("code"), axis=0) == 1


def _say_over(state: Rows, named: Mapping[int, Part], since: str) -> str:
    alone = named.get(int(state.lanes("code")[0, 0])) if _alone(state)[0] else None
    if alone is not None:
        return f"{say_metric(alone.metric)} lies again as it did; it had not since {since}"
    return f"The device's metrics lie and go together again as they did; they had not since {since}"


def _say_away(state: Rows, named: Mapping[int, Part], observed: str, chance: str) -> str:
    most = "; ".join(_say_most(state, named))
    if _alone(state)[0]:
        return f"{most}: {observed} {chance.format('it')}"
    times = say_number(float(state.lanes("level")[0, 0]))
    far = f"The device's metrics, taken together, are {times} times as far from how they were as usual"
    return f"{far} {chance.format('them')}; what adds most to it: {most}"


def _say_leaps(state: Rows, named: Mapping[int, Part], observed: str, chance: str) -> str:
    """Which metrics leap from reading to reading, the furthest first."""
    roots = state.lanes("leaps")[:, 0].astype(np.float64)
    furthest = np.argsort(-roots, kind="stable")[:NAMED]
    furthest = furthest[: max(int(np.count_nonzero(roots[furthest] > 1.0)), 1)]
    parts = (named.get(int(code)) for code in state.lanes("code")[furthest, 0])
    names = [say_metric(part.metric) for part in parts if part is not None]
    if _alone(state)[0]:
        return f"{'; '.join(names)} leaps from reading to reading {observed} {chance.format('it')}"
    leap = f"Some of the device's metrics leap from reading to reading {observed} {chance.format('them')}"
    return f"{leap}; most of all: {', '.join(names)}"


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
        _tell(some, (seen.distance[known], seen.leaps[known], age_s[known]), batch, (chosen[known], found))
        some.flush()
    is_old = age_s >= np.broadcast_to(batch.parameter("warm_up"), len(batch.ts_s))[chosen]
    far = batch.firing[chosen] | ((seen.distance > FAR) & is_old)
    learn(state, seen, np.where(far, SLOW_WHILE_FAR, 1.0))


def _tell(state: Rows, seen: tuple[Floats, Floats, Floats], batch: Batch, where: tuple[Indices, Findings]) -> None:
    """Compare levels with bars; `seen` is how far rows are, how far metrics leap, how long devices have been known.

    A metric alone needs days before anything is told: nothing beside it shows what is the rhythm of a day.
    """
    (distance, leaps, age_s), (chosen, found) = seen, where
    assert found.judged is not None
    assert found.began_s is not None
    ts_s = batch.ts_s[chosen]
    every_s, warm_up_s = (
        np.broadcast_to(batch.parameter(name), len(batch.ts_s))[chosen] for name in ("every", "warm_up")
    )
    warm_up_s = np.where(_alone(state), np.maximum(warm_up_s, YOUNG_S), warm_up_s)
    levels = _levels(state, distance, leaps)
    bars, tops = bars_of(state, _rarely(every_s, age_s)), state.lanes("top").astype(np.float64)
    calm = (levels < tops + CALM * (bars - tops)).all(axis=0)
    # An alarm that outlives an upgrade has no bars until it is over: it is while rows are far.
    calm &= ~(batch.firing[chosen] & np.isinf(bars[0]) & (levels[0] >= USUAL))
    since_s = np.fmin(state["since_s"], ts_s)
    found.judged[chosen] = True
    found.breach[chosen] = (levels >= bars).any(axis=0) & (age_s >= warm_up_s)
    found.calm[chosen] = calm
    found.score[chosen] = (levels / (levels + bars)).max(axis=0)
    found.began_s[chosen] = np.where(calm, ts_s, since_s)
    state["since_s"] = np.where(calm, np.nan, since_s)
    state["distance"] = distance
    state.set_lanes("level", levels)
    state.set_lanes("bar", bars)
    follow_span(state, np.minimum(levels, bars), ts_s, batch.firing[chosen])


def _levels(state: Rows, distance: Floats, leaps: Floats) -> Floats:
    """What is compared with the bars, [levels, n]: the distance over some rows, and how far metrics leap."""
    before, last = state.lanes("level")[0].astype(np.float64), state["distance"].astype(np.float64)
    counts = np.minimum(distance, np.where(distance >= AS_FAR * last, last, before))
    rate = np.minimum(state["gap_s"].astype(np.float64) / LEVEL_S, LEVEL)
    return np.stack((np.where(before > 0.0, before + rate * (counts - before), distance), leaps))


def _rarely(every_s: Floats | float, age_s: Floats | float) -> Floats:
    """How rarely chance is to reach the bar: what has been known for hours cannot tell of months."""
    known_s = AS_LONG * np.asarray(age_s) - (AS_LONG - AS_LONG_AT_FIRST) * np.minimum(age_s, FIRST_S)
    return np.where(np.less(age_s, YOUNG_S), np.minimum(every_s, known_s), every_s)
