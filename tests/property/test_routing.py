"""Deadlines in working time, whatever the hours, the holidays and the changing of clocks."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crm_sync.routing import due_s, is_there, next_there_s
from crm_sync.team_settings import WEEKDAYS, TeamSettings

HOUR = 3600.0
MINUTE = 60

_hours = st.tuples(st.integers(0, 23), st.integers(0, 23)).map(lambda ends: f"{ends[0]:02}:00-{ends[1]:02}:00")


def _team(zone: str, days: dict[str, list[str]], free: list[date]) -> TeamSettings:
    return TeamSettings.model_validate({"name": "t", "time_zone": zone, "hours": days, "holidays": free})


_teams = st.builds(
    _team,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.dictionaries(st.sampled_from(WEEKDAYS), st.lists(_hours, min_size=1, max_size=2), min_size=1),
    st.lists(st.dates(date(2026, 3, 25), date(2026, 4, 10)), max_size=4),
)
_moments = st.integers(0, 60 * 24 * 20).map(
    lambda minutes: (datetime(2026, 3, 22, tzinfo=UTC) + timedelta(minutes=minutes)).timestamp()
)


@given(_teams, _moments, st.integers(1, 30))
def test_a_deadline_leaves_exactly_its_span_of_working_time(team: TeamSettings, from_s: float, hours: int) -> None:
    end_s = due_s(team, from_s, hours * HOUR)
    if end_s - from_s > 40 * 24 * HOUR:
        return  # so little is it there that counting minutes takes long
    minutes = sum(is_there(team, at_s) for at_s in range(int(from_s), int(end_s), MINUTE))
    assert minutes == hours * 60
    assert is_there(team, end_s - MINUTE)


@given(_teams, _moments)
def test_the_next_coming_is_the_first(team: TeamSettings, from_s: float) -> None:
    comes_s = next_there_s(team, from_s)
    assert comes_s is not None
    assert is_there(team, comes_s)
    before = range(int(from_s), min(int(comes_s), int(from_s) + 14 * 86_400), 10 * MINUTE)
    assert not any(is_there(team, at_s) for at_s in before if at_s < comes_s)
