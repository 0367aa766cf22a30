"""Quiet hours by the owner's wall clock, on the days when that clock jumps too."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from crm_sync.policy.quiet_hours import is_quiet, next_allowed_s
from crm_sync.settings import CrmSettings, QuietHoursSettings

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHoursSettings()  # 20:00 to 08:00, and Sundays


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # pyright: ignore[reportArgumentType] - year, month, day, hour, minute


def local(zone: ZoneInfo, *parts: int, fold: int = 0) -> float:
    return datetime(*parts, tzinfo=zone, fold=fold).timestamp()  # pyright: ignore[reportArgumentType]


def shown(zone: ZoneInfo, at_s: float | None) -> str:
    assert at_s is not None
    return datetime.fromtimestamp(at_s, zone).strftime("%a %H:%M")


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ((2026, 3, 3, 7, 59), True),
        ((2026, 3, 3, 8, 0), False),
        ((2026, 3, 3, 19, 59), False),
        ((2026, 3, 3, 20, 0), True),
        ((2026, 3, 3, 0, 0), True),
        ((2026, 3, 8, 12, 0), True),  # a Sunday
    ],
)
def test_a_window_over_midnight(moment: tuple[int, ...], quiet: bool) -> None:
    assert is_quiet(NIGHT, BERLIN, local(BERLIN, *moment)) is quiet


def test_a_window_within_the_day() -> None:
    noon_rest = QuietHoursSettings(start=time(12), end=time(14), days=())
    assert is_quiet(noon_rest, BERLIN, local(BERLIN, 2026, 3, 3, 13, 0))
    assert not is_quiet(noon_rest, BERLIN, local(BERLIN, 2026, 3, 3, 14, 0))


def test_start_equal_to_end_means_no_hour() -> None:
    never = QuietHoursSettings(start=time(0), end=time(0), days=())
    assert not is_quiet(never, BERLIN, local(BERLIN, 2026, 3, 3, 3, 0))


def test_an_allowed_moment_is_now_to_the_second() -> None:
    now_s = local(BERLIN, 2026, 3, 3, 12, 0) + 17.25
    assert next_allowed_s(NIGHT, [BERLIN], now_s) == now_s


def test_the_evening_waits_for_the_morning_and_saturday_evening_for_monday() -> None:
    assert shown(BERLIN, next_allowed_s(NIGHT, [BERLIN], local(BERLIN, 2026, 3, 3, 22, 30))) == "Wed 08:00"
    assert shown(BERLIN, next_allowed_s(NIGHT, [BERLIN], local(BERLIN, 2026, 3, 7, 21, 0))) == "Mon 08:00"


def test_an_end_that_the_clock_skips_is_the_moment_after_the_gap() -> None:
    short_night = QuietHoursSettings(start=time(22), end=time(2, 30), days=())
    allowed_s = next_allowed_s(short_night, [BERLIN], local(BERLIN, 2026, 3, 28, 23, 0))
    assert allowed_s == utc(2026, 3, 29, 1, 0)  # 02:00 became 03:00, and 02:30 never was
    assert shown(BERLIN, allowed_s) == "Sun 03:00"


def test_an_hour_that_comes_twice_is_quiet_twice() -> None:
    small_hours = QuietHoursSettings(start=time(22), end=time(2, 30), days=())
    first, second = utc(2026, 10, 25, 0, 15), utc(2026, 10, 25, 1, 15)  # 02:15 in summer time, then in winter time
    assert shown(BERLIN, first) == shown(BERLIN, second) == "Sun 02:15"
    assert is_quiet(small_hours, BERLIN, first)
    assert is_quiet(small_hours, BERLIN, second)
    assert next_allowed_s(small_hours, [BERLIN], second) == utc(2026, 10, 25, 1, 30)


def test_the_night_is_an_hour_longer_or_shorter_but_the_morning_is_eight() -> None:
    weekdays = QuietHoursSettings(days=())
    assert next_allowed_s(weekdays, [BERLIN], local(BERLIN, 2026, 3, 28, 20, 0)) == utc(2026, 3, 29, 6, 0)
    assert next_allowed_s(weekdays, [BERLIN], local(BERLIN, 2026, 10, 24, 20, 0)) == utc(2026, 10, 25, 7, 0)


def test_half_hour_zones() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    assert next_allowed_s(NIGHT, [kolkata], utc(2026, 3, 3, 0, 0)) == utc(2026, 3, 3, 2, 30)


def test_of_several_zones_all_must_be_awake() -> None:
    new_york = ZoneInfo("America/New_York")
    allowed_s = next_allowed_s(NIGHT, [BERLIN, new_york], local(BERLIN, 2026, 3, 3, 9, 0))
    assert shown(BERLIN, allowed_s) == "Tue 14:00"
    assert shown(new_york, allowed_s) == "Tue 08:00"


def test_zones_that_are_never_awake_together() -> None:
    zones = [ZoneInfo("Etc/GMT-12"), ZoneInfo("Etc/GMT")]  # 08 to 20 here is 20 to 08 there
    assert next_allowed_s(NIGHT, zones, utc(2026, 3, 3, 12, 0)) is None


def test_settings_refuse_a_week_without_a_day_and_a_zone_that_is_none() -> None:
    with pytest.raises(ValidationError, match="at least one day"):
        QuietHoursSettings(
            days=("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        )
    with pytest.raises(ValidationError, match="not an IANA time zone"):
        CrmSettings(time_zones=("Middle/Earth",))
