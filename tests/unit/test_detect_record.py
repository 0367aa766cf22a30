"""Values beyond everything seen, and what is only unusual the first time."""

import numpy as np
import pytest

from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.lines import Row
from gateway.detect.model import AlarmChange
from gateway.detect.stream import Scorer
from tests.detect.stories import (
    DAY_S,
    HOUR_S,
    START_S,
    Floats,
    engine_for,
    events,
    hours,
    judge,
    profile_of,
    samples_of,
)

PROFILE = profile_of({"name": "watch", "detector": "record"}, unit="Cel")
COUNTER = profile_of({"name": "watch", "detector": "record"}, kind="counter")
AMOUNT = profile_of({"name": "watch", "detector": "record"}, kind="delta")


def daily(count: int, seed: int = 1, every_s: float = 900.0) -> Floats:
    """A temperature with days and noise."""
    ts_s = START_S + every_s * np.arange(count)
    return 20 + 5 * np.sin(ts_s / DAY_S * 2 * np.pi) + np.random.default_rng(seed).normal(size=count)


def run(values: Floats, every_s: float = 900.0, profile: Profile = PROFILE) -> list[AlarmChange]:
    return judge(engine_for(profile), profile, START_S + every_s * np.arange(len(values)), values)


def scores(values: Floats, every_s: float = 900.0) -> Floats:
    scorer = Scorer()
    rows = [Row(START_S + every_s * number, float(value)) for number, value in enumerate(values)]
    return np.array([scorer.score(row) for row in rows])


def test_a_spike_is_a_record_once() -> None:
    values = daily(2000)
    values[1500] = 60
    changes = run(values)
    assert [event for event, _ in events(changes)] == ["raised", "cleared"]
    assert changes[0].ts_s == START_S + 375 * HOUR_S
    assert changes[1].ts_s <= START_S + 376 * HOUR_S
    assert changes[0].explanation.text.startswith("Metric 60 °C: ")
    low, high = changes[0].explanation.expected.replace(" °C", "").split(" to ")
    assert 0 < float(low) < float(high) < 40


def test_a_value_that_is_usual_at_noon_is_a_record_at_midnight() -> None:
    count = 3000
    ts_s = START_S + 900.0 * np.arange(count)
    noise = np.random.default_rng(2).normal(size=count) * 0.5
    noon = (ts_s % DAY_S > 11 * HOUR_S) & (ts_s % DAY_S < 13 * HOUR_S)
    values = np.where(noon, 50.0, 20.0) + noise
    at = 96 * 25 + 2
    values[at] = 50
    found = scores(values)
    assert found[at] > 0.5
    assert found[at] == found[96 * 10 :].max()


def test_nothing_is_scored_while_little_is_known() -> None:
    values = daily(400)
    values[150] = 1e6
    assert not scores(values)[:180].any()


def test_noise_is_hardly_ever_a_record() -> None:
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(size=5000)
        assert (scores(noise)[400:] >= 0.5).mean() <= 2e-3


def test_a_scale_and_an_offset_change_no_score() -> None:
    """One threshold means the same on every series."""
    values = daily(1500)
    values[1200] = 45
    plain = scores(values)
    assert plain[1200] > 0.5
    np.testing.assert_allclose(scores(values * 1024), plain, atol=1e-3)
    assert (scores(values - 15) >= 0.5).tolist() == (plain >= 0.5).tolist()


def test_the_first_change_of_a_constant_says_nothing() -> None:
    values = np.zeros(600)
    values[500] = 1
    assert not scores(values)[:501].any()
    assert scores(values).max() < 0.5
    assert run(values) == []


def test_gaps_and_missing_hours_are_no_records() -> None:
    count = 3000
    ts_s = START_S + 900.0 * np.arange(count)
    values = daily(count)
    kept = np.random.default_rng(4).random(count) > 0.3
    kept[1000:1400] = False
    kept &= ts_s % DAY_S > 6 * HOUR_S
    values[::17] = np.nan
    assert judge(engine_for(PROFILE), PROFILE, ts_s[kept], values[kept]) == []


def test_a_counter_is_judged_by_its_rises_and_may_be_reset() -> None:
    rng = np.random.default_rng(5)
    rises = rng.gamma(4.0, size=1000)
    total = np.cumsum(rises)
    total[400:] -= total[400]
    total[700:] -= total[700]
    ts_s = hours(1000)
    assert judge(engine_for(COUNTER), COUNTER, ts_s, total) == []
    burst = np.cumsum(np.where(np.arange(1000) == 800, 400.0, rises))
    changes = judge(engine_for(COUNTER), COUNTER, ts_s, burst)
    assert [event for event, _ in events(changes)] == ["raised", "cleared"]
    assert changes[0].explanation.text.startswith("Metric rose by 400: ")


def test_a_use_after_weeks_without_one_is_no_record() -> None:
    uses = np.zeros(1500)
    uses[[3, 20, 41, 60]] = uses[[700, 1300]] = 2.0
    assert run(uses, profile=AMOUNT) == []
    uses[1400] = 200.0
    assert [change.event for change in run(uses, profile=AMOUNT)][:1] == ["raised"]


def test_late_values_are_not_scored() -> None:
    scorer = Scorer()
    for number, value in enumerate(daily(600)):
        scorer.score(Row(START_S + 900.0 * number, float(value)))
    assert scorer.score(Row(START_S, 1e6)) == 0
    assert scorer.score(Row(START_S + 900.0 * 600, 1e3)) > 0.8


def learnt(values: Floats) -> list[AlarmChange]:
    """What the generic watches say, without a profile."""
    ts_s = hours(len(values))
    return engine_for().judge([samples_of(AUTOMATIC, ["a"] * len(values), ts_s, values)])


@pytest.mark.parametrize("seed", range(3))
def test_without_a_profile_amounts_levels_counters_and_states_are_told_apart(seed: int) -> None:
    """A record of a state or a counter's height would be no news; a broken level is."""
    rng = np.random.default_rng(seed)
    count = 24 * 40
    awake = np.arange(count) % 24 >= 8
    steps = np.where(awake, np.round(rng.gamma(2.0, 300.0, count)), 0.0)
    assert learnt(np.cumsum(steps)) == []
    assert learnt((steps > 900).astype(float)) == []
    assert learnt(steps) == []
    level = 20 + rng.normal(size=count)
    level[900:903] = 45
    assert [change.watch for change in learnt(level) if change.event == "raised"] == ["record-metric"]
    steps[24 * 30 :] = 0
    assert "usage-drop-metric" in [change.watch for change in learnt(steps) if change.event == "raised"]
    assert "usage-drop-metric" in [change.watch for change in learnt(np.cumsum(steps)) if change.event == "raised"]


def test_a_number_that_is_taken_once_a_day_is_no_counter() -> None:
    """A resting heart rate seldom falls within a reading or two, but seldom rises either."""
    rng = np.random.default_rng(4)
    resting = np.repeat(np.round(60 + np.cumsum(rng.normal(0.2, 1.0, 60))), 24)
    assert [change for change in learnt(resting) if change.watch.startswith("usage")] == []


def test_three_uses_on_end_of_what_is_used_seldom_are_no_record() -> None:
    count = 24 * 40
    use = np.zeros(count)
    rng = np.random.default_rng(3)
    use[rng.choice(count // 3, 60, replace=False) * 3] = 30.0
    use[24 * 35 + 9 : 24 * 35 + 12] = (20, 40, 25)
    assert [change for change in learnt(use) if change.watch.startswith("record")] == []


def test_no_use_is_no_record() -> None:
    count = 24 * 40
    rng = np.random.default_rng(5)
    asleep = np.arange(count) % 24 < 7
    slept = np.where(asleep, np.round(rng.normal(54, 1.5, count)), 0.0)
    slept[24 * 33 + 3] = 0.0
    assert [change for change in learnt(slept) if change.watch.startswith("record")] == []
