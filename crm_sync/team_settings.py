"""When the teams are there that cases go to."""

from collections.abc import Mapping
from datetime import date, time
from typing import Annotated, Final, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder of zones
        message = f"{name!r} is not an IANA time zone such as Europe/Berlin"
        raise ValueError(message) from error
    return name


TimeZoneName = Annotated[str, AfterValidator(_known_zone)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)


def _parse_hours(value: object) -> object:
    """``"08:00-12:00"``; an end that is not after its start is the next day's."""
    if not isinstance(value, str):
        return value
    start, dash, end = value.partition("-")
    if not dash:
        message = 'hours are written "08:00-17:00"'
        raise ValueError(message)
    return time.fromisoformat(start.strip()), time.fromisoformat("00:00" if end.strip() == "24:00" else end.strip())


Hours = Annotated[tuple[time, time], BeforeValidator(_parse_hours)]


class TeamSettings(BaseModel):
    """A team: its clock, its hours, its holidays. A team that is not named here is always there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]  # as playbooks name it
    time_zone: TimeZoneName = "UTC"
    hours: Mapping[Weekday, tuple[Hours, ...]] = {}  # by weekday; without any it is always there
    holidays: tuple[date, ...] = ()  # on these nobody is there; what began the evening before goes on
    sla: Literal["working", "clock"] = "working"  # whether deadlines pass while nobody is there
    fallback: str = ""  # the team that gets what is critical while nobody is there

    @model_validator(mode="after")
    def _is_there_at_times(self) -> Self:
        if self.hours and not any(self.hours.values()):
            message = "at least one day has hours; leave `hours` out for a team that is always there"
            raise ValueError(message)
        if self.fallback == self.name:
            message = "a team cannot stand in for itself"
            raise ValueError(message)
        return self
