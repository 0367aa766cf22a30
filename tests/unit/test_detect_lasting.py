"""Faults that last are not got used to, and habits are known before anything is compared with them."""

import numpy as np

from tests.detect.stories import DAY_S, START_S, Floats, engine_for, events, hours, judge, profile_of


def quarter_hours(days: int) -> Floats:
    return (START_S + 900.0 * np.arange(days * 96)).astype(np.float64)


def test_a_level_that_stays_wrong_for_a_week_clears_only_when_it_is_right_again() -> None:
    rng = np.random.default_rng(3)
    ts_s = quarter_hours(40)
    values = 20 + 3 * np.sin(ts_s / DAY_S * 2 * np.pi) + rng.normal(0, 0.5, len(ts_s))
    values[96 * 20 : 96 * 27] += 25
    profile = profile_of({"name": "watch", "detector": "record"})
    told = events(judge(engine_for(profile), profile, ts_s, values))
    assert told[0][0] == "raised"
    assert 24 * 20 <= told[0][1] <= 24 * 20 + 1
    cleared = [hour for event, hour in told if event == "cleared"]
    assert len(cleared) >= 1
    assert cleared[0] >= 24 * 27


def test_a_habit_of_three_days_is_no_habit() -> None:
    ts_s = hours(24 * 14)
    use = np.zeros(len(ts_s))
    for day, cycles in enumerate([3, 5, 0, 0, 0, 0, 1]):
        use[24 * day + 9 : 24 * day + 9 + cycles] = 1
    profile = profile_of({"name": "watch", "detector": "usage_drop", "parameters": {"drop": 0.7}}, kind="delta")
    assert events(judge(engine_for(profile), profile, ts_s, use)) == []


def test_within_its_limit_while_it_is_still_watched_is_said_so() -> None:
    ts_s = hours(24 * 8)
    values = np.full(len(ts_s), 30.0)
    values[24:30] = 60
    watch: dict[str, object] = {
        "name": "watch",
        "detector": "threshold",
        "parameters": {"above": 48},
        "keep_firing_for": "5d",
    }
    profile = profile_of(watch)
    changes = judge(engine_for(profile), profile, ts_s, values)
    updated = [change for change in changes if change.event == "updated"]
    assert updated
    assert all("within its limit" in change.explanation.text for change in updated)
