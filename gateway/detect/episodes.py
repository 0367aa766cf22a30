"""From findings to alarms: when one is raised, told again, and over. Device time only.

idle ──breach──▶ pending ──for──▶ active ──calm, keep_firing_for──▶ idle
                    │               │ ▲
                  no breach      silent │ any sample
                    ▼               ▼ │
                   idle            unknown
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Floats
from gateway.detect.detector import Findings
from gateway.detect.groups import rarely
from gateway.detect.table import Field, Rows


class Phase:
    """Where the alarm of a series stands. Numbers: to hold a few against an enum's member takes five times as long."""

    IDLE: Final = 0
    PENDING: Final = 1
    ACTIVE: Final = 2
    UNKNOWN: Final = 3


class Step:
    """What a sample did to the alarm of its series."""

    NOTHING: Final = 0
    RAISED: Final = 1
    UPDATED: Final = 2
    CLEARED: Final = 3


EPISODE_FIELDS: Final[Sequence[Field]] = (
    Field("newest_s", initial=-np.inf),  # newest judged sample
    Field("phase", "f4"),
    *rarely(
        "episode",
        (
            Field("pending_s", group="episode"),  # since when the breach lasts
            Field("began_s", initial=-np.inf, group="episode"),  # when the present or last episode began: names it
            Field("calm_s", initial=np.nan, group="episode"),  # since when the calm lasts
            Field("told_s", group="episode"),  # when it was last told of
            Field("told_score", "f4", group="episode"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the watches say of episodes, [n] each or one number for all."""

    for_s: Floats | float
    keep_firing_for_s: Floats | float
    update_every_s: float
    update_score: float


def step(state: Rows, ts_s: Floats, findings: Findings, rules: Rules) -> npt.NDArray[np.int8]:
    """Advance the alarms of some series, each by one sample that is not late; gives a Step for each."""
    phase, began_s = state["phase"], state["began_s"]
    breach, calm, score = findings.breach, findings.calm, findings.score

    trouble_s = ts_s if findings.began_s is None else np.fmin(findings.began_s, ts_s)
    # An episode is named by its start, so no two of a series may share one.
    trouble_s = np.where(trouble_s > began_s, trouble_s, ts_s)
    begins = (phase == Phase.IDLE) & breach & (trouble_s > began_s)
    pending_s = np.where(begins, ts_s, state["pending_s"])
    waiting = begins | ((phase == Phase.PENDING) & breach)
    raised = waiting & (ts_s - pending_s >= rules.for_s)
    # With `for`, the trouble began with the first breach of the wait, not with the sample that ended it.
    trouble_s = pending_s if findings.began_s is None else np.fmin(trouble_s, pending_s)
    began_s = np.where(raised & (trouble_s > began_s), trouble_s, np.where(raised, ts_s, began_s))

    was_up = phase >= Phase.ACTIVE
    calm_s = np.where(was_up & calm, np.fmin(state["calm_s"], ts_s), np.nan)
    cleared = was_up & calm & (ts_s - calm_s >= rules.keep_firing_for_s)
    told_s, told_score = state["told_s"], state["told_score"]
    news = (phase == Phase.UNKNOWN) | (score >= told_score + rules.update_score)
    updated = was_up & ~cleared & (news | (ts_s - told_s >= rules.update_every_s))

    up = raised | (was_up & ~cleared)
    state["phase"] = np.where(up, Phase.ACTIVE, np.where(waiting, Phase.PENDING, Phase.IDLE)).astype(np.float64)
    state["pending_s"], state["began_s"], state["calm_s"] = pending_s, began_s, calm_s
    told = raised | updated | cleared
    state["told_s"] = np.where(told, ts_s, told_s)
    state["told_score"] = np.where(told, score, told_score)
    state.flush()
    return np.select([raised, updated, cleared], [Step.RAISED, Step.UPDATED, Step.CLEARED], Step.NOTHING).astype(
        np.int8
    )
