"""The first hours of a series, in which every reading may be a step.

A level steps once an hour, so that the rhythm of a day is no drift; of a recording that lasts minutes, that sees
nothing. Where a watch has an `early`, a series that is younger steps with every reading. Then it starts anew, unless
its readings are so rare that it made little difference. While an alarm is up, its first hours go on.
"""

from typing import Final

import numpy as np

from gateway.detect.arrays import Mask
from gateway.detect.detector import Batch
from gateway.detect.drift import NO_SHARE
from gateway.detect.kinds import LearntKind
from gateway.detect.regimes import IN_REGIMES, MOST_REGIMES
from gateway.detect.table import Rows

HOUR_S: Final = 3600.0
FEW: Final = 100.0  # steps that hours are added to, as if they had been hours


def follow_early(state: Rows, batch: Batch, chosen: Mask) -> Mask:
    """Which of the chosen are in their first hours; such as no longer are start anew, if they stepped often.

    Until then `hour` is below zero, and tells of the hour in which the series began.
    """
    early_s = np.broadcast_to(batch.parameter("early"), len(state))
    hours = batch.ts_s / HOUR_S
    chosen = chosen & (early_s > 0.0) & (batch.ts_s >= 0.0)
    if not chosen.any():
        return chosen
    begins = chosen & np.isnan(state["hour"])
    state["hour"] = np.where(begins, -1.0 - hours, state["hour"])
    begun = state["hour"].astype(np.float64)
    follows = chosen & (begun < 0.0)
    is_early = follows & (batch.firing | (hours + begun + 1.0 < early_s / HOUR_S))
    over = np.flatnonzero(follows & ~is_early)
    if len(over):
        _end(state.at(over))
    return is_early


def _end(state: Rows) -> None:
    state["hour"] = np.nan
    often = np.flatnonzero(state["count"] > FEW)
    if len(often):
        some = state.at(often)
        for name in ("count", "fast", "spread", "jitter", "falls"):
            some[name] = 0.0
        some["zeros"] = np.where(some["zeros"] < 0.0, some["zeros"], 0.0)
        some["share"] = NO_SHARE
        some.flush()
        regimes = np.flatnonzero(some["kind"] == IN_REGIMES)
        if len(regimes):
            jumping = some.at(regimes)
            jumping["kind"], jumping["width"] = float(LearntKind.UNSETTLED), 0.0
            jumping.set_lanes("visits", np.zeros((MOST_REGIMES, len(regimes)), np.uint8))
            jumping.flush()
    state.flush()
