"""The benchmark of usage: the same seed lives the same life, and an alarm is worth what it says."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from simulators.usage.faults import OF_ONE_METRIC, SLOW, WHOLE, Fault, FaultKind
from simulators.usage.population import Device, Plan, lines_of, make_population
from simulators.usage.score import Raised, credit_of, merge, score

PLAN = Plan(seed=1, devices=30, days=40)


def device(name: str, fault: Fault | None) -> Device:
    return Device(name, fault, np.empty(0), np.empty(0), {})


def test_the_same_plan_is_the_same_population() -> None:
    first, again = make_population(PLAN), make_population(PLAN)
    assert list(lines_of(first, PLAN.calendar)) == list(lines_of(again, PLAN.calendar))
    assert [one.fault for one in first] == [one.fault for one in again]


def test_one_more_device_changes_nobody() -> None:
    more = make_population(Plan(seed=1, devices=31, days=40))
    for one, same in zip(make_population(PLAN), more, strict=False):
        assert (one.name, one.fault) == (same.name, same.fault)
        assert np.array_equal(one.hours, same.hours)


def test_about_a_quarter_of_the_hours_of_wearables_is_missing() -> None:
    well = [one for one in make_population(Plan(seed=2, devices=120, days=40, machines=0)) if one.fault is None]
    assert 0.65 < np.mean([len(one.hours) for one in well]) / (24 * 40) < 0.9


def test_complete_wearables_tell_of_every_hour_in_time_unless_they_are_silent() -> None:
    plan = Plan(seed=2, devices=30, days=40, machines=0, trackers=True, complete=True)
    for one in make_population(plan):
        assert np.array_equal(one.arrives, one.hours)
        if one.fault is None:
            assert one.hours.tolist() == list(range(24 * 40))
            most_used = max(one.columns.values(), key=lambda values: float((values == 0).mean()))
            assert (most_used == 0).mean() > 0.1, "hours in a drawer are hours without use"


def test_lines_are_in_the_order_of_arrival_and_of_each_device() -> None:
    devices = make_population(PLAN)
    for one in devices:
        assert all(early < late for early, late in pairwise(one.hours.tolist()))
        assert all(early <= late for early, late in pairwise(one.arrives.tolist()))
        assert (one.arrives >= one.hours).all()


def test_every_kind_of_fault_comes_and_a_silent_device_sends_nothing() -> None:
    devices = make_population(Plan(seed=3, devices=90, days=40))
    assert {one.fault.kind for one in devices if one.fault} == set(WHOLE)
    for one in devices:
        if one.fault and one.fault.kind is FaultKind.SILENCE:
            assert not ((one.hours >= one.fault.start) & (one.hours < one.fault.end)).any()


def test_trackers_count_the_same_body_in_many_ways_and_some_in_one() -> None:
    people = make_population(Plan(seed=5, devices=60, days=30, machines=0, trackers=True))
    assert 0 < sum(len(one.columns) == 1 for one in people) < 20
    for one in people:
        minutes = [values for name, values in one.columns.items() if "minutes" in name.lower()]
        if one.fault is None:
            assert all(((values >= 0) & (values <= 60))[np.isfinite(values)].all() for values in minutes)
        else:
            hidden = one.fault.kind in {FaultKind.DRAIN, FaultKind.EVENTS}
            assert not hidden or len(one.columns) > 1, "nobody could see that fault"


def test_a_fault_of_one_metric_leaves_all_others_as_they_are() -> None:
    well = Plan(seed=5, devices=60, days=40, machines=0, trackers=True)
    ill = make_population(replace(well, one_metric=True))
    assert {one.fault.kind for one in ill if one.fault} == set(OF_ONE_METRIC)
    assert all(len(one.columns) > 2 for one in ill if one.fault)
    for one in ill:
        if one.fault and one.fault.kind in {FaultKind.ONE_MISSING, FaultKind.ONE_ZERO}:
            inside = (one.hours >= one.fault.start) & (one.hours < one.fault.end)
            told = [values[inside] for values in one.columns.values()]
            gone = [values for values in told if not np.isfinite(values).any() or not np.nan_to_num(values).any()]
            assert gone or not inside.any()
            assert len(gone) < len(told)


def test_an_alarm_is_worth_less_the_later_it_comes() -> None:
    assert credit_of(FaultKind.STUCK, 3.0) == credit_of(FaultKind.STUCK, 24.0) == 1.0
    assert credit_of(FaultKind.STUCK, 96.0) == pytest.approx(0.5)
    assert credit_of(FaultKind.STUCK, 168.0) == credit_of(FaultKind.STUCK, None) == 0.0
    assert all(credit_of(kind, 168.0) == 1.0 for kind in SLOW)
    assert credit_of(FaultKind.DECLINE, 14 * 24.0) == pytest.approx(0.5)


def test_alarms_within_a_fault_tell_of_it_and_all_others_are_false() -> None:
    fault = Fault(FaultKind.STUCK, 100, 300, 1.0)
    devices = [device("ill", fault), device("well", None)]
    raised = [
        Raised("ill", 99.0, "record"),
        Raised("ill", 148.0, "stuck"),
        Raised("ill", 150.0, "usage_drop"),
        Raised("ill", 323.0, "record"),  # within a day of its end
        Raised("ill", 400.0, "silence"),
        Raised("well", 100.0, "silence"),
    ]
    result = score(devices, 720, raised)
    assert (result.total.faults, result.total.found, result.total.median_h) == (1, 1, 48.0)
    assert result.total.by == {"stuck": 1}
    assert result.false_alarms == {"record": 1, "silence": 2}
    assert result.device_30_days == pytest.approx((720 - 200 + 720) / 720)
    assert result.precision == pytest.approx(0.25)
    assert result.figure == pytest.approx(100 * (120 / 144) - 50 * 3 / result.device_30_days)
    twice = merge([result, result])
    assert twice.figure == pytest.approx(result.figure)
    assert twice.false_alarms == {"record": 2, "silence": 4}
