"""One detector at work: the state of all its series, and the watches that they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.errors import ConfigError, Fault
from devices.profiles.model import Profile, Severity, Watch
from gateway.detect.arrays import Floats, Indices
from gateway.detect.deadlines import QUEUED, Deadlines
from gateway.detect.detector import (
    CombiningDetector,
    DeadlineDetector,
    Detector,
    EventDetector,
    LookingAroundDetector,
    PairingDetector,
    Parameters,
    SeriesDetector,
    code_of,
    resolve_parameters,
)
from gateway.detect.episodes import EPISODE_FIELDS
from gateway.detect.groups import OWNER
from gateway.detect.native.compiled import Compiled, LaneLoop
from gateway.detect.native.ledger import Ledger
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Journal, Rows, Table
from gateway.detect.words import unit_of

OWNER_FIELDS: Final[Sequence[Field]] = (
    Field("device", "i4", -1, group=OWNER),  # the device's slot; -1 for a slot given back
    Field("watch", "i4", -1, group=OWNER),  # the watch's number at this station
)
LAST_SECOND: Final = 2.0**32 - 1  # in 2106
FOR: Final = "watch.for"
KEEP_FIRING_FOR: Final = "watch.keep_firing_for"


@dataclass(frozen=True, slots=True)
class Binding:
    """A watch of a profile, ready to be used."""

    model: str
    watch: str
    metric: str | None
    unit: str
    problem: str
    severity: Severity
    parameters: dict[str, float]


class Station:
    """A detector, its table, and the watches that name it."""

    def __init__(self, name: str, detector: Detector, journal: Journal, ledger: Ledger | None = None) -> None:
        self.name = name
        self.detector = detector
        self.series = detector if isinstance(detector, SeriesDetector) else None
        self.deadline = detector if isinstance(detector, DeadlineDetector) else None
        self.combining = detector if isinstance(detector, CombiningDetector) else None
        self.pairing = detector if isinstance(detector, PairingDetector) else None
        self.fewest_parts = 0 if self.combining is None else self.combining.fewest_parts
        self.counts_events = isinstance(detector, EventDetector)
        self.has_begun = False  # whether any series has had an event; once True, it stays so
        self.looks_around = isinstance(detector, PairingDetector | LookingAroundDetector)
        self.evidence_points = self.series.evidence_points if self.series else 0
        self.table = Table([*self._own_fields(), *detector.fields], journal)
        self.deadlines = Deadlines(self.table)
        self.bindings: list[Binding] = []
        self.parameters = Parameters()
        if len(self.table.fields) != len(self._own_fields()) + len(detector.fields):
            raise ConfigError([Fault(f"detector {name}: fields", "a name twice", "names that are not yet taken")])
        names = (FOR, KEEP_FIRING_FOR, *(parameter.name for parameter in detector.parameters))
        self.compiled = None if ledger is None else Compiled.of(ledger, detector, self.table, names)

    def _own_fields(self) -> list[Field]:
        fields = [*OWNER_FIELDS, *EPISODE_FIELDS]
        if self.deadline is not None:
            fields.append(QUEUED)
        if self.evidence_points:
            fields += [
                Field("recent", "f4"),  # how many samples were kept; once all places are used, counted round and round
                Field("recent_samples", "u8", lanes=self.evidence_points, apart=True),  # time and value: one access
            ]
        return fields

    def bind(self, profile: Profile, watch: Watch, settings: DetectSettings) -> int:
        """Take on a watch; gives its number here. Raises ConfigError."""
        metric = profile.metrics.get(watch.metric) if watch.metric is not None else None
        where = f"profile {profile.model}"
        if watch.event is not None and not self.counts_events:
            raise ConfigError([Fault(f"{where}: watch {watch.name}: event", repr(watch.event), "none: it counts none")])
        if (watch.series is None) != (self.series is None) and not (watch.series is None and self.combining):
            wanted = "a metric" if self.series else "no metric: it watches the device as a whole"
            raise ConfigError([Fault(f"{where}: watch {watch.name}: metric", repr(watch.metric), wanted)])
        parameters = resolve_parameters(self.detector, watch, metric, settings, where)
        if watch.per is not None:
            if self.pairing is None or watch.per == watch.metric:
                wanted = "another metric" if self.pairing else f"none: {self.name} compares with no other metric"
                raise ConfigError([Fault(f"{where}: watch {watch.name}: per", repr(watch.per), wanted)])
            parameters[self.pairing.companion] = float(code_of(watch.per))
        self.parameters.append({FOR: watch.for_, KEEP_FIRING_FOR: watch.keep_firing_for, **parameters})
        self.bindings.append(
            Binding(
                model=profile.model,
                watch=watch.name,
                metric=watch.series,
                unit=metric.unit if metric else unit_of(watch.metric),
                problem=profile.problem_of(watch),
                severity=watch.severity,
                parameters=parameters,
            )
        )
        return len(self.bindings) - 1

    def open(self, devices: Indices, watches: Indices) -> Indices:
        """New slots, in their initial state, for these devices and watches."""
        index = self.table.allocate(len(devices))
        # Past the journal: a slot stays its device's, even if what was judged in it is undone.
        self.table.column("device")[index] = devices
        self.table.column("watch")[index] = watches
        return index

    def look_for_events(self) -> None:
        """Note whether any series has had an event, after states were taken over."""
        if self.counts_events and not self.has_begun:
            self.has_begun = bool((self.table.column("seen") > 0).any())

    def metric_called(self, code: int) -> str:
        """The metric with this code, among those that are watched here; empty for none."""
        return next((own.metric for own in self.bindings if own.metric and code_of(own.metric) == code), "")

    def loop(
        self, lane: tuple[Indices, Indices, Indices, Indices, Indices], settings: DetectSettings
    ) -> LaneLoop | None:
        """The compiled loop over watches: columns, numbers here, metrics' columns; all parts, and their codes."""
        if self.compiled is None:
            return None
        rules = (self.evidence_points, settings.update_every, settings.update_score)
        return LaneLoop(self.compiled, self.parameters, lane, rules)

    def remember(self, state: Rows, ts_s: Floats, value: Floats) -> None:
        """Keep samples for later explanations."""
        kept, points = state["recent"], self.evidence_points
        lane = np.where(kept < points, kept, kept - points)
        # A time in whole seconds and a value in single precision, in one cell.
        pairs = np.empty((len(kept), 2), np.uint32)
        pairs[:, 0] = np.clip(ts_s, 0.0, LAST_SECOND)
        pairs[:, 1] = value.astype(np.float32).view(np.uint32)
        state.set_cell("recent_samples", lane.astype(np.int64), pairs.view(np.uint64)[:, 0])
        state["recent"] = np.where(kept + 1 < 2 * points, kept + 1, np.float32(points))

    def recall(self, state: Rows) -> tuple[tuple[float, float], ...]:
        """The samples kept of one series, oldest first."""
        if not self.evidence_points:
            return ()
        kept = int(state["recent"][0])
        lanes = np.arange(max(0, kept - self.evidence_points), kept) % self.evidence_points
        pairs = state.vector("recent_samples")[0, lanes].view(np.uint32).reshape(-1, 2)
        values = pairs[:, 1].copy().view(np.float32)
        return tuple((float(at), float(f"{value:.7g}")) for at, value in zip(pairs[:, 0], values, strict=True))
