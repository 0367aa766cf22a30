"""A device whose metrics, all together, are not as they were: what is read every few minutes or seconds."""

from collections.abc import Sequence

import numpy as np
import pytest

from devices.ids import partition_of
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Samples
from gateway.detect.settings import DetectSettings
from tests.detect.stories import START_S, Floats, Numbers

SETTINGS = DetectSettings(whole_rows=True, rows_warm_up=0.0)
MONTHS = DetectSettings(whole_rows=True)
NAMES = ("flow_lpm", "pressure_bar", "current_a", "vibration")
ROWS, FROM, UNTIL = 760, 560, 640


def calm(rows: int = ROWS, seed: int = 3) -> Floats:
    """Four sensors of a pump: the first three follow its load, the fourth goes its own way."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 19), np.ones(20) / np.sqrt(20), "valid")
    own = 0.3 * rng.normal(size=(rows, 4))
    return np.asarray(own + load[:, None] * np.array([1.0, 1.0, -1.0, 0.0]), np.float64)


def faulty(fault: str) -> Floats:
    values, rng, span = calm(), np.random.default_rng(9), UNTIL - FROM
    if fault == "step":
        values[FROM:UNTIL, 3] += 2.0
    elif fault == "ramp":
        values[FROM:UNTIL, 3] += np.linspace(0.0, 4.0, span)
    elif fault == "against":  # each sensor stays in its own range; only they no longer go together
        values[FROM:UNTIL, 1] *= -1.0
        values[FROM:UNTIL, :3] += np.array([1.2, -1.2, 0.0])
    elif fault == "noise":
        values[FROM:UNTIL, 2:] += 3.0 * rng.normal(size=(span, 2))
    elif fault == "spikes":
        values[FROM:UNTIL, 3] += rng.choice([-3.0, 0.0, 3.0], span, p=[0.2, 0.6, 0.2])
    return values


def judge(
    values: Floats, every_s: float = 10.0, engine: Engine | None = None, first: int = 0, names: Sequence[str] = NAMES
) -> list[AlarmChange]:
    engine = engine or Engine({AUTOMATIC.model: AUTOMATIC}, SETTINGS)
    ts_s = START_S + every_s * np.arange(first, first + len(values))
    return row_alarms(engine.judge([samples_of(values, ts_s, names)]))


def samples_of(values: Numbers, told_s: Numbers, names: Sequence[str] = NAMES, profile: Profile = AUTOMATIC) -> Samples:
    ts_s = np.asarray(told_s, np.float64)
    where = np.zeros(len(ts_s), np.int32)
    return Samples(profile, ("a",), where, ts_s, ts_s, tuple(names), np.asarray(values, np.float64))


def row_alarms(changes: Sequence[AlarmChange]) -> list[AlarmChange]:
    return [change for change in changes if change.watch == "row"]


def steps(changes: Sequence[AlarmChange]) -> list[str]:
    return [change.event for change in changes if change.event != "updated"]


def row_of(change: AlarmChange, every_s: float = 10.0) -> int:
    return round((change.ts_s - START_S) / every_s)


def test_a_metric_that_was_noisy_and_is_gone_leaps_no_more() -> None:
    values, rng = calm(), np.random.default_rng(9)
    values[FROM:UNTIL, 3] += 5.0 * rng.normal(size=UNTIL - FROM)
    values[UNTIL:, 3] = np.nan
    assert steps(judge(values)) == ["raised", "cleared"]


@pytest.mark.parametrize("every_s", [1.0, 60.0, 600.0])
@pytest.mark.parametrize("fault", ["step", "ramp", "against", "noise"])
def test_a_fault_of_some_minutes_is_raised_and_cleared_at_any_quick_cadence(fault: str, every_s: float) -> None:
    changes = judge(faulty(fault), every_s)
    assert steps(changes)[:1] == ["raised"]
    assert steps(changes)[-1:] == ["cleared"]
    for change in changes:
        if change.event == "raised":
            assert FROM <= round((change.started_at_s - START_S) / every_s) <= row_of(change, every_s) < UNTIL


def test_calm_rows_raise_nothing() -> None:
    assert judge(calm(1500)) == []


@pytest.mark.parametrize("every_s", [0.001, 3600.0])
def test_nothing_is_said_of_what_is_read_once_an_hour_or_a_thousand_times_a_second(every_s: float) -> None:
    assert judge(faulty("step"), every_s) == []


@pytest.mark.parametrize(("warm_up_s", "raises"), [(5000.0, True), (6400.0, False)])
def test_nothing_is_raised_before_the_rows_have_been_learnt_from_for_a_while(warm_up_s: float, *, raises: bool) -> None:
    engine = Engine({AUTOMATIC.model: AUTOMATIC}, DetectSettings(whole_rows=True, rows_warm_up=warm_up_s))
    assert bool(judge(faulty("step"), engine=engine)) == raises


def machine(rows: int, every_s: float, seed: int) -> Floats:
    """Six healthy sensors for months: neighbours alike, hours of the day, a load that they share, heavy tails."""
    rng = np.random.default_rng(seed)
    told_s = every_s * np.arange(rows)
    day = np.sin(2 * np.pi * told_s / 86_400.0)
    load = np.convolve(rng.normal(size=rows + 29), np.ones(30) / np.sqrt(30), "valid")
    own = rng.normal(size=(rows + 9, 6))
    own[:, 3:] = rng.standard_t(4, size=(rows + 9, 3))
    alike = np.stack([np.convolve(own[:, k], np.ones(10) / np.sqrt(10), "valid") for k in range(6)], axis=1)
    alike[:, ::2] = own[9:, ::2]
    drift = told_s / (30 * 86_400.0)
    shared = np.outer(load, np.array([1, 1, -1, 0, 0.5, 0])) + np.outer(day, np.array([3.0, 0, 1, 1, 0, 2]))
    return np.asarray(alike + shared + drift[:, None], np.float64)


def test_healthy_machines_are_left_alone_for_months() -> None:
    """The bar comes from each device's own highest levels: one alarm of chance in 300 days, whatever its rows are like.

    A year and a half of rows in all, of which a bar that were the same for all devices would call dozens.
    """
    names = tuple("abcdef")
    told = [
        len(judge(machine(30 * 144, 600.0, seed), 600.0, Engine({AUTOMATIC.model: AUTOMATIC}, MONTHS), names=names))
        for seed in range(18)
    ]
    assert sum(count > 0 for count in told) <= 1


@pytest.mark.parametrize("fault", ["step", "ramp"])
def test_a_machine_known_for_a_month_is_told_of_within_hours(fault: str) -> None:
    values = machine(30 * 144, 600.0, 3)
    if fault == "step":
        values[4000:4060, 1] += 8.0
    else:
        values[4000:4060, :2] += np.outer(np.linspace(0.0, 8.0, 60), [1, -1])
    changes = judge(values, 600.0, Engine({AUTOMATIC.model: AUTOMATIC}, MONTHS), names=tuple("abcdef"))
    assert steps(changes) == ["raised", "cleared"]
    assert 4000 <= row_of(changes[0], 600.0) <= 4045


def test_a_single_row_that_is_far_off_raises_nothing() -> None:
    values = calm()
    values[FROM] += 50.0
    assert judge(values) == []


def of_one(rises_at: int) -> list[AlarmChange]:
    """Of one sensor that is read every five minutes for six days, and rises for half a day."""
    rng = np.random.default_rng(5)
    values = 20.0 + rng.normal(size=(6 * 288, 1))
    values[rises_at : rises_at + 144] += 15.0
    return judge(values, 300.0, names=("celsius",))


def test_a_metric_alone_is_judged_too_and_named() -> None:
    """A sensor that rose by fifteen spreads for hours had no alarm."""
    changes = of_one(1200)
    assert steps(changes) == ["raised", "cleared"]
    assert 1200 <= row_of(changes[0], 300.0) <= 1206
    assert changes[0].explanation.text.startswith("Celsius about ")
    assert "where chance takes it about once in 300 days" in changes[0].explanation.text
    assert changes[-1].explanation.text.startswith("Celsius lies again as it did; it had not since")


def test_a_metric_alone_is_told_of_once_it_has_been_known_for_days() -> None:
    """Nothing beside it shows what is the rhythm of a day."""
    assert [
        row_of(change, 300.0) for change in of_one(500) if change.event == "raised" and row_of(change, 300.0) < 864
    ] == []


def test_a_gateway_judges_rows_only_where_its_settings_say_so() -> None:
    assert judge(faulty("step"), engine=Engine({AUTOMATIC.model: AUTOMATIC}, DetectSettings())) == []


def test_a_profile_can_name_it() -> None:
    watches: list[dict[str, object]] = [{"name": "row", "detector": "unlike", "parameters": {"warm_up": 0}}]
    for k, name in enumerate(NAMES):
        watches.append({"name": f"row-{k}", "detector": "unlike", "metric": name})
    metrics = {name: {"kind": "gauge"} for name in NAMES}
    pump = Profile.model_validate({"model": "pump", "title": "A pump", "metrics": metrics, "watches": watches})
    samples = samples_of(faulty("step"), START_S + 10.0 * np.arange(ROWS), profile=pump)
    assert steps(row_alarms(Engine({pump.model: pump}, DetectSettings()).judge([samples]))) == ["raised", "cleared"]


def test_it_says_which_metrics_and_what_they_usually_are() -> None:
    raised = judge(faulty("step"))[0]
    assert raised.metric is None
    assert raised.explanation.text.startswith("The device's metrics, taken together, are ")
    assert "times as far from how they were as usual since " in raised.explanation.text
    assert "what adds most to it: Vibration about" in raised.explanation.text
    assert "times as far" in raised.explanation.observed
    assert raised.explanation.window_s == raised.ts_s - raised.started_at_s > 0.0


def test_it_says_which_metrics_leap_from_reading_to_reading() -> None:
    raised = judge(faulty("noise"))[0]
    assert raised.explanation.text.startswith("Some of the device's metrics leap from reading to reading")
    assert "most of all: Current a" in raised.explanation.text
    assert raised.explanation.expected == "readings as far apart as so far"
    assert "times as far as usual" in raised.explanation.observed


def test_spikes_that_come_again_and_again_are_told_of() -> None:
    assert steps(judge(faulty("spikes"), 1.0))[:1] == ["raised"]


def test_noise_of_a_metric_alone_is_told_of_as_leaps() -> None:
    rng = np.random.default_rng(5)
    smooth = np.convolve(rng.normal(size=6 * 288 + 11), np.ones(12), "valid")
    values = 20.0 + np.asarray(smooth, np.float64)[:, None] / np.sqrt(12)
    values[1200:1344] += 8.0 * rng.normal(size=(144, 1))
    changes = judge(values, 300.0, names=("celsius",))
    assert steps(changes) == ["raised", "cleared"]
    assert changes[0].explanation.text.startswith("Celsius leaps from reading to reading ")
    assert 1200 <= row_of(changes[0], 300.0) < 1344


def test_it_says_how_rarely_chance_does_that_by_how_long_a_device_is_known() -> None:
    """Of one that was known for an hour it said 300 days, of which so few rows can tell nothing."""
    young = judge(faulty("step"))[0]
    assert "where chance takes them about once in 6.2 hours" in young.explanation.text
    values = machine(30 * 144, 600.0, 3)
    values[4000:, 1] += 8.0
    known = judge(values, 600.0, Engine({AUTOMATIC.model: AUTOMATIC}, MONTHS), names=tuple("abcdef"))[0]
    assert "where chance takes them about once in 300 days" in known.explanation.text


def test_later_rows_change_nothing_that_was_said() -> None:
    values = faulty("step")
    other = values.copy()
    other[FROM + 50 :] += 100.0
    known = [change for change in judge(other) if row_of(change) < FROM + 50]
    assert judge(values[: FROM + 50]) == known != []


@pytest.mark.parametrize(("factor", "offset"), [(1e-3, 0.0), (1024.0, 0.0), (1.0, 4096.0), (-60.0, 1e5)])
def test_units_make_no_difference(factor: float, offset: float) -> None:
    def decided(values: Floats) -> list[tuple[str, float]]:
        return [(change.event, change.ts_s) for change in judge(values)]

    values = faulty("ramp")
    changed = values.copy()
    changed[:, 3] = changed[:, 3] * factor + offset
    assert decided(changed) == decided(values)


def test_the_order_of_metrics_makes_no_difference() -> None:
    values = faulty("against")
    assert judge(values[:, ::-1], names=NAMES[::-1]) == judge(values)


def test_rows_and_values_that_are_missing_raise_nothing() -> None:
    rng, values = np.random.default_rng(1), calm(800)
    values[rng.random(values.shape) < 0.2] = np.nan
    engine = Engine({AUTOMATIC.model: AUTOMATIC}, SETTINGS)
    ts_s = START_S + 10.0 * np.arange(800)
    ts_s[400:] += 86_400.0
    there = rng.random(800) > 0.3
    assert row_alarms(engine.judge([samples_of(values[there], ts_s[there])])) == []


@pytest.mark.parametrize("at", [1, 45, FROM + 2, FROM + 50])
def test_a_restart_between_two_rows_changes_nothing(at: int) -> None:
    values, before = faulty("step"), Engine({AUTOMATIC.model: AUTOMATIC}, SETTINGS)
    changes = judge(values[:at], engine=before)
    after = Engine({AUTOMATIC.model: AUTOMATIC}, SETTINGS)
    after.restore(partition_of("a"), before.checkpoint(partition_of("a")))
    assert changes + judge(values[at:], engine=after, first=at) == judge(values)


@pytest.mark.parametrize("at", [45, FROM + 2])
def test_rows_that_are_undone_leave_no_trace(at: int) -> None:
    values, engine = faulty("step"), Engine({AUTOMATIC.model: AUTOMATIC}, SETTINGS)
    changes = judge(values[:at], engine=engine)
    kept = engine.checkpoint(partition_of("a"))
    engine.begin()
    judge(values[at:] * 3.0, engine=engine, first=at)
    engine.rollback()
    assert engine.checkpoint(partition_of("a")) == kept
    assert changes + judge(values[at:], engine=engine, first=at) == judge(values)


def test_devices_of_one_batch_are_judged_each_by_itself() -> None:
    """Rows of several devices at once, with metrics of their own, give what each gives alone."""
    rows, faults = ROWS, ("step", "none", "against")
    names = (*NAMES, "speed")
    values = np.full((3 * rows, len(names)), np.nan)
    for k, fault in enumerate(faults):
        values[k::3, :4] = faulty(fault)
    values[1::3, 4] = calm(rows, 8)[:, 0]
    device = np.tile(np.arange(3, dtype=np.int32), rows)
    ts_s = np.repeat(START_S + 10.0 * np.arange(rows), 3).astype(np.float64)
    engine = Engine({AUTOMATIC.model: AUTOMATIC}, SETTINGS)
    changes = row_alarms(engine.judge([Samples(AUTOMATIC, ("a", "b", "c"), device, ts_s, ts_s, names, values)]))
    for name, fault in zip(("a", "c"), ("step", "against"), strict=True):
        mine = [(change.event, change.ts_s) for change in changes if change.device_id == name]
        assert mine == [(change.event, change.ts_s) for change in judge(faulty(fault))]
    assert not [change for change in changes if change.device_id == "b"]


def test_late_rows_change_nothing() -> None:
    values, engine = faulty("step"), Engine({AUTOMATIC.model: AUTOMATIC}, SETTINGS)
    changes = judge(values[:500], engine=engine)
    late_s = START_S + 10.0 * np.arange(200)
    assert row_alarms(engine.judge([samples_of(values[:200] + 30.0, late_s)])) == []
    assert changes + judge(values[500:], engine=engine, first=500) == judge(values)
