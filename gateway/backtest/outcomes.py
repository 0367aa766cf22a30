"""What alarms, cases and people come to in a span of history, whoever decided it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

from gateway.backtest.replay import Decided

PROPOSED: Final = frozenset({"proposed", "approved", "expired"})


@dataclass(frozen=True, slots=True)
class Alarm:
    """One episode; `raised_at_s` is the history's clock, the others are device time."""

    device_id: str
    watch: str
    kind: str
    metric: str | None
    problem: str
    severity: str
    state: str
    raised_at_s: float
    started_at_s: float
    ended_at_s: float | None
    text: str
    expected: str

    @property
    def lasted_s(self) -> float | None:
        """How long it lasted; None while it goes on."""
        return None if self.ended_at_s is None else max(0.0, self.ended_at_s - self.started_at_s)

    def overlaps(self, other: "Alarm") -> bool:
        """Whether both tell of the same trouble."""
        is_same = (self.device_id, self.watch) == (other.device_id, other.watch)
        return is_same and _overlap((self.started_at_s, self.ended_at_s), (other.started_at_s, other.ended_at_s))


@dataclass(frozen=True, slots=True)
class Case:
    """One case; instants are the history's clock."""

    case_id: str
    asset_id: str
    device_id: str
    problem: str
    severity: str
    state: str
    opened_at_s: float
    closed_at_s: float | None
    resolution: str | None
    outcome: str | None  # what people or telemetry have said of it: true, false, unclear
    relapses: int

    def overlaps(self, other: "Case") -> bool:
        """Whether both are about the same trouble of the same product."""
        is_same = (self.asset_id, self.problem) == (other.asset_id, other.problem)
        return is_same and _overlap((self.opened_at_s, self.closed_at_s), (other.opened_at_s, other.closed_at_s))


def _overlap(one: tuple[float, float | None], other: tuple[float, float | None]) -> bool:
    return (one[1] is None or other[0] <= one[1]) and (other[1] is None or one[0] <= other[1])


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often a gate said no or not yet, and about how many people, or products without a known owner."""

    subject: str  # case, step, message
    gate: str
    outcome: str  # hold, refuse
    reason: str
    detail: str  # of the budget: which of its limits
    decisions: int
    people: int


@dataclass(frozen=True, slots=True)
class Contact:
    """How many people were written to on a channel, and how often."""

    channel: str
    people: int
    steps: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a span came to."""

    alarms: Sequence[Alarm] = ()
    cases: Sequence[Case] = ()
    refusals: Sequence[Refusal] = ()
    contacts: Sequence[Contact] = ()
    failed_notices: int = 0

    @property
    def opened(self) -> Sequence[Case]:
        """Cases that a team would have seen."""
        return [case for case in self.cases if case.state not in PROPOSED]

    @property
    def proposed(self) -> Sequence[Case]:
        """Cases that waited for a person's yes, and did not get it."""
        return [case for case in self.cases if case.state in PROPOSED]


@dataclass(frozen=True, slots=True)
class WatchOutcome:
    """What one watch came to."""

    watch: str
    kind: str
    raised: int
    cleared: int
    devices: int
    median_duration_s: float | None  # of those that are over


def by_watch(alarms: Iterable[Alarm]) -> list[WatchOutcome]:
    """Alarms by watch and kind, the loudest first."""
    grouped: dict[tuple[str, str], list[Alarm]] = {}
    for alarm in alarms:
        grouped.setdefault((alarm.watch, alarm.kind), []).append(alarm)
    told = [_of_watch(watch, kind, its) for (watch, kind), its in grouped.items()]
    return sorted(told, key=lambda each: (-each.raised, each.watch))


def _of_watch(watch: str, kind: str, alarms: Sequence[Alarm]) -> WatchOutcome:
    lasted = [alarm.lasted_s for alarm in alarms if alarm.lasted_s is not None]
    return WatchOutcome(
        watch=watch,
        kind=kind,
        raised=len(alarms),
        cleared=len(lasted),
        devices=len({alarm.device_id for alarm in alarms}),
        median_duration_s=median(lasted) if lasted else None,
    )


@dataclass(slots=True)
class AlarmLog:
    """Alarms as a replay tells of them."""

    _alarms: dict[tuple[str, str, float], Alarm] = field(default_factory=dict[tuple[str, str, float], Alarm])

    def take(self, decided: Decided) -> None:
        """Note a change."""
        change = decided.change
        key = (change.device_id, change.watch, change.started_at_s)
        known = self._alarms.get(key)
        is_over = change.event in {"cleared", "retracted"}
        state = change.event if change.event not in {"raised", "updated"} else "active"
        ended_at_s = change.ts_s if is_over else None
        if known is not None:
            # What was said when it was raised stands: people ask why, and it is told beside that moment.
            self._alarms[key] = replace(known, state=state, ended_at_s=ended_at_s, severity=str(change.severity))
            return
        self._alarms[key] = Alarm(
            device_id=change.device_id,
            watch=change.watch,
            kind=str(change.kind),
            metric=change.metric,
            problem=change.problem,
            severity=str(change.severity),
            state=state,
            raised_at_s=decided.at_s,
            started_at_s=change.started_at_s,
            ended_at_s=ended_at_s,
            text=change.explanation.text,
            expected=change.explanation.expected,
        )

    def raised_between(self, since_s: float, until_s: float) -> list[Alarm]:
        """Those that were raised in a span of the history's clock, in order."""
        found = [alarm for alarm in self._alarms.values() if since_s <= alarm.raised_at_s < until_s]
        return sorted(found, key=lambda alarm: (alarm.raised_at_s, alarm.device_id, alarm.watch))
