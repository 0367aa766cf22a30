"""What sort of number a metric is, learnt from its values where no profile says it."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric, MetricKind
from gateway.detect.arrays import Floats, Mask
from gateway.detect.groups import rarely
from gateway.detect.table import Field, Rows

FEWEST: Final = 24  # samples before a kind is settled
SHORTEST_S: Final = 86_400.0  # and device time: a night must have been seen
ENOUGH: Final = 48  # samples after which a number that varies, and is neither, is a level for good
LONG_ENOUGH_S: Final = 7 * 86_400.0
FEW_FALLS: Final = 0.02  # a counter may be reset now and then
SOME_ZEROS: Final = 0.05  # a thing that is used is also not used, now and then
RISES_PER_FALL: Final = 10.0  # of a counter: what is measured once a day seldom falls, and as seldom rises
FEWEST_RISES: Final = 5.0
FEW_BETWEEN: Final = 0.01  # of a state's values


class LearntKind:
    """How the numbers of a series are to be used; floats in the state, and here no enum, as `Phase` is none."""

    DELTA: Final = 0
    COUNTER: Final = 1
    LEVEL: Final = 2
    STATE: Final = 3  # two values, hardly ever others
    UNSETTLED: Final = 4


TALLIES: Final[Sequence[Field]] = (
    Field("first_s", initial=np.nan, group="kind"),
    Field("seen", "f4", group="kind"),
    Field("rises", "f4", group="kind"),
    Field("falls", "f4", group="kind"),
    Field("zeros", "f4", group="kind"),
    Field("smallest", "f4", np.inf, group="kind"),
    Field("largest", "f4", -np.inf, group="kind"),
    Field("between", "f4", group="kind"),  # values that were neither the smallest nor the largest so far
)
KIND_FIELDS: Final[Sequence[Field]] = (Field("kind", "f4", LearntKind.UNSETTLED), *rarely("kind", TALLIES))


def learn_kind(state: Rows, ts_s: Floats, value: Floats, last: Floats, told: Floats | float) -> Floats:
    """The kind of each series, [n]: as `told` by a profile (a LearntKind), else (NaN) as its values so far show.

    Once settled, it stays.

    A counter hardly ever falls; a delta is never negative, often zero, and has more than two values; everything else
    that varies is a level or, with two values, a state, after a while.
    """
    if isinstance(told, float) and not np.isnan(told):
        return np.full(len(value), told)
    kind = np.where(np.isnan(told), state["kind"], told)
    unsettled = np.flatnonzero(kind == LearntKind.UNSETTLED)
    if len(unsettled):
        kind[unsettled] = _settle(state.at(unsettled), ts_s[unsettled], value[unsettled], last[unsettled])
    return kind


def _settle(state: Rows, ts_s: Floats, value: Floats, last: Floats) -> Floats:
    first_s = np.fmin(state["first_s"], ts_s)
    new, old = value.astype(np.float32), last.astype(np.float32)  # as they are kept, so that equals stay equal
    seen = state["seen"] + 1
    rises, falls = state["rises"] + (new > old), state["falls"] + (new < old)
    zeros = state["zeros"] + (new == 0)
    between = state["between"] + ((new > state["smallest"]) & (new < state["largest"]))
    smallest, largest = np.fmin(state["smallest"], new), np.fmax(state["largest"], new)
    age_s = ts_s - first_s
    varies = largest > smallest
    ripe = (seen >= FEWEST) & (age_s >= SHORTEST_S) & varies & (smallest >= 0)
    rises_only = (falls <= FEW_FALLS * seen) & (RISES_PER_FALL * falls <= rises)
    counter: Mask = ripe & rises_only & (rises >= FEWEST_RISES)
    delta: Mask = ripe & ~counter & (zeros >= SOME_ZEROS * seen) & (between > 0)
    rest: Mask = ~(counter | delta) & (seen >= ENOUGH) & (age_s >= LONG_ENOUGH_S) & varies
    state_like = between <= FEW_BETWEEN * seen
    kinds = [LearntKind.COUNTER, LearntKind.DELTA, LearntKind.STATE, LearntKind.LEVEL]
    chosen = [counter, delta, rest & state_like, rest]
    kind = np.select(chosen, [float(each) for each in kinds], float(LearntKind.UNSETTLED))
    state["kind"] = kind
    tallies = (first_s, seen, rises, falls, zeros, smallest, largest, between)
    for field, tally in zip(TALLIES, tallies, strict=True):
        # Once they have told the kind they are of no use, and take no memory.
        state[field.name] = np.where(kind == LearntKind.UNSETTLED, tally, field.initial)
    state.flush()
    return kind


def tell_kind(metric: Metric | None) -> float:
    """The kind that a profile tells of a metric; NaN where it has to be learnt."""
    if metric is None:
        return float("nan")
    told = {
        MetricKind.COUNTER: LearntKind.COUNTER,
        MetricKind.DELTA: LearntKind.DELTA,
        MetricKind.STATE: LearntKind.STATE,
    }
    return float(told.get(metric.kind, LearntKind.LEVEL))


def difference(value: Floats, last: Floats) -> Floats:
    """What a counter rose by since its last value; NaN for its first.

    After a fall to less than half, the counter was reset and has risen from zero; a smaller fall is jitter, or a
    correction, and counts for nothing.
    """
    rise = value - last
    return np.where(rise >= 0, rise, np.where(np.isnan(last), np.nan, np.where(value < 0.5 * last, value, 0.0)))
