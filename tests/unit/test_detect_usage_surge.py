"""Use and drain beyond the habit, and the many ways in which people use more without anything being wrong."""

import numpy as np
import pytest

from devices.errors import ConfigError
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.lines import Line
from gateway.detect.model import AlarmChange, Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from tests.detect.stories import DAY_S, START_S, Floats, engine_for, events, habit, hours, judge, profile_of

DELTA = profile_of({"name": "watch", "detector": "usage_surge"}, kind="delta", unit="{steps}")
COUNTER = profile_of({"name": "watch", "detector": "usage_surge"}, kind="counter")
BATTERY = profile_of({"name": "watch", "detector": "usage_surge"}, kind="gauge", unit="%")
SEEDS = range(8)
FAULT_DAY = 25


def raised(changes: list[AlarmChange], watch: str = "watch") -> list[float]:
    """Days since the start at which an alarm was raised."""
    return [hour / 24 for event, hour in events(changes, watch) if event == "raised"]


def run(use: Floats, profile: Profile = DELTA, kept: Floats | None = None) -> list[AlarmChange]:
    ts_s = hours(len(use))
    if kept is not None:
        ts_s, use = ts_s[kept.astype(bool)], use[kept.astype(bool)]
    return judge(engine_for(profile), profile, ts_s, use)


def battery(days: int, seed: int, drain: Floats | None = None) -> Floats:
    """Per cent in whole numbers: falls by a fifth a day, more where it is used, charged when somebody thinks of it."""
    rng = np.random.default_rng(seed)
    use = habit(days, seed)
    falls = (0.5 + 0.6 * use / use.mean()) * rng.lognormal(0, 0.3, len(use))
    if drain is not None:
        falls = falls * drain
    level, levels = 80.0, np.empty(len(use))
    for hour, fall in enumerate(falls.tolist()):
        charges = level < 15 or (hour % 24 in {21, 22} and rng.random() < 0.15)
        level = min(100.0, level + rng.uniform(40, 90)) if charges else max(level - fall, 0.0)
        levels[hour] = level
    return np.round(levels)


def times(days: int, factor: float, start: int = FAULT_DAY, end: int = 1000) -> Floats:
    """A factor for each hour: 1, and `factor` from one day to another."""
    day = np.arange(24 * days) / 24
    return np.where((day >= start) & (day < end), factor, 1.0)


def device(metrics: dict[str, Floats], profile: Profile = AUTOMATIC) -> list[AlarmChange]:
    """What a stream tells of surges of a device with several metrics, NaN where one is missing."""
    ts_s = hours(len(next(iter(metrics.values()))))
    lines = [
        Line("a", float(at_s), {name: float(of[i]) for name, of in metrics.items() if np.isfinite(of[i])})
        for i, at_s in enumerate(ts_s)
    ]
    return [change for change in Stream(profile, DetectSettings()).take(lines) if change.kind is Kind.USAGE_SURGE]


def companions(seed: int, factor: Floats) -> dict[str, Floats]:
    """Steps, and events that mostly come with them."""
    rng = np.random.default_rng(seed)
    steps = habit(len(factor) // 24, seed)
    return {"steps": steps, "events": rng.poisson(factor * 40 * steps / 8000).astype(np.float64)}


@pytest.mark.parametrize("seed", SEEDS)
def test_use_that_doubles_for_good_is_noticed_within_days(seed: int) -> None:
    use = habit(45, seed) * times(45, 2.5)
    [day, *_] = raised(run(use))
    assert FAULT_DAY < day <= FAULT_DAY + 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_marathon_is_no_surge(seed: int) -> None:
    assert raised(run(habit(45, seed) * times(45, 6.0, end=FAULT_DAY + 1))) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_holiday_on_foot_is_no_surge(seed: int) -> None:
    assert raised(run(habit(45, seed) * times(45, 1.5, end=FAULT_DAY + 7))) == []


def test_many_people_for_two_months_raise_next_to_nothing() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for seed in range(25):
        use = habit(60, 100 + seed)
        alarms += len(raised(run(use, kept=(rng.random(len(use)) > 0.25).astype(float))))
    assert alarms <= 1  # in 50 device-months


@pytest.mark.parametrize("seed", SEEDS)
def test_hours_without_a_reading_say_nothing(seed: int) -> None:
    use = habit(42, seed)
    kept = np.ones(len(use))
    kept[24 * 20 : 24 * 30] = np.arange(240) % 24 > 14  # reported in the busy hours only
    assert raised(run(use, kept=kept)) == []


def test_nothing_is_judged_before_the_habit_is_known() -> None:
    assert raised(run(habit(7, 1) * times(7, 5.0, start=3))) == []


def test_scale_makes_no_difference() -> None:
    use = habit(45, 3) * times(45, 3.0)
    assert events(run(use * 1024.0)) == events(run(use))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_counter_that_was_not_read_for_a_while_has_not_surged(seed: int) -> None:
    count = np.cumsum(habit(42, seed))
    kept = (np.random.default_rng(seed).random(len(count)) > 0.25).astype(float)
    kept[24 * 20 : 24 * 20 + 18] = 0
    assert raised(run(count, COUNTER, kept)) == []
    assert raised(run(np.cumsum(habit(45, seed) * times(45, 3.0)), COUNTER))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_battery_that_empties_three_times_as_fast_is_noticed_within_a_day_or_so(seed: int) -> None:
    kept = np.random.default_rng(seed).random(24 * 35) > 0.25
    [day, *_] = raised(run(battery(35, seed, times(35, 3.0)), BATTERY, kept.astype(float)))
    assert FAULT_DAY < day <= FAULT_DAY + 1.6


def test_batteries_that_are_used_and_charged_as_ever_raise_nothing() -> None:
    for seed in range(15):
        kept = np.random.default_rng(seed).random(24 * 60) > 0.25
        assert raised(run(battery(60, 50 + seed), BATTERY, kept.astype(float))) == []


def test_a_battery_is_known_by_its_values() -> None:
    [told, *_] = [change for change in device({"x17": battery(35, 1, times(35, 3.0))}) if change.event == "raised"]
    assert told.metric == "x17"
    assert "its drain" in told.explanation.text
    rng = np.random.default_rng(1)
    heart = np.round(70 + 8 * rng.normal(size=24 * 35)) * times(35, 1.8)
    assert device({"heart": heart, "zero": np.zeros(24 * 35)}) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_count_that_doubles_while_all_else_is_as_usual_stands_out(seed: int) -> None:
    [told, *_] = [change for change in device(companions(seed, times(45, 2.0))) if change.event == "raised"]
    assert told.metric == "events"
    assert 0 < (told.ts_s - START_S) / DAY_S - FAULT_DAY <= 7
    assert "going by Steps," in told.explanation.text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_busy_month_explains_its_events(seed: int) -> None:
    calm = companions(seed, times(45, 1.0))
    busy = {name: use * times(45, 1.8) for name, use in calm.items()}
    assert [change for change in device(busy) if change.metric == "events"] == []


def told_after(events: Floats, others: Floats) -> float:
    """Days from the fault's to the first alarm about events, where others' use is multiplied as told; 99 for none."""
    counts = companions(3, times(45, 1.0))
    metrics = {
        "events": np.round(events * counts["events"]),
        **{name: np.round(others * habit(45, seed)) for seed, name in enumerate(("floors", "minutes", "steps"))},
    }
    told = [change for change in device(metrics) if change.event == "raised" and change.metric == "events"]
    return min([(change.ts_s - START_S) / DAY_S - FAULT_DAY for change in told], default=99.0)


def test_who_does_more_of_everything_has_no_faulty_counter() -> None:
    """Not even where the companion that was chosen explains little of it."""
    alone = told_after(times(45, 3.0), times(45, 1.0))
    assert 0 < alone < 2
    assert told_after(times(45, 3.0), times(45, 2.5)) > alone + 0.7


def test_what_a_device_without_a_profile_counts_more_of_is_one_alarm_and_its_battery_another() -> None:
    doubled = times(45, 2.5)
    metrics = companions(3, doubled) | {"clicks": companions(7, doubled)["events"]}
    metrics["battery"] = battery(45, 3, times(45, 3.0, start=FAULT_DAY + 6))
    began_s = START_S + FAULT_DAY * DAY_S
    changes = [change for change in device(metrics) if change.event == "raised" and change.ts_s > began_s]
    assert len(changes) == 2
    assert changes[0].metric in {"events", "clicks"}
    assert changes[1].metric == "battery"
    one_by_one = [device({"steps": metrics["steps"], name: metrics[name]}) for name in ("events", "clicks")]
    assert all(raised(told, f"usage-surge-{name}") for told, name in zip(one_by_one, ("events", "clicks"), strict=True))


def test_what_each_metric_hides_a_watch_over_two_sees() -> None:
    """A worn machine takes three times the energy for a cycle, and is used a third as much: energy alone is as ever."""
    profile = Profile.model_validate(
        {
            "model": "washer",
            "title": "A washer",
            "metrics": {"energy": {"kind": "delta"}, "cycles": {"kind": "delta"}},
            "watches": [
                {"name": "energy-per-cycle", "detector": "usage_surge", "metric": "energy", "per": "cycles"},
                {"name": "energy", "detector": "usage_surge", "metric": "energy"},
            ],
        }
    )
    rng = np.random.default_rng(4)
    wear = times(50, 3.0)
    cycles = rng.poisson(np.tile(np.repeat([0.05, 1.0], 12), 50) / wear).astype(np.float64)
    energy = cycles * wear * rng.lognormal(0, 0.1, len(cycles))
    changes = device({"energy": energy, "cycles": cycles}, profile)
    assert {change.watch for change in changes} == {"energy-per-cycle"}
    assert FAULT_DAY < raised(changes, "energy-per-cycle")[0] <= FAULT_DAY + 8


def test_names_and_their_order_make_no_difference() -> None:
    metrics = companions(2, times(45, 2.0))
    told = device(metrics)
    assert told == device(dict(reversed(metrics.items())))
    assert [change.ts_s for change in told if change.metric == "events"] == [
        change.ts_s
        for change in device({"z": metrics["steps"], "events": metrics["events"]})
        if change.metric == "events"
    ]


def test_a_companion_that_is_lost_is_not_waited_for() -> None:
    metrics = companions(2, times(60, 3.0, start=40))
    metrics["steps"] = np.where(times(60, 0.0, start=30) > 0, metrics["steps"], np.nan)
    [told, *_] = [change for change in device(metrics) if change.event == "raised"]
    assert 40 < (told.ts_s - START_S) / DAY_S <= 46


def test_what_is_said_is_what_was() -> None:
    changes = run(habit(45, 3) * times(45, 3.0, end=FAULT_DAY + 10))
    first, last = changes[0], changes[-1]
    assert (first.event, last.event) == ("raised", "cleared")
    assert "times this device's habit of" in first.explanation.text
    assert first.explanation.expected.endswith("a day")
    assert first.started_at_s >= START_S + (FAULT_DAY - 1) * DAY_S
    assert "as usual again" in last.explanation.text
    assert last.ts_s < START_S + (FAULT_DAY + 13) * DAY_S


@pytest.mark.parametrize(
    "watch",
    [
        {"name": "a", "detector": "usage_surge", "metric": "metric", "per": "metric"},
        {"name": "a", "detector": "usage_drop", "metric": "metric", "per": "other"},
    ],
)
def test_what_cannot_be_compared_is_refused(watch: dict[str, object]) -> None:
    kinds = {"metric": {"kind": "delta"}, "other": {"kind": "delta"}}
    profile = Profile.model_validate({"model": "thing", "title": "A thing", "metrics": kinds, "watches": [watch]})
    with pytest.raises(ConfigError, match="per"):
        engine_for(profile)


def test_a_companion_must_be_a_metric() -> None:
    with pytest.raises(ValueError, match="no metric named 'nothing'"):
        profile_of({"name": "a", "detector": "usage_surge", "per": "nothing"}, kind="delta")


def test_what_is_left_when_nothing_is_done_is_no_companion() -> None:
    """Minutes of sitting are counted in nearly all hours, but go with nothing that is done."""
    metrics = companions(2, times(45, 2.0))
    metrics["sedentary"] = np.maximum(60 - np.round(metrics["steps"] / 40), 0.0)
    [told, *_] = [change for change in device(metrics) if change.event == "raised"]
    assert told.metric == "events"
    assert "going by Steps," in told.explanation.text


def test_an_hour_of_exercise_now_and_then_is_no_surge() -> None:
    rng = np.random.default_rng(6)
    steps, minutes = habit(90, 6), np.zeros(24 * 90)
    for day in range(90):
        if rng.random() < 0.3:
            minutes[24 * day + 18] = float(rng.integers(20, 60))
        else:
            minutes[24 * day + int(rng.integers(8, 20))] = float(rng.integers(0, 4))
    assert [change for change in device({"steps": steps, "minutes": minutes}) if change.metric == "minutes"] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_four_of_what_comes_once_in_two_days_are_no_surge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    use = np.where(rng.random(60 * 24) < 1 / 48, 1.0, 0.0)
    day = 40 * 24
    use[[day + 9, day + 33, day + 40, day + 60]] = 1.0
    assert run(use) == []
