"""Limits: when they are broken, for how long, and when they are kept again."""

from collections.abc import Sequence

import numpy as np
import pytest

from devices.errors import ConfigError
from tests.detect.stories import START_S, engine_for, events, judge, profile_of

MINUTE_S = 60.0


def told(values: Sequence[float], **watch: object) -> list[tuple[str, int]]:
    """What happens to a metric that is sent every minute: event, and minute."""
    profile = profile_of({"name": "watch", "detector": "threshold", **watch})
    ts_s = START_S + MINUTE_S * np.arange(len(values))
    changes = judge(engine_for(profile), profile, ts_s, np.array(values))
    return [(event, round(hour * 60)) for event, hour in events(changes)]


def test_a_limit_is_broken_beyond_it_and_not_at_it() -> None:
    assert told([9, 10, 11, 9], parameters={"above": 10}) == [("raised", 2), ("cleared", 3)]
    assert told([9, 10, 11, 9], parameters={"below": 10}) == [("raised", 0), ("cleared", 1), ("raised", 3)]


def test_between_the_limit_and_its_hysteresis_nothing_changes() -> None:
    values = [11, 9, 11, 9, 7, 9, 11]
    assert told(values, parameters={"above": 10, "hysteresis": 2}) == [("raised", 0), ("cleared", 4), ("raised", 6)]
    assert told(values, parameters={"above": 10, "clear_below": 8}) == [("raised", 0), ("cleared", 4), ("raised", 6)]
    low = [-value for value in values]
    assert told(low, parameters={"below": -10, "clear_above": -8}) == [("raised", 0), ("cleared", 4), ("raised", 6)]


def test_a_breach_must_last_without_a_break() -> None:
    values = [11, 11, 9, 11, 11, 11, 11, 9]
    assert told(values, parameters={"above": 10}, **{"for": "3m"}) == [("raised", 6), ("cleared", 7)]


def test_the_trouble_began_with_the_first_breach_of_the_wait() -> None:
    profile = profile_of({"name": "watch", "detector": "threshold", "parameters": {"above": 10}, "for": "10m"})
    ts_s = START_S + MINUTE_S * np.arange(20)
    [raised] = judge(engine_for(profile), profile, ts_s, np.where(np.arange(20) >= 4, 11.0, 9.0))
    assert raised.started_at_s == START_S + 4 * MINUTE_S
    assert raised.ts_s == START_S + 14 * MINUTE_S
    assert raised.explanation.text == "Metric 11, above its limit of 10 for 10 minutes since 00:04"


def test_a_calm_must_last_too() -> None:
    values = [11, 9, 9, 11, 9, 9, 9, 9, 9]
    assert told(values, parameters={"above": 10}, keep_firing_for="3m") == [("raised", 0), ("cleared", 7)]


def test_an_alarm_that_lasts_is_told_again_once_a_day() -> None:
    profile = profile_of({"name": "watch", "detector": "threshold", "parameters": {"above": 10}})
    ts_s = START_S + 600.0 * np.arange(3 * 144)
    changes = judge(engine_for(profile), profile, ts_s, np.full(len(ts_s), 11.0))
    assert events(changes) == [("raised", 0), ("updated", 24), ("updated", 48)]
    assert {change.started_at_s for change in changes} == {START_S}


def test_an_alarm_that_grows_worse_is_told_again_at_once() -> None:
    assert told([11, 12, 12, 400], parameters={"above": 10}) == [("raised", 0), ("updated", 3)]


def test_two_limits_hold_at_once() -> None:
    values = [5, 11, 5, -1, 5]
    expected = [("raised", 1), ("cleared", 2), ("raised", 3), ("cleared", 4)]
    assert told(values, parameters={"above": 10, "below": 0}) == expected


def test_two_episodes_never_share_a_beginning() -> None:
    """Several readings of one moment: the second breach of that moment belongs to no new episode."""
    profile = profile_of({"name": "watch", "detector": "threshold", "parameters": {"above": 10}})
    ts_s = START_S + np.array([0.0, 0, 0, 0, 60, 60, 60])
    changes = judge(engine_for(profile), profile, ts_s, np.array([11.0, 9, 11, 9, 11, 9, 11]))
    raised = [change.started_at_s for change in changes if change.event == "raised"]
    assert raised == [START_S, START_S + 60]


def test_what_is_older_than_the_newest_changes_nothing() -> None:
    profile = profile_of({"name": "watch", "detector": "threshold", "parameters": {"above": 10}})
    engine = engine_for(profile)
    assert judge(engine, profile, START_S + np.array([60.0, 0.0]), np.array([9.0, 11.0])) == []
    assert events(judge(engine, profile, START_S + np.array([120.0, 90.0]), np.array([11.0, 9.0]))) == [
        ("raised", 120 / 3600)
    ]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({}, "parameters"),
        ({"abvoe": 1}, "abvoe"),
        ({"above": "hot"}, "above"),
        ({"above": 1, "hysteresis": -1}, "hysteresis"),
        ({"above": 1, "clear_below": 2}, "parameters"),
        ({"above": 1, "below": 2}, "parameters"),
    ],
)
def test_a_wrong_watch_is_named(parameters: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=f"watch.*{named}"):
        engine_for(profile_of({"name": "watch", "detector": "threshold", "parameters": parameters}))
