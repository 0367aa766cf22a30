"""A device's habit: how much it is used at each hour of the day and on each day of the week. UTC, event time.

Only hours that the device reported count: an hour without a reading says nothing about use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices, Mask, Numbers
from gateway.detect.table import Field, Rows

HOUR_S: Final = 3600.0
DAYS_KEPT: Final = 14
MEMORY_DAYS: Final = 28.0
WEEKDAY_RATE: Final = 0.3  # of the newest of that weekday
MOST_WEEKDAY: Final = 1.5  # how much more than usual a weekday may promise
LEAST_COVERAGE: Final = 0.3  # of a day's usual use, for the day to say something about its weekday
OUTLIER: Final = 4.0  # a learnt hour counts at most as this many usual ones
RIPE_DAYS: Final = 7.0

HABIT_FIELDS: Final[Sequence[Field]] = (
    Field("usual", "f4", np.nan, lanes=24, apart=True),  # use in each hour of the day, over all weekdays
    Field("weekday", "f4", np.nan, lanes=7, apart=True),  # use on each day of the week, were it fully covered
    Field("daily", "f4", np.nan, lanes=DAYS_KEPT, apart=True),  # use of the latest days, at day number modulo
    Field("day", initial=np.nan, group="habit"),  # number of the day that is being added up, since 1970
    Field("first_day", initial=np.nan, group="habit"),
    Field("days", "f4", group="habit"),  # how many days were added up
    Field("day_use", group="habit"),
    Field("day_usual", group="habit"),  # usual use in the hours of this day that were covered
    Field("weekday_factor", "f4", 1.0, group="habit"),  # of this day
    Field("per_day", initial=np.nan, group="habit"),  # use on a day, as days are covered
    Field("hour_use", group="habit"),  # mean of the hours with use
    Field("hour_square", group="habit"),  # mean of their squares
)


@dataclass(frozen=True, slots=True)
class Hours:
    """One completed hour for each of n series."""

    hour: Indices  # hours since 1970
    use: Floats


def hour_of_day(ts_s: Floats) -> Indices:
    """0 to 23, UTC. In floats throughout: five times as fast as integer division, and as exact."""
    hour = np.floor(ts_s / HOUR_S)
    return (hour - 24.0 * np.floor(hour / 24.0)).astype(np.int64)


def expect(state: Rows, hours: Hours) -> Floats:
    """Usual use in the completed hours, NaN where it is not known yet. Closes the days before them."""
    day = (hours.hour // 24).astype(np.float64)
    turned = day != state["day"]
    if turned.any():
        _turn_day(state, day, turned)
    usual = state.cell("usual", hours.hour % 24).astype(np.float64)
    state["day_use"] = state["day_use"] + hours.use
    state["day_usual"] = state["day_usual"] + np.nan_to_num(usual)
    return usual * state["weekday_factor"]


def learn(state: Rows, hours: Hours, pace: Floats) -> None:
    """Take the completed hours into the habit; `pace` is 1, less where the habit must not follow."""
    days = state["days"]
    lane = hours.hour % 24
    cells = state.cells("usual", lane)
    usual = cells.values.astype(np.float64)
    rate = np.maximum(1.0 / (days + 1.0), 1.0 / MEMORY_DAYS) * pace
    ripe = days >= RIPE_DAYS
    most = OUTLIER * np.fmax(usual, np.nan_to_num(state["per_day"]) / 24.0)
    lesson = np.where(ripe, np.fmin(hours.use, most), hours.use)
    cells.put(np.where(np.isnan(usual), lesson, usual + rate * (lesson - usual)))
    used = hours.use > 0
    rate = np.where(used, np.maximum(1.0 / (days * 4.0 + 1.0), 0.01), 0.0) * pace
    state["hour_use"] = state["hour_use"] + rate * (lesson - state["hour_use"])
    state["hour_square"] = state["hour_square"] + rate * (lesson * lesson - state["hour_square"])


def add_late(state: Rows, hours: Hours) -> None:
    """Add use of hours that were completed before to the days they belong to, while those are kept."""
    day = hours.hour // 24
    age = state["day"] - day
    same = age == 0
    state["day_use"] = state["day_use"] + np.where(same, hours.use, 0.0)
    kept = np.flatnonzero((age > 0) & (age < DAYS_KEPT))
    if len(kept):
        some, lane = state.at(kept), day[kept] % DAYS_KEPT
        some.set_cell("daily", lane, np.nan_to_num(some.cell("daily", lane)) + hours.use[kept])


def recent_days(state: Rows) -> tuple[tuple[float, float], ...]:
    """Day and use of the latest days of one series, oldest first, the present day last."""
    today = float(state["day"][0])
    if np.isnan(today):
        return ()
    daily = state.vector("daily")[0]
    days = range(int(today) - DAYS_KEPT + 1, int(today))
    past = [(day * 24 * HOUR_S, float(f"{daily[day % DAYS_KEPT]:.7g}")) for day in days]
    return (*(point for point in past if np.isfinite(point[1])), (today * 24 * HOUR_S, float(state["day_use"][0])))


def likeness(mine: Numbers, its: Numbers) -> Floats:
    """How much habits, [n, 24] each, rise and fall over the day together.

    The square of their correlation, 0 where it is negative.
    """
    mine, its = np.nan_to_num(mine.astype(np.float64)), np.nan_to_num(its.astype(np.float64))
    up, beside = mine - (_sum(mine) / 24.0)[:, None], its - (_sum(its) / 24.0)[:, None]
    both, squares, its_squares = _sum(up * beside), _sum(up * up), _sum(beside * beside)
    told = both > 0
    return np.where(told, both * both / np.where(told, squares * its_squares, 1.0), 0.0)


def _turn_day(state: Rows, day: Floats, turned: Mask) -> None:
    """Close the days that were being added up, and open others."""
    some, opened = state.at(turned), day[turned]
    closed, use, days = some["day"], some["day_use"], some["days"]
    begun = np.isfinite(closed)
    some.set_vector("weekday", _close_weekday(some, begun))
    latest = opened[:, None] - (opened[:, None] - np.arange(DAYS_KEPT)) % DAYS_KEPT  # the day that each place is for
    daily = np.where(latest > closed[:, None], np.nan, some.vector("daily"))
    some.set_vector("daily", np.where(latest == closed[:, None], use[:, None], daily))

    mean, rate = some["per_day"], np.maximum(1.0 / (days + 1.0), 1.0 / MEMORY_DAYS)
    some["per_day"] = np.where(begun, np.where(np.isnan(mean), use, mean + rate * (use - mean)), mean)
    some["days"] = days + begun
    some["day"], some["first_day"] = opened, np.fmin(some["first_day"], opened)
    some["weekday_factor"] = _weekday_factor(some, opened)
    some["day_use"], some["day_usual"] = 0.0, 0.0
    some.flush()


def _close_weekday(some: Rows, begun: Mask) -> Floats:
    """What the closed days teach of their weekdays, scaled up to a day that is fully covered."""
    whole = _sum(some.vector("usual"))
    share = np.where(some["days"] == 0, 1.0, some["day_usual"] / np.where(whole > 0, whole, np.inf))
    telling = begun & (share >= LEAST_COVERAGE)
    weekday, lane = some.vector("weekday").astype(np.float64), _weekday(some["day"])
    each = np.arange(len(some))
    known = weekday[each, lane]
    lesson = some["day_use"] / np.where(telling, share, 1.0)
    learnt = np.where(np.isnan(known), lesson, known + WEEKDAY_RATE * (lesson - known))
    weekday[each, lane] = np.where(telling, learnt, known)
    return weekday


def _weekday_factor(some: Rows, day: Floats) -> Floats:
    """How this weekday's use compares with the mean of the weekdays that are known; 1 where it is not known."""
    weekday = some.vector("weekday").astype(np.float64)
    known = np.isfinite(weekday)
    mean = _sum(weekday) / np.fmax(known.sum(axis=1), 1)
    mine = weekday[np.arange(len(some)), _weekday(day)]
    told = np.isfinite(mine) & (mean > 0)
    return np.where(told, np.clip(mine / np.where(told, mean, 1.0), 0.0, MOST_WEEKDAY), 1.0)


def _weekday(day: Floats) -> Indices:
    return (np.nan_to_num(day).astype(np.int64) + 4) % 7  # 1 January 1970 was a Thursday; 0 is Sunday


def _sum(lanes: Numbers) -> Floats:
    """Sums of the numbers that are there, [n] of [n, lanes], added one after the other: so the order is no accident."""
    return np.nancumsum(lanes.astype(np.float64), axis=1)[:, -1]
