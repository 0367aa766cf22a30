"""What goes into the detectors, and what comes out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from devices.profiles.model import Profile, Severity
from gateway.detect.arrays import Floats, Indices

LARGEST: Final = 1e30
"""A value further from zero than this is no measurement, and is taken as absent."""

AlarmEvent = Literal["raised", "updated", "unknown", "cleared", "retracted"]
"""The last is no detector's: late readings leave no cause for the alarm."""


class Kind(StrEnum):
    """What sort of trouble an alarm tells of."""

    THRESHOLD = "threshold"
    RECORD = "record"
    USAGE_DROP = "usage_drop"
    USAGE_SURGE = "usage_surge"
    DECLINE = "decline"
    STUCK = "stuck"
    EVENT_BURST = "event_burst"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an alarm is as it is, in words and in the numbers behind them."""

    text: str
    expected: str
    observed: str
    window_s: float  # how much device time the judgement looks at
    evidence: tuple[tuple[float, float], ...]  # (ts_s, value), oldest first
    detector: str
    version: int
    score: float


@dataclass(frozen=True, slots=True)
class AlarmChange:
    """One step in the life of an alarm; (device_id, watch, started_at_s) names the episode."""

    device_id: str
    watch: str
    kind: Kind
    metric: str | None
    problem: str
    severity: Severity
    event: AlarmEvent
    started_at_s: float  # device time at which the trouble began
    ts_s: float  # device time of the sample that decided, never before started_at_s
    score: float  # 0 to 1
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Samples:
    """Readings of devices of one profile, in the order of their arrival: n readings, m metrics."""

    profile: Profile
    device_ids: tuple[str, ...]  # each device once
    device: npt.NDArray[np.int32]  # [n], into device_ids
    ts_s: Floats  # [n], device time
    alive_s: Floats | float  # healthy time at receipt; one number means all at once
    metrics: tuple[str, ...]
    values: Floats  # [n, m]; NaN means that the reading has no such metric
    numbers: Indices | None = None
    """What `Engine.numbers_of` gave for the devices, in place of looking up thousands of ids each time."""
    row: Indices | None = None
    """[n], rising: where each stands among all that arrived with it, events too; None where no events did."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events of devices, in the order of their arrival: n events."""

    device_ids: tuple[str, ...]  # each device once
    profiles: tuple[Profile | None, ...]  # of each device, in case that it is new here; None: then it is passed over
    device: npt.NDArray[np.int32]  # [n], into device_ids
    ts_s: Floats  # [n], device time
    codes: tuple[str, ...]
    code: npt.NDArray[np.int32]  # [n], into codes
    row: Indices  # [n], rising: as of `Samples`
