"""How often a device's events come: what is learnt of their rate, and how improbable a count is by it.

The count of a stretch of time is taken as negative binomial: a Poisson count whose rate is not known for sure (a gamma
habit, fading) and is not the same every day (`over`, from the spread of daily counts). Events that come in clumps, such
as the retries of one failure, count for less by the size of the clump in which an event usually is.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices, Mask, Numbers
from gateway.detect.exact import exp2_of, log_of
from gateway.detect.table import Field, Rows

KEPT: Final = 32  # latest events
DAY_S: Final = 86_400.0
LAG: Final = 7.0  # heard days after which an event is part of the habit
HALF_LIFE: Final = 30.0  # heard days
UPSET: Final = 0.1  # what the time of an alarm teaches, beside other times
LONGEST_PAUSE_S: Final = 6 * 3600.0  # that counts as heard, or twice the usual one; a longer one counts as a usual one
PAUSE_RATE: Final = 0.1
PRIOR_EVENTS: Final = 0.5
PRIOR_DAYS: Final = 1.0
SHORTEST: Final = 1.0 / 24.0  # days: events that come closer than this say no more of the rate
CLOSE_S: Final = 300.0  # events of one clump
CLUMP_FADES: Final = 0.97
LARGEST_CLUMP: Final = 16.0
PRIOR_CLUMP: Final = (3.0, 2.0)  # so many events, in clumps of this size
PRIOR_OVER: Final = (30.0, 0.2)  # so many events, of days that differ by so much
MOST_OVER: Final = 4.0
MOST_DAYS: Final = 30.0

RATE_FIELDS: Final = (
    Field("heard", group="burst", rare=True),  # days in which the device was heard
    Field("last_s", initial=np.nan, group="burst", rare=True),  # when it was last heard, by its own time
    Field("pause_s", group="burst", rare=True),  # usual time between two signs
    Field("learnt", group="burst", rare=True),  # heard days up to which events are part of the habit
    Field("events", group="burst", rare=True),  # of the habit, fading
    Field("days", group="burst", rare=True),  # in which they came, fading alike
    Field("upset", initial=-1.0, group="burst", rare=True),  # heard days up to which an alarm was up
    Field("clump", group="burst", rare=True),  # events that have come close to each other by now
    Field("clumped", group="burst", rare=True),  # events in clumps that are over, fading
    Field("clumped2", group="burst", rare=True),  # the squares of these clumps' sizes, fading alike
    Field("today", group="burst", rare=True),  # events of the day that is being learnt
    Field("known", group="burst", rare=True),  # days that were learnt, as many as count
    Field("daily", group="burst", rare=True),  # mean of their counts
    Field("daily2", group="burst", rare=True),  # mean of the squares
    Field("times", initial=-np.inf, lanes=KEPT, group="burst", rare=True),  # device time of the latest events, rising
    Field("marks", initial=-np.inf, lanes=KEPT, group="burst", rare=True),  # heard days at them
)


@dataclass(frozen=True, slots=True)
class Habit:
    """What is known of the rates of n series."""

    events: Floats  # [n]
    days: Floats  # [n], heard
    over: Floats  # [n], variance of the rate from day to day over its square
    clump: Floats  # [n], size of the clump that an event is usually in

    @property
    def per_day(self) -> Floats:
        """Events of a heard day."""
        return (self.events + PRIOR_EVENTS) / (self.days + PRIOR_DAYS)

    def nats(self, count: Floats, span: Floats) -> Floats:
        """How improbable so many events in so many heard days are, [n]: minus the logarithm of the chance, at least.

        Chernoff's bound of a negative binomial count, by the clump.
        """
        mean = self.per_day * np.maximum(span, SHORTEST)
        shape = 1.0 / (1.0 / (self.events + PRIOR_EVENTS) + self.over / np.sqrt(np.maximum(span, 1.0)))
        many = np.maximum(count, mean)
        bound = many * log_of(many / mean) + (shape + many) * log_of((shape + mean) / (shape + many))
        return np.maximum(bound, 0.0) / self.clump


def habit_of(state: Rows) -> Habit:
    """What is known of the rates of some series."""
    daily, known = state["daily"], state["known"]
    events, size = PRIOR_CLUMP
    clump = (events * size + state["clumped2"]) / (events + state["clumped"])
    square = daily * daily
    excess = np.maximum(state["daily2"] - square - clump * daily, 0.0)
    over = np.minimum(np.where(square > 0, excess / np.where(square > 0, square, 1.0), 0.0), MOST_OVER)
    weight, usual = PRIOR_OVER
    told = known * daily
    return Habit(state["events"], state["days"], (told * over + weight * usual) / (told + weight), clump)


def begin(state: Rows, head: Floats) -> None:
    """Begin series whose devices were heard for so many days without an event."""
    state["heard"] = head
    state["learnt"] = state["days"] = np.maximum(head - LAG, 0.0)
    state.flush()


def take(state: Rows, ts_s: Floats, came: Floats, firing: Mask) -> None:
    """Take a sign of each device at `ts_s`, with `came` events; what is a week old becomes part of the habit."""
    before_s, heard = state["last_s"], state["heard"]
    gap_s = np.fmax(ts_s - before_s, 0.0)
    pause_s = state["pause_s"]
    is_heard = gap_s <= np.maximum(LONGEST_PAUSE_S, 2.0 * pause_s)
    heard = heard + np.where(is_heard, gap_s, np.minimum(pause_s, LONGEST_PAUSE_S)) / DAY_S
    state["pause_s"] = np.where(gap_s > 0, pause_s + PAUSE_RATE * (gap_s - pause_s), pause_s)
    state["heard"], state["last_s"] = heard, np.fmax(before_s, ts_s)
    state["upset"] = np.where(firing, heard, state["upset"])
    state.flush()
    pushed, direct = np.full(len(state), -np.inf), np.zeros(len(state))
    outside = np.zeros(len(state))
    some = np.flatnonzero(came > 0)
    if len(some):
        pushed[some], outside[some], direct[some] = _put(state.at(some), ts_s[some], came[some], firing[some])
    _learn(state, (pushed, outside, direct), firing)


def _put(state: Rows, ts_s: Floats, came: Floats, firing: Mask) -> tuple[Floats, Floats, Floats]:
    """Keep events in order of their time.

    Gives the mark up to which others had to go, how many of these were not yet learnt, and how many of the new ones are
    too old to be learnt later.
    """
    learnt, last_s, heard = state["learnt"], state["last_s"], state["heard"]
    mark = np.maximum(heard - (last_s - ts_s) / DAY_S, 0.0)
    times, marks = state.lanes("times"), state.lanes("marks")
    _clump(state, np.abs(ts_s - times[-1]) < CLOSE_S, came, firing)
    new = np.arange(KEPT)[:, None] < came
    all_times = np.sort(np.concatenate([times, np.where(new, ts_s, -np.inf)]), axis=0)
    all_marks = np.sort(np.concatenate([marks, np.where(new, mark, -np.inf)]), axis=0)
    state.set_lanes("times", all_times[KEPT:])
    state.set_lanes("marks", all_marks[KEPT:])
    state.flush()
    gone = all_marks[:KEPT]
    return gone[-1], (gone > learnt).sum(axis=0).astype(np.float64), np.where(mark <= learnt, came, 0.0)


def _clump(state: Rows, close: Mask, came: Floats, firing: Mask) -> None:
    """Follow clumps of events; what comes in an alarm says nothing of how they usually come."""
    clump = state["clump"]
    size = np.minimum(np.where(close | firing, 0.0, clump), LARGEST_CLUMP)
    faded = np.where(size > 0, CLUMP_FADES, 1.0)
    state["clumped"] = faded * state["clumped"] + size
    state["clumped2"] = faded * state["clumped2"] + size * size
    state["clump"] = np.where(close, clump + came, np.where(firing, 0.0, came))


def _learn(state: Rows, put: tuple[Floats, Floats, Floats], firing: Mask) -> None:
    """Let the habit follow: by a week ago, or by as much as is not kept any more."""
    pushed, outside, direct = put
    learnt, marks = state["learnt"], state.lanes("marks")
    until = np.maximum(np.maximum(learnt, state["heard"] - LAG), pushed)
    came = ((marks > learnt) & (marks <= until)).sum(axis=0) + outside + direct
    usual = ~firing & (learnt >= state["upset"])
    weight = np.where(usual, 1.0, UPSET)
    span = until - learnt
    faded = exp2_of(-span * weight / HALF_LIFE)
    state["events"] = faded * state["events"] + weight * came
    state["days"] = faded * state["days"] + weight * span
    state["learnt"] = until
    _learn_days(state, came, np.floor(until) - np.floor(learnt), usual)


def _learn_days(state: Rows, came: Floats, days: Floats, usual: Mask) -> None:
    """Learn how far the counts of days differ."""
    over, today = days > 0, state["today"] + came
    learns = over & usual
    known = np.minimum(state["known"] + np.where(learns, days, 0.0), MOST_DAYS)
    rate = np.where(learns, np.minimum(days / np.maximum(known, 1.0), 1.0), 0.0)
    count = today / np.maximum(days, 1.0)
    daily, daily2 = state["daily"], state["daily2"]
    state["daily"] = daily + rate * (count - daily)
    state["daily2"] = daily2 + rate * (count * count - daily2)
    state["known"] = known
    state["today"] = np.where(over, 0.0, today)
    state.flush()


def count_since(state: Rows, days: Floats) -> Floats:
    """How many of the events that are kept have come in the latest heard days, [n]."""
    return (state.lanes("marks") > state["heard"] - days).sum(axis=0).astype(np.float64)


def latest(lanes: Numbers, count: Indices) -> Numbers:
    """Of rising values per lane, [lanes, n], the one that is the count-th from the end in each column."""
    return lanes[KEPT - count, np.arange(lanes.shape[1])]
