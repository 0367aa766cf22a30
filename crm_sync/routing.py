"""Who looks after a case, and until when: by the team's own clock, hours and holidays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from crm_sync.team_settings import WEEKDAYS, TeamSettings
from devices.clock import to_datetime
from devices.profiles.model import Severity

LOOK_AHEAD_DAYS: Final = 400  # a team that is not there for longer than a year is taken to be there always


@dataclass(frozen=True, slots=True)
class Route:
    """Where a case goes; `inputs` say why, and are empty where no hours are known."""

    team: str
    due_at_s: float | None
    inputs: Mapping[str, object] = field(default_factory=dict[str, object])


def route(
    teams: Mapping[str, TeamSettings], wanted: str, severity: Severity, sla_s: float | None, now_s: float
) -> Route:
    """The team that a playbook wants, or who stands in for it where it is critical and nobody is there."""
    name, passed = wanted, [wanted]
    while severity is Severity.CRITICAL and (team := teams.get(name)) is not None and not is_there(team, now_s):
        if not team.fallback or team.fallback in passed:
            break
        name = team.fallback
        passed.append(name)
    team = teams.get(name)
    due_at_s = None if sla_s is None else now_s + sla_s if team is None else due_s(team, now_s, sla_s)
    known = teams.get(wanted)
    if known is None or not known.hours:
        return Route(name, due_at_s)
    opens_s = next_there_s(known, now_s)
    inputs: dict[str, object] = {"wanted": wanted, "is_there": opens_s == now_s, "severity": str(severity)}
    if opens_s is not None and opens_s > now_s:
        inputs["there_from"] = to_datetime(opens_s).isoformat(timespec="minutes")
    if due_at_s is not None:
        inputs["due"] = to_datetime(due_at_s).isoformat(timespec="minutes")
    return Route(name, due_at_s, inputs)


def is_there(team: TeamSettings, at_s: float) -> bool:
    """Whether somebody of the team is there."""
    return not team.hours or any(start_s <= at_s < end_s for start_s, end_s in _spans(team, at_s, days=1))


def next_there_s(team: TeamSettings, at_s: float) -> float | None:
    """`at_s` where somebody is there, else when the team next comes; None if it does not within a year."""
    if not team.hours:
        return at_s
    return next((max(start_s, at_s) for start_s, end_s in _spans(team, at_s) if end_s > at_s), None)


def due_s(team: TeamSettings, from_s: float, span_s: float) -> float:
    """When so much time has passed for the team: on its working clock, or on the wall's."""
    if team.sla == "clock" or not team.hours:
        return from_s + span_s
    left_s = span_s
    for start_s, end_s in _spans(team, from_s):
        begin_s = max(start_s, from_s)
        if end_s <= begin_s:
            continue
        if left_s <= end_s - begin_s:
            return begin_s + left_s
        left_s -= end_s - begin_s
    return from_s + span_s


def _spans(team: TeamSettings, from_s: float, days: int = LOOK_AHEAD_DAYS) -> Iterator[tuple[float, float]]:
    """When the team is there, from the day before on, in order and without overlaps; epoch seconds.

    Each end of a span is read off the team's own clock: on a night when clocks change, it is an hour longer or shorter.
    """
    zone = ZoneInfo(team.time_zone)
    first = datetime.fromtimestamp(from_s, zone).date() - timedelta(days=1)
    reached_s = float("-inf")
    for number in range(days + 2):
        day = first + timedelta(days=number)
        if day in team.holidays:
            continue
        for start, end in sorted(team.hours.get(WEEKDAYS[day.weekday()], ())):
            until = day if end > start else day + timedelta(days=1)
            start_s = max(datetime.combine(day, start, zone).timestamp(), reached_s)
            end_s = datetime.combine(until, end, zone).timestamp()
            if end_s > start_s:
                yield start_s, end_s
                reached_s = end_s
