"""The simulated rollout: who gets the firmware, when it is told, and how what came of it is counted."""

import json
import math

import pytest

from devices.profiles import load_profiles
from simulators.fleet.habits import DAY_S, Span
from simulators.rollout.fleet import NEW, OLD, Device, Plan, make_device
from simulators.rollout.run import count_cases

PROFILES = load_profiles()
PLAN = Plan(devices=60, span=Span(1_780_000_000.0, 6.0), update_day=3.0, holiday_day=5.0)


def _device(number: int) -> Device:
    return make_device(PLAN, PROFILES, number)


@pytest.fixture(scope="module", name="devices")
def fixture_devices() -> list[Device]:
    return [_device(number) for number in range(PLAN.devices)]


def test_only_one_model_is_updated_and_only_who_is_updated_is_broken(devices: list[Device]) -> None:
    updated = [device for device in devices if math.isfinite(device.updated_s)]
    assert {device.model for device in updated} == {"coffee-machine"}
    assert {device.model for device in devices} == {"coffee-machine", "e-bike"}
    broken = [device for device in devices if device.is_broken]
    assert 0 < len(broken) < len(updated)
    assert all(math.isfinite(device.updated_s) for device in broken)


def test_the_new_firmware_is_told_from_the_update_on() -> None:
    device = next(each for number in range(60) if math.isfinite((each := _device(number)).updated_s))
    told = [reading for packet in device.take(math.inf) for reading in json.loads(packet)]
    assert {reading["firmware"] for reading in told if reading["ts"] < device.updated_s * 1000} == {OLD}
    assert {reading["firmware"] for reading in told if reading["ts"] >= device.updated_s * 1000} == {NEW}
    assert len(told) == len(device.ts_ms)
    assert [reading["ts"] for reading in told] == device.ts_ms.tolist()


def test_a_broken_machine_is_used_until_it_is_updated_and_never_after() -> None:
    device = next(each for number in range(60) if (each := _device(number)).is_broken and not each.is_ill)
    shots, hours = device.metrics["shots"], device.ts_ms / 1000
    assert shots[hours < device.updated_s].sum() > 0
    assert shots[hours >= device.updated_s].sum() == 0
    assert PLAN.update_s <= device.updated_s <= PLAN.update_s + DAY_S / 2


def test_cases_are_counted_by_what_explains_them() -> None:
    cases = [
        {"asset_id": "inc_1", "parent_id": None, "device_id": "inc_1"},
        {"asset_id": "a1", "parent_id": "case_1", "device_id": "d1"},
        {"asset_id": "a2", "parent_id": None, "device_id": "d2"},
        {"asset_id": "a3", "parent_id": None, "device_id": "d3"},
    ]
    assert count_cases(cases, {"d1", "d2"}) == {"major": 1, "child": 1, "member": 1, "other": 1}
