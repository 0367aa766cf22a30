"""How well it went, in numbers that a product manager understands: labels against alarms, deliveries against rows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from simulators.fleet.faults import FaultKind, Label
from simulators.fleet.habits import DAY_S, HOUR_S

BEFORE_S: Final = HOUR_S
"""A device's clock may be wrong by minutes: an alarm this little before a fault's beginning is still the fault's."""

AFTER_S: Final = DAY_S / 2
"""A decision may come this long after a fault passed: what devices sync late is judged late."""


@dataclass(frozen=True, slots=True)
class SeenAlarm:
    """An alarm, as far as the score is concerned."""

    alarm_id: str
    device_id: str
    watch: str
    metric: str | None
    started_at_s: float  # device time
    decided_at_s: float  # device time of the decision to raise it
    known_at_s: float  # when the gateway raised it, on its own clock

    def tells_of(self, label: Label) -> bool:
        """Whether this alarm is about what the fault disturbs, while it lasts."""
        if self.device_id != label.device_id:
            return False
        until_s = float("inf") if label.ends_at_s is None else label.ends_at_s + AFTER_S
        if not label.starts_at_s - BEFORE_S <= self.decided_at_s <= until_s:
            return False
        return label.trace.quiet if self.metric is None else self.metric in label.trace.metrics


@dataclass(frozen=True, slots=True)
class Findings:
    """Which alarm found which fault, and which alarms were false."""

    found: Mapping[int, SeenAlarm]  # index of the label -> the first alarm that tells of it
    false: Sequence[SeenAlarm]


def match(labels: Sequence[Label], alarms: Iterable[SeenAlarm]) -> Findings:
    """Match alarms with faults; an alarm that tells of no fault is a false one, whatever device it is on."""
    by_device: defaultdict[str, list[int]] = defaultdict(list)
    for n, label in enumerate(labels):
        by_device[label.device_id].append(n)
    found: dict[int, SeenAlarm] = {}
    false: list[SeenAlarm] = []
    for alarm in sorted(alarms, key=lambda alarm: alarm.known_at_s):
        told = [n for n in by_device[alarm.device_id] if alarm.tells_of(labels[n])]
        for n in told:
            found.setdefault(n, alarm)
        if not told:
            false.append(alarm)
    return Findings(found, false)


@dataclass(frozen=True, slots=True)
class KindScore:
    """One kind of fault: how many there were, how many of them a watch is meant for, how many were found."""

    injected: int
    watched: int
    detected: int  # watched or not
    detected_watched: int
    median_time_to_detect_h: float | None

    def as_json(self) -> dict[str, object]:
        """For the report."""
        return {
            "injected": self.injected,
            "detected": self.detected,
            "watched": self.watched,
            "recall": self.detected_watched / self.watched if self.watched else None,
            "median_time_to_detect_h": _rounded(self.median_time_to_detect_h),
            "says": "watched" if self.watched else "no watch is for it",
        }


@dataclass(frozen=True, slots=True)
class DetectionScore:
    """Detection, over all labelled faults; recall is over those that a watch is meant for."""

    by_kind: Mapping[FaultKind, KindScore]
    precision: float | None  # faults found, of these and the false alarms
    recall: float | None
    median_time_to_detect_h: float | None
    false_alarms: int
    false_alarms_per_device_30d: float | None  # None where nobody knows the truth

    @property
    def injected(self) -> int:
        """All labelled faults."""
        return sum(kind.injected for kind in self.by_kind.values())

    @property
    def detected(self) -> int:
        """Those that were found."""
        return sum(kind.detected for kind in self.by_kind.values())


def score(labels: Sequence[Label], findings: Findings, device_days: float) -> DetectionScore:
    """Score what was found; `device_days` is the number of devices times the days they lived."""
    kinds = {kind: _score_kind(kind, labels, findings) for kind in FaultKind if any(x.kind is kind for x in labels)}
    watched = sum(kind.watched for kind in kinds.values())
    detected, false = len(findings.found), len(findings.false)
    return DetectionScore(
        by_kind=kinds,
        precision=detected / (detected + false) if labels and detected + false else None,
        recall=sum(kind.detected_watched for kind in kinds.values()) / watched if watched else None,
        median_time_to_detect_h=_median(_delay_h(labels[n], alarm) for n, alarm in findings.found.items()),
        false_alarms=false,
        false_alarms_per_device_30d=false / device_days * 30 if labels and device_days else None,
    )


def _score_kind(kind: FaultKind, labels: Sequence[Label], findings: Findings) -> KindScore:
    mine = [n for n, label in enumerate(labels) if label.kind is kind]
    found = [n for n in mine if n in findings.found]
    return KindScore(
        injected=len(mine),
        watched=sum(labels[n].watched for n in mine),
        detected=len(found),
        detected_watched=sum(labels[n].watched for n in found),
        median_time_to_detect_h=_median(_delay_h(labels[n], findings.found[n]) for n in found),
    )


def _delay_h(label: Label, alarm: SeenAlarm) -> float:
    """Hours from the fault's beginning until somebody could know: decided by device time, raised by the gateway's."""
    return max(0.0, max(alarm.decided_at_s, alarm.known_at_s) - label.starts_at_s) / HOUR_S


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


@dataclass(frozen=True, slots=True)
class DeliveryScore:
    """Readings: what the simulator knows to be acknowledged against what the gateway says it holds."""

    published: int
    acknowledged: int
    stored: int
    duplicate_rows: int
    quarantined: int
    lost: int

    @property
    def unaccounted(self) -> int:
        """By how many stored and quarantined readings miss the acknowledged ones."""
        return self.stored + self.quarantined - self.acknowledged


@dataclass(frozen=True, slots=True)
class CaseScore:
    """Cases in the gateway, and their records in the CRM."""

    opened: int
    duplicate: int
    resolved: int
    retracted: int
    records: int
    duplicate_records: int
    missing: int  # cases without a record, and records without a case


@dataclass(frozen=True, slots=True)
class SilentScore:
    """Products that were told to mend themselves before anybody was told of their fault."""

    told: int  # commands
    fixed: int  # cases that careloop calls fixed before noticed
    mended: int  # commands that really ended a fault, as the simulator knows
    people_needed: int  # cases in which it did not help, and people were told


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Everything that a run is judged by."""

    delivery: DeliveryScore
    detection: DetectionScore
    cases: CaseScore
    silent: SilentScore
    alarm_to_crm_p50_s: float | None
    alarm_to_crm_p99_s: float | None
    readings_per_s: float
    elapsed_s: float

    def broken(self) -> list[str]:
        """The invariants that broke, in words; empty when all held."""
        wrong = {
            "acknowledged readings are lost": self.delivery.lost,
            "readings are stored twice": self.delivery.duplicate_rows,
            "readings are stored or quarantined that were not acknowledged, or the reverse": self.delivery.unaccounted,
            "cases stand beside another open one for the same problem": self.cases.duplicate,
            "CRM records are there twice": self.cases.duplicate_records,
            "cases and CRM records lack their counterpart": self.cases.missing,
        }
        return [f"{abs(count)} {words}" for words, count in wrong.items() if count]

    def as_json(self) -> dict[str, object]:
        """The report."""
        delivery, detection, cases = self.delivery, self.detection, self.cases
        return {
            "published": delivery.published,
            "acknowledged": delivery.acknowledged,
            "stored": delivery.stored,
            "duplicate_rows": delivery.duplicate_rows,
            "quarantined": delivery.quarantined,
            "lost": delivery.lost,
            "faults": {
                "injected": detection.injected,
                "detected": detection.detected,
                "by_kind": {kind.value: found.as_json() for kind, found in detection.by_kind.items()},
            },
            "precision": _rounded(detection.precision, 4),
            "recall": _rounded(detection.recall, 4),
            "median_time_to_detect_h": _rounded(detection.median_time_to_detect_h),
            "false_alarms_per_device_30d": _rounded(detection.false_alarms_per_device_30d, 4),
            "cases": {
                "opened": cases.opened,
                "duplicate": cases.duplicate,
                "resolved": cases.resolved,
                "retracted": cases.retracted,
            },
            "silent_fixes": {
                "told": self.silent.told,
                "fixed_before_noticed": self.silent.fixed,
                "mended": self.silent.mended,
                "people_needed": self.silent.people_needed,
            },
            "crm": {
                "records": cases.records,
                "duplicate_records": cases.duplicate_records,
                "missing": cases.missing,
            },
            "latency_s": {
                "alarm_to_crm_p50": _rounded(self.alarm_to_crm_p50_s, 4),
                "alarm_to_crm_p99": _rounded(self.alarm_to_crm_p99_s, 4),
            },
            "readings_per_s": round(self.readings_per_s, 1),
            "elapsed_s": round(self.elapsed_s, 2),
        }
