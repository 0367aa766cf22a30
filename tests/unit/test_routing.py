"""Whose case it is, and until when: teams with hours, holidays, a clock that changes, and somebody who stands in."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from crm_sync.routing import due_s, is_there, next_there_s, route
from crm_sync.settings import CrmSettings
from crm_sync.team_settings import WEEKDAYS, TeamSettings
from devices.profiles.model import Severity

HOUR = 3600.0
OFFICE = {day: ["08:00-12:00", "13:00-17:00"] for day in WEEKDAYS[:5]}


def team(**changes: Any) -> TeamSettings:
    return TeamSettings.model_validate({"name": "Care", "time_zone": "Europe/Berlin", "hours": OFFICE} | changes)


def berlin(day: int, hour: float, month: int = 3) -> float:
    minutes = round(hour * 60)
    return datetime(2026, month, day, minutes // 60, minutes % 60, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.mark.parametrize(
    ("at", "there"),
    [
        (berlin(3, 8), True),
        (berlin(3, 11.99), True),
        (berlin(3, 12), False),  # lunch
        (berlin(3, 13), True),
        (berlin(3, 17), False),
        (berlin(3, 3), False),
        (berlin(7, 10), False),  # Saturday
    ],
)
def test_a_team_is_there_in_its_hours(at: float, there: bool) -> None:
    assert is_there(team(), at) is there
    assert (next_there_s(team(), at) == at) is there


def test_what_opens_at_night_is_due_by_working_time() -> None:
    assert due_s(team(), berlin(3, 23), 4 * HOUR) == berlin(4, 12)
    assert due_s(team(), berlin(3, 23), 5 * HOUR) == berlin(4, 14)
    assert due_s(team(), berlin(3, 16), 2 * HOUR) == berlin(4, 9)
    assert due_s(team(), berlin(6, 16), 2 * HOUR) == berlin(9, 9)  # over the weekend
    assert due_s(team(), berlin(3, 10), 24 * HOUR) == berlin(6, 10)  # three working days


def test_holidays_are_no_working_days() -> None:
    away = team(holidays=["2026-04-03", "2026-04-06"])  # Easter
    assert due_s(away, berlin(2, 16, 4), 2 * HOUR) == berlin(7, 9, 4)
    assert next_there_s(away, berlin(3, 9, 4)) == berlin(7, 8, 4)


def test_a_deadline_by_the_clock_passes_at_night_too() -> None:
    assert due_s(team(sla="clock"), berlin(3, 23), 4 * HOUR) == berlin(4, 3)
    assert due_s(TeamSettings(name="Always"), berlin(3, 23), 4 * HOUR) == berlin(4, 3)


def test_a_night_shift_ends_the_next_day_and_spans_the_changing_of_clocks() -> None:
    night = team(hours={"saturday": ["22:00-06:00"]})
    assert is_there(night, berlin(28, 23))
    assert is_there(night, berlin(29, 5))  # Sunday, clocks went from 2 to 3
    assert not is_there(night, berlin(29, 6))
    assert due_s(night, berlin(28, 22), 6 * HOUR) == berlin(29, 5)  # one hour was skipped
    assert due_s(night, berlin(28, 22), 7 * HOUR) == berlin(29, 6)
    autumn = team(hours={"saturday": ["22:00-06:00"]})
    assert due_s(autumn, berlin(24, 22, 10), 9 * HOUR) == berlin(25, 6, 10)  # one came twice


def test_a_day_until_midnight_and_hours_that_overlap_count_once() -> None:
    late = team(hours={"tuesday": ["08:00-24:00", "20:00-23:00"], "wednesday": ["00:00-08:00"]})
    assert due_s(late, berlin(3, 22), 4 * HOUR) == berlin(4, 2)


def test_hours_that_never_come_leave_the_wall_clock() -> None:
    year = [f"2026-{month:02}-{day:02}" for month in range(3, 13) for day in range(1, 29)]
    gone = team(hours={"tuesday": ["08:00-08:01"]}, holidays=year)
    assert due_s(gone, berlin(3, 9), 4000 * HOUR) == berlin(3, 9) + 4000 * HOUR


TEAMS = {
    "Care": team(fallback="On call"),
    "On call": TeamSettings(name="On call"),
}


def test_what_is_critical_goes_to_who_is_there() -> None:
    at_night = berlin(3, 23)
    way = route(TEAMS, "Care", Severity.CRITICAL, 4 * HOUR, at_night)
    assert (way.team, way.due_at_s) == ("On call", berlin(4, 3))
    assert way.inputs["wanted"] == "Care"
    assert way.inputs["there_from"] == "2026-03-04T07:00+00:00"
    by_day = route(TEAMS, "Care", Severity.CRITICAL, 4 * HOUR, berlin(3, 8))
    assert (by_day.team, by_day.due_at_s) == ("Care", berlin(3, 12))


def test_what_is_not_critical_waits_for_its_team() -> None:
    way = route(TEAMS, "Care", Severity.MAJOR, 4 * HOUR, berlin(3, 23))
    assert (way.team, way.due_at_s) == ("Care", berlin(4, 12))


def test_a_team_that_nobody_described_is_always_there() -> None:
    way = route(TEAMS, "Repair", Severity.MAJOR, 4 * HOUR, berlin(3, 23))
    assert (way.team, way.due_at_s, way.inputs) == ("Repair", berlin(4, 3), {})


def test_teams_that_stand_in_for_each_other_do_not_go_round_in_circles() -> None:
    teams = {"a": team(name="a", fallback="b"), "b": team(name="b", fallback="a")}
    assert route(teams, "a", Severity.CRITICAL, None, berlin(3, 23)).team == "b"


@pytest.mark.parametrize(
    "wrong",
    [
        {"hours": {"monday": ["8-17"]}},
        {"hours": {"monday": ["08:00"]}},
        {"hours": {"someday": ["08:00-17:00"]}},
        {"hours": {"monday": []}},
        {"time_zone": "Berlin"},
        {"fallback": "Care"},
    ],
)
def test_a_team_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        team(**wrong)


def test_a_fallback_must_be_a_team() -> None:
    with pytest.raises(ValidationError, match="On call"):
        CrmSettings(teams=(team(fallback="On call"),))
    with pytest.raises(ValidationError, match="twice"):
        CrmSettings(teams=(team(), team()))


def test_the_moment_is_utc_in_what_is_kept() -> None:
    assert datetime.fromtimestamp(berlin(4, 12), UTC).hour == 11
