"""Simulated devices that are told to mend themselves: some do, some refuse, some only say so."""

import json
from dataclasses import replace

import numpy as np
import pytest

from devices.profiles import load_profiles
from simulators.fleet.faults import FaultKind, FaultPlan
from simulators.fleet.habits import DAY_S, Span
from simulators.fleet.world import Device, Settings, Temper, World, make_world

SPAN = Span(1_767_225_600.0, 21.0)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(30, SPAN, messy=0.0, faults=FaultPlan(share=1.0, healing=0.0, kinds=(FaultKind.OVER_TEMPERATURE,)))


def washer(world: World) -> Device:
    return next(each for each in world.devices if each.product.model == "washing-machine" and each.healthy is not None)


def hottest(device: Device, from_s: float) -> float:
    rows = np.flatnonzero(device.encoder.life.ts_s >= from_s).tolist()
    readings, _ = device.encoder.elements(rows, first_seq=1)
    return max(float(json.loads(each)["metrics"].get("motor_temperature", 0.0)) for each in readings)


@pytest.mark.parametrize(
    ("temper", "answer", "is_mended"),
    [
        (Temper.OBEYS, "done", True),
        (Temper.LIES, "done", False),
        (Temper.REFUSES, "refused", False),
        (Temper.IS_MUTE, None, False),
    ],
)
def test_only_who_obeys_is_well_afterwards(
    settings: Settings, temper: Temper, answer: str | None, is_mended: bool
) -> None:
    world = make_world(settings, load_profiles())
    device = washer(world)
    device.temper = temper
    (label,) = device.labels
    told_s = label.starts_at_s + DAY_S
    list(world.errands_until(told_s))
    assert hottest(device, told_s) > 100
    assert world.obey(device.device_id, "recalibrate_motor") == answer
    assert (hottest(device, told_s) < 100) is is_mended
    assert device.labels == ((replace(label, ends_at_s=told_s),) if is_mended else (label,))
    assert len(device.mended) == is_mended


def test_another_command_mends_nothing(settings: Settings) -> None:
    world = make_world(settings, load_profiles())
    device = washer(world)
    device.temper = Temper.OBEYS
    list(world.errands_until(device.labels[0].starts_at_s + DAY_S))
    assert world.obey(device.device_id, "close_valve") == "done"
    assert device.mended == []
