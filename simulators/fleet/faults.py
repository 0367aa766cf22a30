"""Labelled faults: what goes wrong, with which device, from when until when. Detectors know nothing of this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from devices.profiles.model import Profile, Watch, parse_span_s
from simulators.fleet.habits import DAY_S, Floats, Span


class FaultKind(StrEnum):
    """What can go wrong with a device, or with its use."""

    ABANDONED = "abandoned"
    STUCK = "stuck"
    DECLINE = "decline"
    BATTERY_DRAIN = "battery_drain"
    EVENT_STORM = "event_storm"
    SILENCE = "silence"
    OVER_TEMPERATURE = "over_temperature"
    BAD_FIRMWARE = "bad_firmware"


WATCHED_BY: Final[Mapping[FaultKind, frozenset[str]]] = {
    FaultKind.ABANDONED: frozenset({"usage_drop"}),
    FaultKind.STUCK: frozenset({"stuck"}),
    FaultKind.DECLINE: frozenset({"decline"}),
    FaultKind.BATTERY_DRAIN: frozenset({"threshold", "decline"}),
    FaultKind.EVENT_STORM: frozenset({"event_burst"}),
    FaultKind.SILENCE: frozenset({"silence"}),
    FaultKind.OVER_TEMPERATURE: frozenset({"threshold"}),
    FaultKind.BAD_FIRMWARE: frozenset({"cohort"}),
}
"""Which detectors are meant for which fault; whether one is at work is asked from the profile's watches."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a fault disturbs: metrics, directly or by the product's physics, events; and whether the device is quiet."""

    metrics: frozenset[str]
    quiet: bool = False


def trace(*metrics: str, quiet: bool = False) -> Trace:
    """A trace in the given metrics."""
    return Trace(frozenset(metrics), quiet)


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one fault of one device."""

    device_id: str
    kind: FaultKind
    starts_at_s: float
    ends_at_s: float | None  # None: it lasts to the end
    trace: Trace
    watched: bool  # whether a watch of the profile is meant for it

    def during(self, ts_s: Floats) -> NDArray[np.bool_]:
        """Which instants lie in the fault."""
        return (ts_s >= self.starts_at_s) & (ts_s < (np.inf if self.ends_at_s is None else self.ends_at_s))

    def progress(self, ts_s: Floats, ramp_s: float) -> Floats:
        """0 outside; inside, rising from 0 to 1 within `ramp_s`."""
        return np.where(self.during(ts_s), np.clip((ts_s - self.starts_at_s) / ramp_s, 0.0, 1.0), 0.0)


def suits(kind: FaultKind, trace: Trace, detector: str, metric: str | None) -> bool:
    """Whether such a watch is meant for such a fault."""
    if metric is None:
        return detector == "silence" and trace.quiet
    return detector in WATCHED_BY[kind] and metric in trace.metrics


def is_watched(profile: Profile, kind: FaultKind, trace: Trace, lasts_s: float) -> bool:
    """Whether the profile has a watch that is meant for such a fault and less patient than the fault is long."""
    return any(
        suits(kind, trace, watch.detector, watch.series) and _patience_s(watch) < lasts_s for watch in profile.watches
    )


def _patience_s(watch: Watch) -> float:
    after = watch.parameters.get("after", 0.0)
    return watch.for_ + float(cast("float", parse_span_s(after)))


def of_kind(labels: Sequence[Label], kind: FaultKind) -> Sequence[Label]:
    """The labels of one kind."""
    return [label for label in labels if label.kind is kind]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """How many devices fall ill, and how often it passes by itself."""

    share: float = 0.25  # of the devices; a bad firmware's cohort comes on top
    healing: float = 0.5
    kinds: tuple[FaultKind, ...] = tuple(kind for kind in FaultKind if kind is not FaultKind.BAD_FIRMWARE)
    within: tuple[Span, ...] = ()  # each falls into one of these, drawn by lot; into the whole time where there is none


def when(span: Span, healing: float, rng: np.random.Generator) -> tuple[float, float | None]:
    """Draw the beginning and the end of a fault: after a time of health, and with time left to see it."""
    starts_at_s = span.start_s + rng.uniform(0.45, 0.8) * span.days * DAY_S
    lasts_s = rng.uniform(0.08, 0.16) * span.days * DAY_S + DAY_S
    ends_at_s = starts_at_s + lasts_s
    heals = rng.random() < healing and ends_at_s < span.end_s - 0.04 * span.days * DAY_S
    return float(starts_at_s), float(ends_at_s) if heals else None
