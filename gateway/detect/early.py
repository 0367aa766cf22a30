"""The first hours of a series, in which every reading may be a step.

A level steps once an hour, so that the rhythm of a day is no drift; of a recording that lasts minutes, that sees
nothing. Where a watch has an `early`, a series that is younger steps with every reading, and goes on to do so for its
first `MOST_STEPS` where it is read more often than each 40 minutes. Then it starts anew, unless its readings are so
rare that it made little difference. While an alarm is up, its first hours go on.

What a device's levels say together beyond `early` may be the rhythm of a day, as long as they look back further than
two hours and less than a day: `haste` says when that is told of.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Mask
from gateway.detect.detector import Batch
from gateway.detect.drift import LEVEL, NO_SHARE, wide
from gateway.detect.kinds import LearntKind
from gateway.detect.regimes import IN_REGIMES, MOST_REGIMES
from gateway.detect.table import Rows

HOUR_S: Final = 3600.0
FEW: Final = 100.0  # steps that hours are added to, as if they had been hours
MOST_STEPS: Final = 500.0
AN_HOUR: Final = 1.5  # steps that go on one by one; what comes each hour steps each hour anyway
SHORT_H: Final = 2.0  # in so long a time the rhythm of a day goes not far…
DAY_H: Final = 24.0  # …and in such a time it comes round
SEEN_H: Final = 30.0  # age from which on a day's rhythm has been seen
HASTE: Final = 1.6  # by so much a bar is higher at first, beyond a watch's `early`
STEADY: Final = 2.0  # a pause is longer than so many times the usual one; what follows a pause is shorter


@dataclass(frozen=True, slots=True)
class Early:
    """Which series are in their first hours, and which of them go on beyond their watch's `early`, with no alarm up."""

    steps: Mask
    beyond: Mask
    age_h: Floats  # of those that are in their first hours


def follow_early(state: Rows, batch: Batch, chosen: Mask, steps: str = "count") -> Early:
    """Which of the chosen are in their first hours; such as no longer are start anew, if they stepped often.

    Until then `hour` is below zero, and tells of the hour in which the series began; `steps` is the field that counts.
    """
    early_s = np.broadcast_to(batch.parameter("early"), len(state))
    hours = batch.ts_s / HOUR_S
    chosen = chosen & (early_s > 0.0) & (batch.ts_s >= 0.0)
    if not chosen.any():
        return Early(chosen, chosen, np.zeros(len(state)))
    begins = chosen & np.isnan(state["hour"])
    state["hour"] = np.where(begins, -1.0 - hours, state["hour"])
    begun = state["hour"].astype(np.float64)
    follows = chosen & (begun < 0.0)
    age_h = hours + begun + 1.0
    young = age_h < early_s / HOUR_S
    count = wide(state, steps)
    goes_on = count >= AN_HOUR * age_h
    counts_anew = np.flatnonzero(follows & ~young & ~goes_on)  # perhaps, as regimes were found, or found to be none
    if len(counts_anew):
        some = state.at(counts_anew)
        goes_on[counts_anew] = (some["kind"] == IN_REGIMES) | (some["width"] < 0.0)
    goes_on &= count < MOST_STEPS
    is_early = follows & (batch.firing | young | goes_on)
    over = np.flatnonzero(follows & ~is_early)
    if len(over):
        _end(state.at(over))
    return Early(is_early, is_early & ~young & ~batch.firing, age_h)


def haste(state: Rows, batch: Batch, early: Early, growth: Floats) -> tuple[Floats, Mask]:
    """By how much devices' bars are raised, which grow with age, and of which devices nothing is told yet.

    Counts a device's readings as its `use`, and keeps the time of the last one as `slow`.
    """
    gap_h, usual_h = (batch.ts_s - state["slow"]) / HOUR_S, early.age_h / np.maximum(wide(state, "use"), 1.0)
    looks_back_h = LEVEL.memory * gap_h
    is_steady = (gap_h <= STEADY * usual_h) & (usual_h <= STEADY * gap_h)
    is_clear = (looks_back_h <= SHORT_H) | (looks_back_h >= DAY_H) | (early.age_h >= SEEN_H)
    state["use"] = np.where(early.steps, wide(state, "use") + 1.0, state["use"])
    state["slow"] = np.where(early.steps, batch.ts_s, state["slow"])
    raised = np.where(early.beyond, np.maximum(growth, HASTE * np.sqrt(growth)), growth)
    return raised, early.beyond & ~(is_steady & is_clear)


def _end(state: Rows) -> None:
    state["hour"] = np.nan
    often = np.flatnonzero(state["count"] > FEW)
    if len(often):
        some = state.at(often)
        for name in ("count", "fast", "spread", "jitter", "falls"):
            some[name] = 0.0
        some["zeros"] = np.where(some["zeros"] < 0.0, some["zeros"], 0.0)
        some["share"] = NO_SHARE
        is_jumping = some["kind"] == IN_REGIMES
        for name in ("use", "covered"):  # leaps that landed near; by those of a level in regimes these are found again
            some[name] = np.where(is_jumping, some[name], 0.0)
        some.flush()
        regimes = np.flatnonzero(is_jumping)
        if len(regimes):
            jumping = some.at(regimes)
            jumping["kind"], jumping["width"] = float(LearntKind.UNSETTLED), 0.0
            jumping.set_lanes("visits", np.zeros((MOST_REGIMES, len(regimes)), np.uint8))
            jumping.flush()
    state.flush()
