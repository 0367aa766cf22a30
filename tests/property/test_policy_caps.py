"""Caps and quiet hours, whatever the contacts, the zone and the night."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from crm_sync.contact_settings import CapSettings
from crm_sync.policy.caps import next_allowed_s
from crm_sync.policy.quiet_hours import is_quiet
from crm_sync.policy.quiet_hours import next_allowed_s as next_awake_s
from crm_sync.settings import WEEKDAYS, QuietHoursSettings

HOUR = 3600.0

_caps = st.lists(
    st.builds(CapSettings, contacts=st.integers(1, 6), within=st.integers(1, 720).map(lambda hours: hours * HOUR)),
    max_size=4,
    unique_by=lambda cap: cap.within,
)
_wishes = st.lists(st.integers(0, 2000), max_size=60)  # hours at which somebody would like to contact the owner


def _exceeds(caps: list[CapSettings], contacts_s: list[float]) -> bool:
    return any(
        sum(end_s - cap.within < at_s <= end_s for at_s in contacts_s) > cap.contacts
        for cap in caps
        for end_s in contacts_s
    )


@given(_caps, _wishes)
def test_no_window_ever_holds_more_than_its_cap(caps: list[CapSettings], wishes: list[int]) -> None:
    """Whoever waits as told, and is contacted then, exceeds no cap in any window whatever."""
    contacts_s: list[float] = []
    now_s = 0.0
    for wish in sorted(wishes):
        now_s = next_allowed_s(caps, contacts_s, max(now_s, wish * HOUR))
        contacts_s.append(now_s)
    assert not _exceeds(caps, contacts_s)


@given(_caps.filter(bool), _wishes, st.integers(0, 2000))
def test_nobody_waits_longer_than_needed(caps: list[CapSettings], wishes: list[int], now: int) -> None:
    """A moment before the moment that is given, one contact more would be one too many."""
    contacts_s: list[float] = []
    for wish in sorted(wish for wish in wishes if wish <= now):
        contacts_s.append(next_allowed_s(caps, contacts_s, max(wish * HOUR, contacts_s[-1] if contacts_s else 0.0)))
    contacts_s = [at_s for at_s in contacts_s if at_s <= now * HOUR]
    allowed_s = next_allowed_s(caps, contacts_s, now * HOUR)
    assert not _exceeds(caps, [*contacts_s, allowed_s])
    if allowed_s > now * HOUR:
        assert _exceeds(caps, [*contacts_s, allowed_s - 1.0])


_zones = st.sampled_from(
    [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",  # half an hour of daylight saving
        "America/St_Johns",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "Pacific/Apia",
        "America/Santiago",  # changes at midnight
        "UTC",
    ]
)
_changes = st.sampled_from(  # nights on which some of those clocks change
    [(2026, 3, 8), (2026, 3, 29), (2026, 4, 5), (2026, 9, 6), (2026, 10, 4), (2026, 10, 25), (2026, 11, 1)]
)
_times = st.times().map(lambda at: time(at.hour, at.minute))
_quiet = st.builds(
    QuietHoursSettings,
    start=_times,
    end=_times,
    days=st.lists(st.sampled_from(WEEKDAYS), max_size=6, unique=True).map(tuple),
)


@given(_quiet, st.lists(_zones, min_size=1, max_size=3, unique=True), _changes, st.integers(-36, 36))
def test_nobody_is_woken_on_the_nights_when_clocks_change(
    quiet: QuietHoursSettings, names: list[str], day: tuple[int, int, int], hours: int
) -> None:
    zones = [ZoneInfo(name) for name in names]
    now_s = (datetime(*day, tzinfo=UTC) + timedelta(hours=hours)).timestamp() + 13.0
    awake_s = next_awake_s(quiet, zones, now_s)
    if awake_s is None:
        return  # no hour of the week is allowed in all of these zones
    assert awake_s >= now_s
    assert not any(is_quiet(quiet, zone, awake_s) for zone in zones)
    minute_s = (int(now_s) // 60 + 1) * 60
    before = range(minute_s, int(awake_s), 60)
    assert all(any(is_quiet(quiet, zone, at_s) for zone in zones) for at_s in before)


@given(_zones, _changes, st.integers(0, 48 * 60))
def test_a_window_over_midnight_is_read_off_the_wall(name: str, day: tuple[int, int, int], minutes: int) -> None:
    zone, quiet = ZoneInfo(name), QuietHoursSettings(days=())
    at_s = (datetime(*day, tzinfo=UTC) + timedelta(minutes=minutes)).timestamp()
    wall = datetime.fromtimestamp(at_s, zone).time()
    assert is_quiet(quiet, zone, at_s) == (wall >= time(20) or wall < time(8))
