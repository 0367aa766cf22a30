"""How true the cases were, and what the budget let through of what detection found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from simulators.api_client import Json, epoch_s
from simulators.fleet.faults import Label
from simulators.fleet.habits import DAY_S
from simulators.reckoning import seen_alarms
from simulators.scorecard import SeenAlarm, match


@dataclass(frozen=True, slots=True)
class Watched:
    """The time that counts, and the devices."""

    from_s: float
    until_s: float
    devices: int

    @property
    def days(self) -> float:
        """How long."""
        return (self.until_s - self.from_s) / DAY_S


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of the watched time; a case is true if one of its alarms tells of a fault."""

    faults: int
    faults_with_alarm: int
    faults_with_case: int
    recall: float | None  # of all faults
    recall_of_found: float | None  # of those that an alarm told of
    alarms: int
    alarm_precision: float | None
    cases: int
    true_cases: int
    precision: float | None
    precision_by_week: list[str]
    false_cases_per_thousand_devices_per_day: float
    false_alarms_per_thousand_devices_per_day: float
    most_cases_a_day: int
    held_back: dict[str, int]  # alarms without a case, by the budget's verdict, over the whole run
    by_kind: dict[str, str]

    def as_json(self) -> dict[str, object]:
        """For the report."""
        return asdict(self)


def judge(
    labels: Sequence[Label],
    alarms: Sequence[Json],
    cases: Sequence[Json],
    watched: Watched,
    held_back: Mapping[str, int],
) -> Score:
    """Score a run; cases and alarms of before the watched time are left out."""
    seen = [alarm for alarm in seen_alarms(alarms) if alarm.known_at_s >= watched.from_s]
    findings = match(labels, seen)
    true_ids = {alarm.alarm_id for alarm in seen} - {alarm.alarm_id for alarm in findings.false}
    opened = [case for case in cases if epoch_s(case["opened_at"]) >= watched.from_s and is_opened(case)]
    by_id = {alarm.alarm_id: alarm for alarm in seen}
    true_cases = [case for case in opened if any(name in true_ids for name in alarm_ids(case))]
    told = _told(labels, true_cases, by_id)
    thousand_days = watched.devices * watched.days / 1000.0
    a_day = Counter(int(epoch_s(case["opened_at"]) // DAY_S) for case in opened)
    return Score(
        faults=len(labels),
        faults_with_alarm=len(findings.found),
        faults_with_case=len(told),
        recall=_share(len(told), len(labels)),
        recall_of_found=_share(len(told), len(findings.found)),
        alarms=len(seen),
        alarm_precision=_share(len(true_ids), len(seen)),
        cases=len(opened),
        true_cases=len(true_cases),
        precision=_share(len(true_cases), len(opened)),
        precision_by_week=_by_week(opened, true_cases, watched),
        false_cases_per_thousand_devices_per_day=round((len(opened) - len(true_cases)) / thousand_days, 4),
        false_alarms_per_thousand_devices_per_day=round(len(findings.false) / thousand_days, 4),
        most_cases_a_day=max(a_day.values(), default=0),
        held_back=dict(held_back),
        by_kind=_by_kind(labels, set(findings.found), told),
    )


def is_opened(case: Json) -> bool:
    """Whether anybody heard of a case."""
    moves = cast("Sequence[Json]", case["transitions"])
    return any(str(move["to_state"]) == "open" for move in moves)


def alarm_ids(case: Json) -> list[str]:
    """The alarms of a case."""
    return [str(alarm["alarm_id"]) for alarm in cast("Sequence[Json]", case["alarms"])]


def _told(labels: Sequence[Label], cases: Sequence[Json], by_id: Mapping[str, SeenAlarm]) -> set[int]:
    known = [by_id[name] for case in cases for name in alarm_ids(case) if name in by_id]
    return {n for n, label in enumerate(labels) if any(alarm.tells_of(label) for alarm in known)}


def _by_week(opened: Sequence[Json], true_cases: Sequence[Json], watched: Watched) -> list[str]:
    def week(case: Json) -> int:
        return int((epoch_s(case["opened_at"]) - watched.from_s) // (7 * DAY_S))

    total, right = Counter(map(week, opened)), Counter(map(week, true_cases))
    return [f"{right[n]}/{total[n]}" for n in sorted(total)]


def _by_kind(labels: Sequence[Label], found: set[int], told: set[int]) -> dict[str, str]:
    kinds = sorted({label.kind for label in labels})
    return {
        str(kind): "/".join(
            str(sum(1 for n, label in enumerate(labels) if label.kind is kind and (chosen is None or n in chosen)))
            for chosen in (told, found, None)
        )
        for kind in kinds
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
