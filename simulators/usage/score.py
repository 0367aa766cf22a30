"""How well alarms tell of the faults: soon, and of nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from simulators.usage.faults import SLOW, FaultKind
from simulators.usage.population import Device

FULL_CREDIT_H: Final = 24.0  # an alarm within this time of a fault's beginning is worth 1
NO_CREDIT_H: Final = 7 * 24.0  # one after this time is worth nothing; in between the worth falls evenly
SLOW_FULL_CREDIT_H: Final = 7 * 24.0  # the same for a decline, which at its beginning cannot be seen
SLOW_NO_CREDIT_H: Final = 21 * 24.0
TAIL_H: Final = 24.0  # what is raised so soon after a fault's end is the fault's too
FALSE_ALARM_PRICE: Final = 50.0


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that was raised, in hours of the calendar."""

    device: str
    hour: float
    kind: str  # of the detector that raised it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault."""

    kind: FaultKind
    after_h: float | None
    detector: str  # that found it first, or nothing


@dataclass(frozen=True, slots=True)
class KindScore:
    """The faults of one kind."""

    faults: int
    found: int
    credit: float  # mean over all faults
    median_h: float | None  # of those found
    by: Mapping[str, int]  # detector -> faults that it found first


@dataclass(frozen=True, slots=True)
class UsageScore:
    """All faults, and all alarms beside them."""

    faults: Sequence[Outcome]
    false_alarms: Mapping[str, int]  # by detector
    device_30_days: float  # outside the faults

    @property
    def kinds(self) -> Mapping[str, KindScore]:
        """By kind of fault, of those that there were."""
        there = {one.kind for one in self.faults}
        return {
            kind.value: _sum_up([one for one in self.faults if one.kind is kind]) for kind in FaultKind if kind in there
        }

    @property
    def total(self) -> KindScore:
        """All kinds."""
        return _sum_up(self.faults)

    @property
    def false_rate(self) -> float:
        """False alarms per device and 30 days."""
        return sum(self.false_alarms.values()) / self.device_30_days

    @property
    def precision(self) -> float:
        """Faults found, of these and the false alarms."""
        said = self.total.found + sum(self.false_alarms.values())
        return self.total.found / said if said else 1.0

    @property
    def figure(self) -> float:
        """100 times the mean timely credit, less 50 for each false alarm per device and 30 days."""
        return 100 * self.total.credit - FALSE_ALARM_PRICE * self.false_rate


def credit_of(kind: FaultKind, after_h: float | None) -> float:
    """1 for a fault found at once, falling to 0."""
    if after_h is None:
        return 0.0
    is_slow = kind in SLOW
    full = SLOW_FULL_CREDIT_H if is_slow else FULL_CREDIT_H
    none = SLOW_NO_CREDIT_H if is_slow else NO_CREDIT_H
    return min(max((none - after_h) / (none - full), 0.0), 1.0)


def score(devices: Sequence[Device], hours: int, raised: Sequence[Raised]) -> UsageScore:
    """Every alarm while a fault lasts tells of it; the first one counts. All others are false, whoever raised them."""
    of_device: dict[str, list[Raised]] = {device.name: [] for device in devices}
    for alarm in raised:
        of_device[alarm.device].append(alarm)
    found: list[Outcome] = []
    false: dict[str, int] = {}
    clean_h = 0.0
    for device in devices:
        fault, alarms = device.fault, sorted(of_device[device.name], key=lambda alarm: alarm.hour)
        clean_h += hours - (0 if fault is None else fault.end - fault.start)
        inside = [alarm for alarm in alarms if fault and fault.start <= alarm.hour < fault.end + TAIL_H]
        if fault is not None:
            first = inside[0] if inside else None
            after_h = None if first is None else first.hour - fault.start
            found.append(Outcome(fault.kind, after_h, first.kind if first else ""))
        for alarm in alarms:
            if alarm not in inside:
                false[alarm.kind] = false.get(alarm.kind, 0) + 1
    return UsageScore(found, dict(sorted(false.items())), clean_h / 24 / 30)


def merge(scores: Sequence[UsageScore]) -> UsageScore:
    """Several populations as one."""
    false: dict[str, int] = {}
    for one in scores:
        for kind, count in one.false_alarms.items():
            false[kind] = false.get(kind, 0) + count
    return UsageScore(
        faults=[fault for one in scores for fault in one.faults],
        false_alarms=dict(sorted(false.items())),
        device_30_days=sum(one.device_30_days for one in scores),
    )


def _sum_up(faults: Sequence[Outcome]) -> KindScore:
    times = [one.after_h for one in faults if one.after_h is not None]
    by: dict[str, int] = {}
    for one in faults:
        if one.detector:
            by[one.detector] = by.get(one.detector, 0) + 1
    worth = [credit_of(one.kind, one.after_h) for one in faults]
    return KindScore(
        faults=len(faults),
        found=len(times),
        credit=sum(worth) / len(worth) if worth else 0.0,
        median_h=median(times) if times else None,
        by=dict(sorted(by.items())),
    )
