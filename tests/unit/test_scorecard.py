"""The scorecard says what happened, and says so when something broke."""

from dataclasses import replace
from typing import cast

import pytest

from simulators.fleet.faults import FaultKind, Label, trace
from simulators.fleet.habits import DAY_S, HOUR_S
from simulators.reckoning import count_overlaps
from simulators.scorecard import (
    CaseScore,
    DeliveryScore,
    Scorecard,
    SeenAlarm,
    SilentScore,
    match,
    score,
)

HOT = Label("d1", FaultKind.OVER_TEMPERATURE, 10 * DAY_S, 12 * DAY_S, trace("boiler_temperature"), watched=True)
STUCK = Label("d2", FaultKind.STUCK, 10 * DAY_S, None, trace("heart_rate"), watched=False)
QUIET = Label("d3", FaultKind.SILENCE, 10 * DAY_S, None, trace(quiet=True), watched=True)
LABELS = (HOT, STUCK, QUIET)


def alarm(device_id: str, metric: str | None, at_s: float, known_s: float | None = None) -> SeenAlarm:
    return SeenAlarm(
        f"alm_{device_id}_{at_s}", device_id, "w", metric, at_s, at_s, at_s if known_s is None else known_s
    )


def test_an_alarm_on_what_the_fault_disturbs_finds_it() -> None:
    findings = match(LABELS, [alarm("d1", "boiler_temperature", 10 * DAY_S + HOUR_S)])
    assert set(findings.found) == {0}
    assert not findings.false


@pytest.mark.parametrize(
    "wrong",
    [
        alarm("d9", "boiler_temperature", 10 * DAY_S + HOUR_S),
        alarm("d1", "shots", 10 * DAY_S + HOUR_S),
        alarm("d1", "boiler_temperature", 9 * DAY_S),
        alarm("d1", "boiler_temperature", 13 * DAY_S),
        alarm("d1", None, 11 * DAY_S),
    ],
    ids=["other device", "other metric", "before", "long after", "silence"],
)
def test_any_other_alarm_is_a_false_one(wrong: SeenAlarm) -> None:
    findings = match(LABELS, [wrong])
    assert not findings.found
    assert len(findings.false) == 1


def test_recall_is_over_watched_faults_and_precision_over_everything_reported() -> None:
    found = [alarm("d1", "boiler_temperature", 10 * DAY_S + HOUR_S), alarm("d2", "heart_rate", 11 * DAY_S)]
    result = score(LABELS, match(LABELS, [*found, alarm("d7", "x", 5 * DAY_S)]), device_days=300.0)
    assert result.recall == 0.5
    assert result.precision == pytest.approx(2 / 3)
    assert result.false_alarms_per_device_30d == pytest.approx(0.1)
    assert result.by_kind[FaultKind.STUCK].as_json()["says"] == "no watch is for it"
    assert result.by_kind[FaultKind.SILENCE].as_json()["recall"] == 0.0


def test_several_alarms_about_one_fault_find_it_once() -> None:
    twice = [alarm("d1", "boiler_temperature", 10 * DAY_S + n * HOUR_S) for n in (1, 2)]
    result = score(LABELS, match(LABELS, twice), device_days=30.0)
    assert result.detected == 1
    assert result.precision == 1.0


def test_what_is_synced_late_is_found_late() -> None:
    late = alarm("d1", "boiler_temperature", 10 * DAY_S + HOUR_S, known_s=10 * DAY_S + 6 * HOUR_S)
    assert score(LABELS, match(LABELS, [late]), 30.0).median_time_to_detect_h == pytest.approx(6.0)


def card() -> Scorecard:
    return Scorecard(
        delivery=DeliveryScore(10, 10, 8, 0, 2, 0),
        detection=score(LABELS, match(LABELS, []), 30.0),
        cases=CaseScore(1, 0, 1, 0, 1, 0, 0),
        silent=SilentScore(2, 1, 1, 1),
        alarm_to_crm_p50_s=0.1,
        alarm_to_crm_p99_s=0.2,
        readings_per_s=100.0,
        elapsed_s=1.0,
    )


def test_the_report_has_the_keys_that_were_promised() -> None:
    report = card().as_json()
    assert list(report) == [
        *("published", "acknowledged", "stored", "duplicate_rows", "quarantined", "lost"),
        *("faults", "precision", "recall", "median_time_to_detect_h", "false_alarms_per_device_30d"),
        *("cases", "silent_fixes", "crm", "latency_s", "readings_per_s", "elapsed_s"),
    ]
    nested = {name: list(cast("dict[str, object]", report[name])) for name in ("faults", "cases", "crm", "latency_s")}
    assert nested == {
        "faults": ["injected", "detected", "by_kind"],
        "cases": ["opened", "duplicate", "resolved", "retracted"],
        "crm": ["records", "duplicate_records", "missing"],
        "latency_s": ["alarm_to_crm_p50", "alarm_to_crm_p99"],
    }


def test_nothing_is_broken_when_all_agree() -> None:
    assert card().broken() == []


@pytest.mark.parametrize(
    "broken",
    [
        replace(card(), delivery=DeliveryScore(10, 10, 7, 0, 2, 1)),
        replace(card(), delivery=DeliveryScore(10, 10, 8, 1, 2, 0)),
        replace(card(), delivery=DeliveryScore(10, 10, 9, 0, 2, 0)),
        replace(card(), cases=CaseScore(2, 1, 1, 0, 2, 0, 0)),
        replace(card(), cases=CaseScore(1, 0, 1, 0, 2, 1, 0)),
        replace(card(), cases=CaseScore(1, 0, 1, 0, 0, 0, 1)),
    ],
    ids=["lost", "stored twice", "unaccounted", "double case", "double record", "missing record"],
)
def test_a_broken_invariant_is_said(broken: Scorecard) -> None:
    assert broken.broken()


def test_cases_that_stand_side_by_side_for_one_problem_are_double_and_successors_are_not() -> None:
    def case(opened: int, closed: int | None, problem: str = "boiler") -> dict[str, object]:
        state = "open" if closed is None else "resolved"
        return {"asset_id": "a", "problem": problem, "state": state, "opened_at": opened, "closed_at": closed}

    assert count_overlaps([case(1, 5), case(6, None)]) == 0
    assert count_overlaps([case(1, 7), case(6, None)]) == 1
    assert count_overlaps([case(1, None), case(6, None, problem="pump")]) == 0
