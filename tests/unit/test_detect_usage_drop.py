"""Use that stays away, and the many ways in which people's use varies without anything being wrong."""

import re

import numpy as np
import pytest

from devices.profiles import AUTOMATIC
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.settings import DetectSettings
from tests.detect.stories import DAY_S, START_S, Floats, engine_for, events, habit, hours, judge, profile_of, samples_of

DELTA = profile_of({"name": "watch", "detector": "usage_drop"}, kind="delta", unit="{steps}")
COUNTER = profile_of({"name": "watch", "detector": "usage_drop"}, kind="counter")
SEEDS = range(12)


def raised(changes: list[AlarmChange]) -> list[float]:
    """Days since the start at which an alarm was raised."""
    return [hour / 24 for event, hour in events(changes) if event == "raised"]


def run(use: Floats, kept: Floats | None = None) -> list[AlarmChange]:
    ts_s = hours(len(use))
    if kept is not None:
        ts_s, use = ts_s[kept.astype(bool)], use[kept.astype(bool)]
    return judge(engine_for(DELTA), DELTA, ts_s, use)


@pytest.mark.parametrize("seed", SEEDS)
def test_use_that_stops_is_noticed_in_a_day_and_a_half_and_its_return_within_three(seed: int) -> None:
    use = habit(35, seed)
    use[24 * 21 : 24 * 28] = 0
    changes = run(use)
    [day] = raised(changes)
    assert 22 <= day <= 22.7
    [cleared] = [hour / 24 for event, hour in events(changes) if event == "cleared"]
    assert 28 < cleared <= 31


def test_many_people_for_two_months_raise_next_to_nothing() -> None:
    alarms = sum(len(raised(run(habit(60, 100 + seed)))) for seed in range(25))
    assert alarms <= 1  # in 50 device-months


@pytest.mark.parametrize("seed", SEEDS)
def test_one_day_off_is_no_drop(seed: int) -> None:
    use = habit(28, seed)
    use[24 * 20 : 24 * 21] = 0
    assert raised(run(use)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_an_office_is_not_used_at_weekends(seed: int) -> None:
    use = habit(42, seed)
    weekday = np.arange(len(use)) // 24 % 7  # the start is a Monday
    use[weekday >= 5] = 0
    assert raised(run(use)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_hours_without_a_reading_are_not_hours_without_use(seed: int) -> None:
    use = habit(42, seed)
    rng = np.random.default_rng(seed)
    kept = rng.random(len(use)) > 0.25
    kept[24 * 20 : 24 * 24] = False  # in a drawer, switched off
    kept[24 * 30 : 24 * 33] &= np.arange(72) % 24 < 7  # worn at night only
    assert raised(run(use, kept.astype(float))) == []


def test_a_habit_must_be_known_first() -> None:
    use = habit(12)
    use[24 * 3 :] = 0
    assert raised(run(use)) == []


def test_a_new_device_is_watched_in_its_first_week_with_patience() -> None:
    use = habit(12)
    use[24 * 5 :] = 0
    [told] = [change for change in run(use) if change.event == "raised"]
    assert 7 <= (told.ts_s - START_S) / DAY_S <= 9  # after a long weekend
    assert "a habit known for 7 days" in told.explanation.text


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_back_after_days_of_silence_may_take_a_morning_to_use_it(seed: int) -> None:
    use = habit(40, seed)
    use[24 * 29 : 24 * 29 + 14] = 0
    kept = np.ones(len(use))
    kept[24 * 25 : 24 * 29] = 0
    assert run(use, kept=kept) == []


def test_what_reports_a_third_of_the_time_is_missed_too() -> None:
    """It lies in a drawer, and is heard now and then: the hours it used to report speak as well."""
    use = habit(40)
    use[24 * 30 :] = 0
    kept = np.random.default_rng(4).random(len(use)) < np.where(np.arange(len(use)) < 24 * 30, 1.0, 0.3)
    [day] = raised(run(use, kept.astype(float)))
    assert 30.5 < day <= 32


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_no_use_is_told_of_only_once_some_was_to_be_expected(hour: int) -> None:
    """From an afternoon on, three mornings and two nights are more than their length."""
    use = habit(40)
    use[24 * 30 + hour :] = 0
    [told] = [change for change in run(use) if change.event == "raised"]
    said = re.search(r"no use since [^(]*\(([\d.]+) (\w+)\), .* within ([\d.]+) (\w+);", told.explanation.text)
    assert said is not None
    lasted, unit, expected, other = said.groups()
    in_hours = {"hours": 1.0, "days": 24.0}
    assert float(lasted) * in_hours[unit] >= float(expected) * in_hours[other] - 1.2  # of a tenth of a day


@pytest.mark.parametrize("seed", SEEDS)
def test_what_tells_of_every_hour_is_given_more_time_in_a_drawer_where_that_is_asked_for(seed: int) -> None:
    parameters = {"lull": 1.5, "complete": 2.0, "days": 30}
    patient = profile_of({"name": "watch", "detector": "usage_drop", "parameters": parameters}, kind="delta")
    use = habit(40, seed)
    use[24 * 30 :] = 0
    told: list[float] = []
    for share in (1.0, 0.7):
        kept = np.random.default_rng(seed).random(len(use)) < share
        told += raised(judge(engine_for(patient), patient, hours(len(use))[kept], use[kept]))
    always, mostly = told
    assert 32.5 < always <= 34
    assert 31 < mostly <= 32.5


def test_use_that_falls_to_a_fifth_is_a_drop_too() -> None:
    use = habit(40)
    use[24 * 25 :] = np.round(0.2 * use[24 * 25 :])
    assert len(raised(run(use))) == 1


def test_who_skips_days_often_is_left_alone_for_longer() -> None:
    often, never = habit(60), habit(60)
    for day in range(10, 40, 5):
        often[24 * day : 24 * (day + 2)] = 0
    for use in (often, never):
        use[24 * 50 :] = 0
    late = [day for day in raised(run(often)) if day > 50]
    assert late[0] > raised(run(never))[0]


def test_a_machine_used_twice_a_week_is_not_missed_after_five_days() -> None:
    use = np.zeros(24 * 70)
    for week in range(10):
        use[24 * (7 * week + 1) + 18] = 1
        use[24 * (7 * week + 5) + 10] = 1
    use[24 * 43 : 24 * 49] = 0
    assert raised(run(use)) == []


def test_a_counter_is_judged_by_what_it_rises() -> None:
    use = habit(35)
    use[24 * 21 : 24 * 28] = 0
    ts_s = hours(len(use))
    changes = judge(engine_for(COUNTER), COUNTER, ts_s, 1e6 + np.cumsum(use))
    assert [event for event, _ in events(changes) if event != "updated"] == ["raised", "cleared"]


def test_a_counter_that_is_reset_raises_nothing() -> None:
    total = np.cumsum(habit(42))
    for at in (24 * 12 + 3, 24 * 20, 24 * 30 + 11):
        total[at:] -= total[at]
    assert raised(judge(engine_for(COUNTER), COUNTER, hours(len(total)), total)) == []


def test_use_that_was_synced_late_counts() -> None:
    use = habit(30)
    use[24 * 21 : 24 * 23] = 0
    ts_s = hours(len(use))
    assert raised(judge(engine_for(DELTA), DELTA, ts_s, use)) != []
    engine = engine_for(DELTA)
    changes = judge(engine, DELTA, ts_s[: 24 * 22], use[: 24 * 22])
    # The band had them, and only now sends them: the busy hours of the day that seemed lost.
    late_s = ts_s[24 * 21 : 24 * 22] + 60
    changes += engine.judge([samples_of(DELTA, ["a"] * 24, late_s, np.full(24, 700.0))])
    changes += judge(engine, DELTA, ts_s[24 * 22 :], use[24 * 22 :])
    assert raised(changes) == []


def test_the_words_tell_since_when_there_is_no_use_and_how_well_the_habit_is_known() -> None:
    use = habit(30)
    use[24 * 21 :] = 0
    [told] = [change for change in run(use) if change.event == "raised"]
    said = told.explanation
    assert said.text.startswith("Metric: no use since 25 March 0")
    assert said.text.endswith("; a habit known for 21 days") or said.text.endswith("; a habit known for 22 days")
    assert said.expected.startswith("some use within ")


def test_the_words_compare_use_with_the_habit() -> None:
    use = habit(40)
    use[24 * 21 :] = np.round(0.2 * use[24 * 21 :])
    [told] = [change for change in run(use) if change.event == "raised"]
    said = told.explanation
    assert said.text.startswith("Metric: ")
    assert " is usual; a habit known for " in said.text
    assert said.window_s == told.ts_s - told.started_at_s
    days = [(ts_s - START_S) / DAY_S for ts_s, _ in said.evidence]
    assert days == sorted(days)
    assert len(days) == 14
    assert said.evidence[0][1] > 1000
    assert said.evidence[-1][1] < said.evidence[0][1]


def test_the_habit_does_not_become_the_fault() -> None:
    """Four weeks of nothing are still a drop: what is usual stays what it was before."""
    use = habit(60)
    use[24 * 30 :] = 0
    changes = run(use)
    assert next(event for event, _ in events(changes)) == "raised"
    assert "cleared" not in [event for event, _ in events(changes)]


def told_of(metrics: dict[str, Floats]) -> list[tuple[str, str, float]]:
    """What a device without a profile is told of by its use: event, metric, day."""
    count = len(next(iter(metrics.values())))
    samples = Samples(
        profile=AUTOMATIC,
        device_ids=("a",),
        device=np.zeros(count, np.int32),
        ts_s=hours(count),
        alive_s=hours(count),
        metrics=tuple(metrics),
        values=np.column_stack(list(metrics.values())),
    )
    changes = Engine({}, DetectSettings()).judge([samples])
    return [
        (change.event, change.metric or "", (change.ts_s - START_S) / DAY_S)
        for change in changes
        if change.watch.startswith("usage-drop") and change.event in {"raised", "cleared"}
    ]


def test_what_a_device_without_a_profile_counts_is_one_alarm_when_it_is_not_used() -> None:
    steps = habit(40)
    steps[24 * 25 : 24 * 30] = 0
    told = told_of({"steps": steps, "distance": np.round(0.7 * steps), "minutes": np.round(steps / 60)})
    assert [event for event, _, _ in told] == ["raised", "cleared"]
    assert 25.5 < told[0][2] < 27.5  # later than where hours are missing


def test_another_metric_that_stops_later_is_an_alarm_of_its_own() -> None:
    steps, brews = habit(60), habit(60, seed=2)
    steps[24 * 25 : 24 * 30] = 0
    brews[24 * 45 :] = 0
    told = told_of({"steps": steps, "brews": brews})
    assert [(event, metric) for event, metric, _ in told] == [
        ("raised", "steps"),
        ("cleared", "steps"),
        ("raised", "brews"),
    ]


def test_the_order_of_metrics_does_not_matter() -> None:
    steps = habit(30)
    steps[24 * 25 :] = 0
    ways = [told_of(dict.fromkeys(names, steps)) for names in (("b", "a", "c"), ("c", "b", "a"))]
    assert ways[0] == ways[1]
    assert [metric for _, metric, _ in ways[0]] == ["a"]


def test_what_stops_while_most_else_goes_on_is_told_of_later() -> None:
    """Who does not sleep with a tracker, or stops running, still wears it."""
    steps, naps = habit(45), habit(45, seed=2)
    naps[24 * 30 :] = 0
    [(_, metric, soon)] = told_of({"naps": naps})
    [(_, its, later)] = told_of({"naps": naps, "steps": steps, "minutes": np.round(steps / 60)})
    assert metric == its == "naps"
    assert soon + 0.9 < later < soon + 3


def test_what_has_a_day_of_its_own_is_waited_for_longer() -> None:
    """Sleep that is not tracked any more says less than steps that stop while distances are covered."""
    naps = habit(60, seed=2)
    naps[24 * 30 :] = 0
    others = {"steps": habit(60), "minutes": np.round(habit(60) / 60)}
    [(_, metric, soon)] = told_of({"naps": naps, **others})
    [(_, its, later)] = told_of({"naps": np.roll(naps, 12), **others})
    assert metric == its == "naps"
    assert later > soon + 2


def test_what_has_a_day_of_its_own_is_no_sooner_missed_where_the_device_is_put_away_for_an_evening() -> None:
    """What is not slept with is not worn in the evening now and then, and that proves nothing of the nights before."""
    naps = np.roll(habit(60, seed=2), 12)
    naps[24 * 30 :] = 0
    steps = habit(60)
    steps[24 * 35 + 6 : 24 * 36] = 0
    [(_, metric, later)] = told_of({"naps": naps, "steps": steps, "minutes": np.round(steps / 60)})
    assert metric == "naps"
    assert later > 40


def test_a_device_of_unlike_amounts_that_lies_in_a_drawer_is_missed_as_soon_as_any() -> None:
    """None of them is used at the hours of another, so that none could tell of the device for the others."""
    hour = np.arange(24 * 60) % 24
    kinds = {"early": (5, 11), "later": (12, 18), "late": (19, 24)}
    metrics = {
        name: np.where((hour >= begin) & (hour < end), np.round(habit(60, begin) + 50), 0.0)
        for name, (begin, end) in kinds.items()
    }
    for values in metrics.values():
        values[24 * 30 :] = 0
    [(_, _, day)] = told_of(metrics)
    assert 31 < day < 33


@pytest.mark.parametrize("seed", range(4))
def test_what_is_in_use_again_is_not_missed(seed: int) -> None:
    """The reading that shows that a device is back completes the hour that would have been one too many."""
    lulls = profile_of({"name": "watch", "detector": "usage_drop", "parameters": {"days": 30}}, kind="delta")
    steps = habit(40, seed)
    gone = steps.copy()
    gone[24 * 25 :] = 0
    [missed] = raised(judge(engine_for(lulls), lulls, hours(24 * 40), gone))
    back = round(24 * missed)
    gone[back:] = np.maximum(steps[back:], 1)
    assert raised(judge(engine_for(lulls), lulls, hours(24 * 40), gone)) == []
    gone[back] = 0
    assert len(raised(judge(engine_for(lulls), lulls, hours(24 * 40), gone))) == 1


def test_a_night_without_what_is_counted_by_night_is_no_drop() -> None:
    """Where few nights are covered, one that is says as much as more than a day usually does."""
    count = 24 * 40
    hour, day = np.arange(count) % 24, np.arange(count) // 24
    asleep = hour < 8
    use = np.where(asleep, 50.0 + day % 5, 0.0)
    use[(day == 33) & asleep] = 0.0
    covered = ~asleep | (day % 5 == 0) | (day >= 32)
    lulls = profile_of({"name": "watch", "detector": "usage_drop", "parameters": {"days": 30}}, kind="delta")
    assert raised(judge(engine_for(lulls), lulls, hours(count)[covered], use[covered])) == []
    use[(day >= 33) & asleep] = 0.0
    [later] = raised(judge(engine_for(lulls), lulls, hours(count)[covered], use[covered]))
    assert 33.9 < later < 35
