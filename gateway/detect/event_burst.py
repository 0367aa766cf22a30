"""Events of one code that come more often than this device sends them otherwise, or than a limit allows.

The latest few events are compared with the device's own rate: the last four, six … 32 of them, in the time that they
took. So a storm of minutes and a trickle of weeks are found by one question, whatever the usual rate is.

Time is time in which the device was heard: what it sends tells that it could have sent an event as well, and a pause
longer than it usually makes says nothing. An event enters the habit a week after it came, and hardly at all if an alarm
was up then: what is wrong must not become usual. An alarm is over when so much time has been heard, with no more than
the usual number of events in it, that the burst would have brought eight.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.profiles.model import EVERY_EVENT, Metric
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.burst_rate import (
    DAY_S,
    KEPT,
    RATE_FIELDS,
    SHORTEST,
    Habit,
    begin,
    count_since,
    habit_of,
    latest,
    take,
)
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Words, code_of
from gateway.detect.episodes import Phase
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Rows
from gateway.detect.words import say_instant, say_metric, say_number, say_span

COUNTS: Final = (4, 6, 9, 14, 21, KEPT)  # of the latest events that are looked at
MOST_HEAD: Final = 28.0  # days before the first event that are believed to have been without one…
HEARD_OF_HEAD: Final = 0.5  # …and as much of them heard
CALM_NATS: Final = 3.0  # more is no calm
CALM_EVENTS: Final = 8.0  # so many would have come at the burst's pace in the time that must be calm…
CALM_DAYS: Final = (0.5, 7.0)  # …which is not shorter or longer than this
NEVER: Final = 0.5  # events: so few have not come at all
MOST_NATS: Final = 27.64  # of which one speaks: a trillion to one
EVERYTHING: Final = float(code_of(EVERY_EVENT))


@dataclass(frozen=True, slots=True)
class _Asked:
    """Series that may be in a burst: the state and what came, and what their watches say, [n] each."""

    state: Rows
    ts_s: Floats
    came: Mask
    firing: Mask
    given: Mapping[str, Floats]


class EventBurst:
    """The count of the latest events against the device's own rate of them, and against a limit."""

    name: Final = "event_burst"
    version: Final = 1
    kind: Final = Kind.EVENT_BURST
    fields: Sequence[Field] = (
        Field("first_s", initial=np.nan),  # when the device was first heard, by its own time
        Field("seen"),  # events so far
        Field("pace", group="burst", rare=True),  # events a day of the present burst
        Field("late", group="burst", rare=True),  # 1: events came late, and the next sign in time decides on them
        *RATE_FIELDS,
    )
    parameters: Sequence[Parameter] = (
        Parameter("count", minimum=2.0, maximum=float(KEPT)),  # a limit: so many events…
        Parameter("within", minimum=1.0, span=True),  # …in this device time
        Parameter("unlikely", default=12.0, minimum=4.0),  # nats: how improbable by the habit
        Parameter("least", default=4.0, minimum=1.0, maximum=float(KEPT)),  # events that make a burst
        Parameter("warm_up", default=7 * DAY_S, minimum=0.0, span=True),  # heard, until the habit is judged by
    )
    evidence_points: Final = 0
    counts_events: bool = True
    looks_around: bool = True

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """Nothing follows from metric or settings."""
        del metric, settings
        return {}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """A limit is a number of events and a time."""
        if math.isnan(parameters["count"]) != math.isnan(parameters["within"]):
            return "count and within together, or neither"
        return None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Take signs of devices, each with the number of events that it brings: most often 0 or 1."""
        came = np.minimum(np.floor(np.maximum(batch.value, 0.0) + 0.5), float(KEPT))
        seen, phase = state["seen"], state["phase"]
        state["first_s"] = np.fmin(state["first_s"], batch.ts_s)
        state["seen"] = seen + came
        breach, calm = np.zeros(len(state), np.bool_), np.zeros(len(state), np.bool_)
        score, began_s = np.zeros(len(state)), batch.ts_s.copy()
        new = np.flatnonzero((seen == 0) & (came > 0))
        if len(new):
            head = _head(state, batch, new)
            begin(state.at(new), head)
        begun = np.flatnonzero((seen > 0) | (came > 0))
        if len(begun):
            take(state.at(begun), batch.ts_s[begun], came[begun], batch.firing[begun])
        late = state["late"]
        state["late"] = np.where(batch.late, np.where(came > 0, 1.0, late), 0.0)
        asked = np.flatnonzero(~batch.late & ((came > 0) | (late > 0) | ((phase > Phase.IDLE) & (seen > 0))))
        if len(asked):
            given = {
                parameter.name: np.broadcast_to(batch.parameter(parameter.name), len(state))[asked]
                for parameter in self.parameters
            }
            some = _Asked(state.at(asked), batch.ts_s[asked], came[asked] > 0, batch.firing[asked], given)
            breach[asked], calm[asked], score[asked], began_s[asked] = _compare(some)
        return Findings(breach=breach, calm=calm, score=score, began_s=began_s)

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Say how many have come since when, and how many usually do."""
        habit, times = habit_of(state), state.lanes("times")[:, 0]
        name, since = say_metric(moment.metric), say_instant(moment.began_s, moment.ts_s)
        span_s = moment.ts_s - moment.began_s
        came = times[np.isfinite(times) & (times >= moment.began_s)]
        evidence = tuple((float(at_s), float(number)) for number, at_s in enumerate(came, 1))
        usual = _say_rate(habit)
        if moment.event == "cleared":
            last = f", for the last time {say_instant(float(times[-1]), moment.ts_s)}" if len(came) else ""
            text = f"{name} comes no more often than usual again ({usual}); it had come in a burst since {since}{last}"
            return Words(text, usual, "no more than usual", span_s, evidence)
        number = f"{'at least ' if len(came) == KEPT else ''}{len(came)} times"
        text = f"{name} has come {number} since {since}" + (f" ({say_span(span_s)})" if span_s > 0 else "")
        expected: list[str] = []
        count, within = moment.parameters["count"], moment.parameters["within"]
        if not math.isnan(count):
            expected.append(f"fewer than {count:.0f} within {say_span(within)}")
            text += f"; its limit is {count:.0f} within {say_span(within)}"
        heard = float(state["heard"][0])
        if DAY_S * heard >= moment.parameters["warm_up"]:
            expected.append(usual)
            given = {name: np.full(1, number) for name, number in moment.parameters.items()}
            yes = np.ones(1, np.bool_)
            nats = float(_most_unlikely(habit, _Asked(state, np.zeros(1), yes, yes, given))[0][0])
            text += f"; usual is {usual}, by {say_span(DAY_S * heard)} in which this device was heard"
            text += f"; by chance this happens {_say_chance(nats)}" if nats >= moment.parameters["unlikely"] else ""
        return Words(text, " and ".join(expected) or usual, f"{number} in {say_span(span_s)}", span_s, evidence)


def _head(state: Rows, batch: Batch, new: Indices) -> Floats:
    """For how many days the devices of series that begin were heard before: by what is known of all their events."""
    first_s, heard = state["first_s"][new], np.zeros(len(new))
    if batch.peers is not None:
        beside = batch.peers.find(new, np.full(len(new), EVERYTHING))
        there = np.flatnonzero((beside >= 0) & (beside != state.index[new]))
        rows = batch.peers.rows(beside[there])
        first_s[there] = np.fmin(first_s[there], rows["first_s"])
        heard[there] = rows["heard"]
    waited = np.minimum((batch.ts_s[new] - first_s) / DAY_S, MOST_HEAD)
    return np.maximum(HEARD_OF_HEAD * np.maximum(waited, 0.0), heard)


def _compare(asked: _Asked) -> tuple[Mask, Mask, Floats, Floats]:
    """Breach, calm, score and when a burst began, of each series."""
    state, given = asked.state, asked.given
    habit, times = habit_of(state), state.lanes("times")
    nats, count, slowest = _most_unlikely(habit, asked)
    improbable: Mask = (nats >= given["unlikely"]) & (DAY_S * state["heard"] >= given["warm_up"])
    limit = np.where(np.isnan(given["count"]), 1.0, given["count"])
    within = latest(times, limit.astype(np.int64)) >= asked.ts_s - np.fmax(given["within"], 0.0)
    fresh = asked.firing | (latest(state.lanes("marks"), limit.astype(np.int64)) > state["upset"])
    beyond: Mask = ~np.isnan(given["count"]) & within & fresh
    limit_pace = limit / np.maximum(np.where(beyond, given["within"], DAY_S) / DAY_S, SHORTEST)
    pace = np.where(improbable, slowest, np.where(beyond, limit_pace, 0.0))
    pace = np.where(asked.firing & ~(asked.came & (pace > 0)), state["pace"], pace)
    state["pace"] = pace
    calm: Mask = asked.firing & ~beyond & _is_calm(state, habit, pace)
    breach: Mask = (improbable | beyond) & ~calm
    score = np.where(improbable, nats / (nats + given["unlikely"]), 0.0)
    score = np.where(breach, np.maximum(score, np.where(beyond, 0.5, 0.0)), 0.0)
    first_s = np.where(improbable, latest(times, count.astype(np.int64)), latest(times, limit.astype(np.int64)))
    began_s = np.where(breach, first_s, asked.ts_s)
    state.flush()
    return breach, calm, score, began_s


def _most_unlikely(habit: Habit, asked: _Asked) -> tuple[Floats, Floats, Floats]:
    """Of the latest events the number that is the most improbable: in nats, and how many.

    And of all numbers that are improbable enough the slowest pace, in events a day.
    """
    state, given = asked.state, asked.given
    marks, heard, upset = state.lanes("marks"), state["heard"], state["upset"]
    best, of, pace = np.zeros(len(state)), np.full(len(state), float(KEPT)), np.full(len(state), np.inf)
    for count in COUNTS:
        first = marks[KEPT - count]
        there = np.isfinite(first) & (asked.firing | (first > upset)) & (count >= given["least"])
        days = np.maximum(np.where(there, heard - first, SHORTEST), SHORTEST)
        nats = np.where(there, habit.nats(np.full(len(state), float(count)), days), 0.0)
        more = nats > best
        best, of = np.where(more, nats, best), np.where(more, count, of)
        pace = np.where(nats >= given["unlikely"], np.minimum(pace, count / days), pace)
    return best, of, pace


def _is_calm(state: Rows, habit: Habit, pace: Floats) -> Mask:
    """Whether events have come as usual for long enough, in time in which the device was heard."""
    days = np.clip(CALM_EVENTS / np.maximum(pace, SHORTEST), *CALM_DAYS)
    came = count_since(state, days)
    few: Mask = came <= np.maximum(0.5 * pace * days, habit.per_day * days)
    return few & (habit.nats(came, days) < CALM_NATS)


def _say_rate(habit: Habit) -> str:
    """`about 3 a day`, `about one in 2 weeks`, `hardly ever one`."""
    per_day = float(habit.per_day[0])
    if habit.events[0] < NEVER:
        return "hardly ever one"
    if per_day >= 1.0:
        return f"about {say_number(per_day)} a day"
    return f"about one in {say_span(DAY_S / per_day)}"


def _say_chance(nats: float) -> str:
    """`less than once in 160 thousand times`."""
    odds = math.exp(min(nats, MOST_NATS))
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if odds >= size:
            return f"less than once in {odds / size:.0f} {word} times"
    return f"less than once in {odds:.0f} times"
