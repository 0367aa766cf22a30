"""Decline of an amount: the logarithm of a day's use is a level that steps once a day."""

import math
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices
from gateway.detect.detector import Batch, Findings, Moment, Words
from gateway.detect.drift import NO_SHARE, TINY, USE, error_of, step, wide
from gateway.detect.exact import log_of
from gateway.detect.kinds import LearntKind, difference
from gateway.detect.regimes import begin_anew
from gateway.detect.table import Rows
from gateway.detect.words import say_instant, say_metric, say_quantity, say_span

HOUR_S: Final = 3600.0
DAY_HOURS: Final = 24.0
FEWEST_HOURS: Final = 8.0  # of a day that must have been heard of
LOWEST: Final = 2.0  # logarithms below the usual that a day can say: one without use is no proof of the next
EASY: Final = 0.5  # share of the bar below which it is calm
FORGET: Final = 0.01  # of a counter's falls, with each of its values
MOST_FALLS: Final = 4.0  # that are no resets: what falls more often never was a counter


def judge_use(state: Rows, batch: Batch, kind: Floats, chosen: Indices, found: Findings) -> None:
    """Add samples to their days, step the amounts whose day is over, and note what is found of them."""
    wrong = _no_counters(state, batch, kind, chosen)
    if len(wrong):
        rest = np.setdiff1d(np.arange(len(chosen)), wrong)
        state, chosen = state.at(rest), chosen[rest]
        kind = kind[rest]
    value, last = batch.value[chosen], state["last"]
    amount = np.where(kind == LearntKind.COUNTER, difference(value, last), value)
    counts = np.isfinite(amount) & (amount >= 0)
    amount = np.where(counts, amount, 0.0)
    hour = np.floor(batch.ts_s[chosen] / HOUR_S).astype(np.float32)
    before, use, covered = state["hour"], wide(state, "use"), wide(state, "covered")
    same = np.floor(wide(state, "hour") / DAY_HOURS) == np.floor(hour.astype(np.float64) / DAY_HOURS)
    known = wide(state, "count") >= USE.young
    ends = counts & ~same & (covered >= FEWEST_HOURS) & (known | (use > 0))
    done = np.flatnonzero(ends)
    if len(done):
        some = state.at(done)
        total = use[done] * DAY_HOURS / covered[done]
        level = np.where(total > 0, log_of(np.where(total > 0, total, 1.0)), -np.inf)
        level = np.where(known[done], np.maximum(level, some["slow"] - LOWEST), level)
        _judge_day(some, batch, level, chosen[done], found)
        some.flush()
    state["last"] = np.where(kind == LearntKind.COUNTER, value, last)
    state["use"] = np.where(same, use + amount, np.where(counts, amount, use))
    state["covered"] = np.where(same, covered + (counts & (hour != before)), np.where(counts, 1.0, covered))
    state["hour"] = np.where(counts, hour, before)
    state.flush()


def _no_counters(state: Rows, batch: Batch, kind: Floats, chosen: Indices) -> Indices:
    """Those that were taken for counters and fall again and again: they begin anew, to be looked at as levels."""
    value, last, falls = batch.value[chosen], state["last"], wide(state, "falls")
    learnt = np.isnan(np.broadcast_to(batch.parameter("kind"), len(batch.ts_s))[chosen]) & (kind == LearntKind.COUNTER)
    fell = (value < last) & (value >= 0.5 * last)
    falls = np.where(learnt, falls - FORGET * falls + fell, falls)
    state["falls"] = falls
    wrong = np.flatnonzero(learnt & (falls.astype(np.float32) > MOST_FALLS))
    if len(wrong):
        some = state.at(wrong)
        some["slow"] = value[wrong]
        begin_anew(some, float(LearntKind.UNSETTLED))
        some["last"], some["covered"] = value[wrong], 0.0
        some.flush()
    return wrong


def _judge_day(state: Rows, batch: Batch, level: Floats, chosen: Indices, found: Findings) -> None:
    assert found.judged is not None
    assert found.began_s is not None
    ts_s, count = batch.ts_s[chosen], len(batch.ts_s)
    step(state, level, batch.firing[chosen], USE)
    fast, (error, _) = wide(state, "fast"), error_of(state, USE)
    sure = -fast / np.maximum(error, TINY)
    bar = log_of(1.0 - np.broadcast_to(batch.parameter("fall"), count)[chosen])
    depth = np.maximum(fast / bar, 0.0)
    known = state["count"] >= USE.young
    since_s = np.where(sure >= 1.0, np.fmin(state["since_s"], ts_s), np.nan)
    state["since_s"] = since_s
    state["share"] = NO_SHARE - np.where(known & (sure >= 1.0), 1.0, 0.0)
    found.judged[chosen] = True
    surest, lasting_s = (np.broadcast_to(batch.parameter(name), count)[chosen] for name in ("sure", "lasting"))
    lasts = ts_s - np.where(np.isnan(since_s), ts_s, since_s) >= lasting_s
    lies_low = level - state["slow"] <= EASY * bar  # the day itself: what is over is not told
    found.breach[chosen] = known & (depth >= 1.0) & (sure >= surest) & lasts & lies_low
    found.calm[chosen] = ~known | (depth < EASY)
    found.score[chosen] = np.where(known, depth / (depth + 1.0), 0.0)
    found.began_s[chosen] = np.where(np.isnan(since_s), ts_s, since_s)


def explain_use(state: Rows, moment: Moment) -> Words:
    """Compare use with the series' own level, in use a day."""
    name, unit = say_metric(moment.metric), moment.unit
    slow, fast = float(state["slow"][0]), float(state["fast"][0])
    usual, present = (math.exp(min(level, 600.0)) for level in (slow, slow + fast))
    window_s, since = moment.ts_s - moment.began_s, say_instant(moment.began_s, moment.ts_s)
    evidence = ((moment.began_s, usual), (moment.ts_s, present))
    expected, observed = f"about {say_quantity(usual, unit)} a day", f"about {say_quantity(present, unit)} a day"
    if moment.event == "cleared":
        text = f"{name} is back at {observed}, near its own level; it had declined since {since}"
    else:
        text = (
            f"{name} has declined to {observed} since {since} ({say_span(window_s)}): "
            f"{100 * math.exp(fast):.0f} % of what this device does otherwise, {say_quantity(usual, unit)}"
        )
    return Words(text, expected, observed, window_s, evidence)
