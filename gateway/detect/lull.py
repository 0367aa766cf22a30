"""A lull: covered hours without any use, at times of the day when this device is used.

Each such hour adds how unlikely it is, by the device's own chances hour by hour, in nats. Hours without a reading add
too, but never more than a few times what covered hours said: a device that was put away often reports little, and one
that merely does not report says nothing. One that tells of every hour tells of those in a drawer, too: there a lull may
be asked to last longer. Use ends the lull, and what it amounted to becomes the record to pass. A silence of days ends
it too: that is told of by itself, and the device that is back may be used again at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Mask
from gateway.detect.exact import exp2_of, log_of
from gateway.detect.habit import Hours
from gateway.detect.table import Bytes, Field, Rows

MOST_SEEN: Final = 15  # hours of one time of the day that are counted; then both counts are halved
FEWEST_SEEN: Final = 2
MOST_CHANCE: Final = 0.97
LEAST_NATS: Final = 12.0  # what chance alone does not reach
MARGIN: Final = 1.6  # over the device's own record
HIGHEST_PEAK: Final = 1.2  # bars: what one lull can make of the record
FORGET_H: Final = 45 * 24.0  # a record counts half after this
MISSING: Final = 2.0  # times the nats of covered hours, which those of missing ones can reach
LONGEST_GAP_H: Final = 7 * 24.0
SILENT_H: Final = 40.0  # a longer gap, in which…
EXPECTED_H: Final = 10.0  # …more hours than these would have been covered, is a silence and not a lull
MEMORY_DAYS: Final = 14.0  # of coverage
FIRST_DAYS: Final = 4.0  # a lull that begins before these is not judged
WEEK_DAYS: Final = 8.0  # before these nobody knows how its weekends are
LONG_WEEKEND: Final = 3.0  # days of the habit, which a lull must last until then
YOUNG_DAYS: Final = 7.0  # a habit of so many days is trusted half
USUAL_WEEKDAY: Final = 0.5  # share of the mean day's use; the idle hours of a lesser one say less, and teach nothing
WHOLE_DAYS: Final = 1.05  # fully covered, that a lull must amount to: a night is none, where few nights are covered
LEAST_COVERAGE: Final = 0.2
COMPLETE: Final = 0.98  # coverage at which a device tells of every hour, also of those in a drawer;…
INCOMPLETE: Final = 0.95  # …and one at which it does not
DOUBTFUL: Final = 0.5  # bars: the chances are not learnt from a lull beyond

LULL_FIELDS: Final[Sequence[Field]] = (
    Field("chances", "u1", lanes=24, apart=True),  # hours of that time of the day with use, times 16, and all of them
    Field("lull", "f4", group="lull"),  # nats of covered hours without use
    Field("missing", "f4", group="lull"),  # nats of hours without a reading
    Field("longest", "f4", group="lull"),  # nats of the largest lull before, fading
    Field("lull_hour", "f4", np.nan, group="lull"),  # its first hour, since 1970: exact in single precision
    Field("judged_hour", "f4", np.nan, group="lull"),  # the hour that was completed last
    Field("daily_nats", "f4", group="lull"),  # of a day without use, as days are covered
    Field("coverage", "f4", group="lull"),  # share of the hours that are reported
    Field("covered", "f4", group="lull"),  # hours of this day that were
)


@dataclass(frozen=True, slots=True)
class Lull:
    """What completed hours make of the lull, [n] each."""

    nats: Floats
    bar: Floats
    began_s: Floats
    breach: Mask


def follow(state: Rows, hours: Hours, days: Floats, least: tuple[Floats | float, Floats | float], firing: Mask) -> Lull:
    """Add the completed hours and the gaps before them.

    `days` is the age of the habit, `least` are parameters: a lull's least days, and how many times as much it takes
    where a device tells of every hour.
    """
    hour = hours.hour.astype(np.float64)
    judged = state["judged_hour"].astype(np.float64)
    first = np.isnan(judged)
    before = np.where(first, hour - 1.0, judged)
    turned = np.flatnonzero(np.floor(hour / 24.0) != np.floor(before / 24.0))
    if len(turned):
        _turn_day(state.at(turned), hour[turned], before[turned], days[turned], first[turned])
    weekday = np.minimum(state["weekday_factor"].astype(np.float64) / USUAL_WEEKDAY, 1.0)
    chances = state.cells("chances", hours.hour % 24)
    counts = chances.values.view(np.uint8)
    used = hours.use > 0
    idle = np.where(used, 0.0, 1.0)
    elapsed_h = np.maximum(hour - before, 0.0)
    gap_h = np.minimum(elapsed_h - 1.0, LONGEST_GAP_H)
    lull, missing = state["lull"].astype(np.float64), state["missing"].astype(np.float64)
    gaps = np.flatnonzero(gap_h > 0)
    if len(gaps):
        missing[gaps] += _nats_of_gap(state.aside(gaps), before[gaps], gap_h[gaps], weekday[gaps])
        # Silence has a watch of its own; what came before one says nothing of now.
        silent = (gap_h > SILENT_H) & (gap_h * state["coverage"].astype(np.float64) > EXPECTED_H)
        lull, missing = np.where(silent, 0.0, lull), np.where(silent, 0.0, missing)
    peak = lull + np.minimum(missing, MISSING * lull)
    longest = state["longest"].astype(np.float64) * exp2_of(-elapsed_h / FORGET_H)
    a_day = state["daily_nats"].astype(np.float64), state["coverage"].astype(np.float64)
    bar = bar_of(longest, a_day, days, least)
    longest = np.where(used, np.maximum(longest, np.minimum(peak, HIGHEST_PEAK * bar)), longest)
    began = np.where((lull == 0) | used, hour, state["lull_hour"])
    lull = (lull + _nats(counts, weekday)) * idle
    missing = missing * idle
    nats = lull + np.minimum(missing, MISSING * lull)
    state["lull"], state["missing"], state["longest"] = lull, missing, longest
    state["lull_hour"], state["judged_hour"] = began, hour
    state["covered"] = state["covered"].astype(np.float64) + 1.0
    learns = ~firing & (used | ((nats <= DOUBTFUL * bar) & (weekday == 1.0)))
    chances.put(np.where(learns, _count(counts, used), counts))
    known = days - np.floor(hour / 24.0) + np.floor(began / 24.0)  # when the lull began
    breach = ~used & (known >= FIRST_DAYS) & (nats > bar)
    return Lull(nats, bar, began * 3600.0, breach)


def bar_of(
    longest: Floats, a_day: tuple[Floats, Floats], days: Floats, least: tuple[Floats | float, Floats | float]
) -> Floats:
    """The nats that a lull must pass, [n]; of a day are told its nats and how much of it is covered."""
    (daily_nats, coverage), (least_days, complete) = a_day, least
    told = np.minimum(np.maximum((coverage - INCOMPLETE) / (COMPLETE - INCOMPLETE), 0.0), 1.0)
    at_least = np.where(days < WEEK_DAYS, np.maximum(least_days, LONG_WEEKEND), least_days)
    at_least = at_least * (1.0 + (np.asarray(complete) - 1.0) * told)
    own = np.maximum(LEAST_NATS, longest * MARGIN) * (1.0 + YOUNG_DAYS / np.maximum(days, 1.0))
    at_least = np.maximum(at_least, WHOLE_DAYS / np.maximum(coverage, LEAST_COVERAGE))
    return np.maximum(own, daily_nats * at_least)


def nats_of_lull(state: Rows) -> Floats:
    """What the present lull has come to."""
    lull, missing = state["lull"].astype(np.float64), state["missing"].astype(np.float64)
    return lull + np.minimum(missing, MISSING * lull)


def end_lull(state: Rows, ended: Mask) -> None:
    """Use that came late ends a lull, and proves nothing of its length."""
    state["lull"] = np.where(ended, 0.0, state["lull"])
    state["missing"] = np.where(ended, 0.0, state["missing"])


def _turn_day(state: Rows, hour: Floats, before: Floats, days: Floats, first: Mask) -> None:
    """Close the days before: how much of them was covered, and what a day without use would say."""
    skipped = np.floor(hour / 24.0) - np.floor(before / 24.0) - 1.0
    rate = np.maximum(1.0 / np.maximum(days, 1.0), 1.0 / MEMORY_DAYS)
    known = state["coverage"].astype(np.float64)
    coverage = known + rate * (state["covered"].astype(np.float64) / 24.0 - known)
    coverage = coverage * (MEMORY_DAYS / (MEMORY_DAYS + np.maximum(skipped, 0.0)))
    state["coverage"] = np.where(first, known, coverage)
    state["covered"] = 0.0
    told = state["coverage"].astype(np.float64)
    counts = state.vector("chances").view(np.uint8)
    total = np.zeros(len(hour))
    for lane in range(24):  # one after the other, so that the order is no accident
        total = total + _nats(counts[:, lane], np.ones(len(hour)))
    state["daily_nats"] = total * told
    state.flush()


def _nats_of_gap(state: Rows, before: Floats, gap_h: Floats, weekday: Floats) -> Floats:
    """How unlikely it is that no use was seen in the hours after `before`."""
    counts = state.vector("chances").view(np.uint8)
    seen = np.minimum(state["coverage"].astype(np.float64), MOST_CHANCE) * weekday
    whole = np.floor(gap_h / 24.0)
    rest, start = gap_h - 24.0 * whole, before + 1.0
    total = np.zeros(len(gap_h))
    for lane in range(24):
        after = lane - start
        after = after - 24.0 * np.floor(after / 24.0)
        total = total + (whole + (after < rest)) * _nats(counts[:, lane], seen)
    return total


def _nats(counts: Bytes, seen: Floats) -> Floats:
    """How unlikely it is that an hour shows no use; `seen` is the chance that it would be seen."""
    used, count = (counts >> 4).astype(np.float64), (counts & 15).astype(np.float64)
    chance = np.minimum(used / (count + 1.0), MOST_CHANCE) * seen
    return np.where(count >= FEWEST_SEEN, -log_of(1.0 - chance), 0.0)


def _count(counts: Bytes, used: Mask) -> Bytes:
    """One more hour of this time of the day, with or without use."""
    with_use, count = (counts >> 4) + used, (counts & 15) + np.uint8(1)
    full = count >= MOST_SEEN
    with_use, count = np.where(full, with_use >> 1, with_use), np.where(full, count >> 1, count)
    return ((with_use << 4) | count).astype(np.uint8)
