"""A simulated fleet is repeatable, is what its profiles say, and knows the truth about itself."""

import hashlib
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devices.profiles import load_profiles
from devices.profiles.model import EVENT_SERIES
from devices.registry.import_ import read_records
from simulators.fleet.faults import FaultKind, FaultPlan, is_watched, trace
from simulators.fleet.habits import DAY_S, Span, days_of, make_person
from simulators.fleet.packets import UNSTORABLE
from simulators.fleet.products import PRODUCTS
from simulators.fleet.registry import write_registry
from simulators.fleet.world import Settings, World, make_world

SPAN = Span(1_790_000_000.0 - 1_790_000_000.0 % DAY_S, 10)
PROFILES = load_profiles()


def make(devices: int = 60, seed: int = 7, **changes: object) -> World:
    return make_world(Settings(devices=devices, span=SPAN, seed=seed, **changes), PROFILES)  # pyright: ignore[reportArgumentType]


def wire(world: World) -> list[tuple[str, str, bytes]]:
    return [
        (errand.device_id, errand.act.name, b"" if errand.packet is None else errand.packet.payload)
        for errand in world.errands_until(world.span.end_s)
    ]


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others() -> None:
    assert wire(make(seed=3)) == wire(make(seed=3))
    assert wire(make(seed=3)) != wire(make(seed=4))


def test_every_shipped_profile_is_simulated_and_every_simulated_metric_is_in_its_profile() -> None:
    assert {product.model for product in PRODUCTS} == {name for name, p in PROFILES.items() if not p.automatic}
    for device in make().devices:
        profile = PROFILES[device.product.model]
        assert set(device.encoder.life.metrics) == set(profile.metrics)
        assert {happening.code for happening in device.encoder.life.happenings} <= set(profile.events)
        for disturbed in device.product.faults.values():
            assert disturbed.metrics <= {*profile.metrics, *(f"{EVENT_SERIES}{code}" for code in profile.events)}


def test_readings_stay_within_the_physical_ranges_of_the_profile_even_when_a_device_ails() -> None:
    for device in make(faults=FaultPlan(share=0.9)).devices:
        for name, values in device.encoder.life.metrics.items():
            metric = PROFILES[device.product.model].metrics[name]
            known = values[np.isfinite(values)]
            assert metric.minimum is None or known.min(initial=np.inf) >= metric.minimum, (device.device_id, name)
            assert metric.maximum is None or known.max(initial=-np.inf) <= metric.maximum, (device.device_id, name)


def test_a_time_identifies_a_reading_of_its_device() -> None:
    for device in make().devices:
        assert len(np.unique(device.encoder.ts_ms)) == len(device.encoder.ts_ms)


def test_no_reading_is_handed_out_twice_but_as_a_redelivery() -> None:
    seen: Counter[tuple[str, int, int]] = Counter()
    for errand in make().errands_until(SPAN.end_s):
        packet = errand.packet
        if packet is not None and not packet.again:
            seen.update(
                (packet.device_id, int(ts), int(mark)) for ts, mark in zip(packet.ts_ms, packet.digests, strict=True)
            )
    assert seen
    assert max(seen.values()) == 1


def test_the_digest_of_a_reading_is_that_of_its_element_on_the_wire() -> None:
    packets = [errand.packet for errand in make(devices=8).errands_until(SPAN.end_s)]
    several = next(packet for packet in packets if packet is not None and len(packet.ts_ms) > 1)
    elements = msgspec.json.decode(several.payload, type=list[msgspec.Raw])
    for element, mark in zip(elements, several.digests, strict=True):
        assert int.from_bytes(hashlib.sha256(bytes(element)).digest()[:8], "big") == int(mark)


def test_most_devices_without_a_fault_look_like_real_messy_ones() -> None:
    healthy = [device for device in make(devices=300).devices if not device.labels]
    messy = sum(not device.mess.tidy for device in healthy) / len(healthy)
    assert 0.6 <= messy <= 0.8


def test_a_messy_fleet_repeats_packets_sends_late_and_sends_rubbish() -> None:
    errands = list(make(devices=200).errands_until(SPAN.end_s))
    packets = [errand.packet for errand in errands if errand.packet is not None]
    assert any(packet.again for packet in packets)
    assert any(UNSTORABLE in packet.ts_ms for packet in packets)
    assert any(len(packet.ts_ms) > 20 for packet in packets)
    assert {"CONNECT", "LEAVE", "VANISH", "STUMBLE"} <= {errand.act.name for errand in errands}


def test_a_tidy_fleet_sends_every_reading_once_and_nothing_else() -> None:
    world = make(messy=0.0, faults=FaultPlan(share=0.0))
    packets = [errand.packet for errand in world.errands_until(SPAN.end_s) if errand.packet is not None]
    assert not any(packet.again or UNSTORABLE in packet.ts_ms for packet in packets)
    assert not world.labels


def test_faults_of_every_kind_are_injected_each_into_one_device_only() -> None:
    world = make(devices=200)
    assert {label.kind for label in world.labels} == set(FaultKind)
    assert max(Counter(label.device_id for label in world.labels).values()) == 1
    for label in world.labels:
        assert SPAN.start_s < label.starts_at_s < SPAN.end_s
        assert label.ends_at_s is None or label.starts_at_s < label.ends_at_s < SPAN.end_s
    assert any(label.ends_at_s is not None for label in world.labels)


@pytest.mark.parametrize("model", [product.model for product in PRODUCTS])
def test_what_a_watch_covers_is_asked_of_the_profile(model: str) -> None:
    profile = PROFILES[model]
    blind = profile.model_copy(update={"watches": ()})
    product = next(product for product in PRODUCTS if product.model == model)
    over_temperature = product.faults[FaultKind.OVER_TEMPERATURE]
    assert is_watched(profile, FaultKind.OVER_TEMPERATURE, over_temperature, 10 * DAY_S)
    assert not is_watched(blind, FaultKind.OVER_TEMPERATURE, over_temperature, 10 * DAY_S)
    assert not is_watched(profile, FaultKind.OVER_TEMPERATURE, trace("nothing"), 10 * DAY_S)


def test_a_silence_shorter_than_a_watch_is_patient_for_is_not_expected_to_be_found() -> None:
    profile = PROFILES["coffee-machine"]  # its watch waits three days
    assert is_watched(profile, FaultKind.SILENCE, trace(quiet=True), 4 * DAY_S)
    assert not is_watched(profile, FaultKind.SILENCE, trace(quiet=True), 2 * DAY_S)


def test_a_silent_device_says_nothing_from_beginning_to_end_of_its_fault() -> None:
    silent = [device for device in make(devices=200).devices if any(x.kind is FaultKind.SILENCE for x in device.labels)]
    assert silent
    for device in silent:
        (label,) = device.labels
        end_s = SPAN.end_s if label.ends_at_s is None else label.ends_at_s
        assert not [s for s in device.sendings if label.starts_at_s < s.at_s < end_s and s.act.name != "VANISH"]


def test_people_sleep_at_night_where_they_live() -> None:
    rng = np.random.default_rng(1)
    person = make_person(1, SPAN, rng)
    ts_s = np.arange(SPAN.start_s, SPAN.end_s, 900.0)
    asleep = days_of(person, ts_s, rng).asleep.mean()
    assert 0.25 < asleep < 0.45


def test_the_registry_file_is_what_the_import_takes(tmp_path: Path) -> None:
    world = make(devices=40)
    write_registry(world, tmp_path / "fleet.json")
    records = read_records(tmp_path / "fleet.json")
    assert {record.device_id for record in records} == {device.device_id for device in world.devices}
    assert all(record.owner is not None and record.owner.time_zone for record in records)
    assert (tmp_path / "fleet.json").stat().st_mode & 0o077 == 0
