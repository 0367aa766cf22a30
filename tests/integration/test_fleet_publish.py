"""A fleet publishes through a real broker: everything is acknowledged, whatever breaks on the way."""

import threading

import pytest

from devices.profiles import load_profiles
from gateway.database.postmaster import wait_until
from simulators.fleet.drive import Driver, Pace
from simulators.fleet.habits import DAY_S, Span
from simulators.fleet.ledger import Ledger
from simulators.fleet.link import NobodyAnswers, Refused, Target
from simulators.fleet.network import Act
from simulators.fleet.world import Settings, World, make_world
from tests.services.mosquitto import Mosquitto

SPAN = Span(1_790_000_000.0 - 1_790_000_000.0 % DAY_S, 2)


def fleet(devices: int = 25) -> World:
    return make_world(Settings(devices=devices, span=SPAN, seed=11), load_profiles())


@pytest.mark.parametrize("ahead", [1, 4])
def test_all_of_a_fleet_is_acknowledged_and_time_passes_in_order(mosquitto: Mosquitto, ahead: int) -> None:
    world, ledger, moments = fleet(), Ledger(), list[float]()
    Driver(world, Target(port=mosquitto.port), Pace(ahead=ahead), ledger, moments.append).run()
    assert ledger.published > 1000
    assert ledger.acknowledged == ledger.published
    assert ledger.acknowledged_packets == ledger.packets
    assert sum(record.distinct for record in ledger.records().values()) == ledger.published
    assert moments == sorted(moments)
    assert moments[-1] == SPAN.end_s
    assert len(moments) == 48


def test_a_device_that_vanishes_leaves_its_will_and_comes_back_with_a_birth(mosquitto: Mosquitto) -> None:
    world, ledger = fleet(), Ledger()
    acts = [sending.act for device in world.devices for sending in device.sendings if sending.at_s < SPAN.end_s]
    assert {Act.VANISH, Act.STUMBLE} <= set(acts)
    Driver(world, Target(port=mosquitto.port), Pace(), ledger, lambda _moment: None).run()
    said = [line for line in mosquitto.log.splitlines() if "Received PUBLISH" in line and "/status'" in line]
    births = [line for line in said if "... (6 bytes)" in line]
    again = [line for line in births if "(d1," in line]  # the connection broke before the birth was acknowledged
    assert len(births) - len(again) == acts.count(Act.CONNECT)


def test_a_broker_that_refuses_is_said_to(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    passwords = mosquitto.folder / "passwords"
    passwords.touch(mode=0o600)
    mosquitto.start("allow_anonymous false", f"password_file {passwords}")
    driver = Driver(fleet(3), Target(port=mosquitto.port), Pace(), Ledger(), lambda _moment: None)
    with pytest.raises(Refused, match="is not let in"):
        driver.run()


def test_a_broker_that_is_away_is_said_to_be(mosquitto: Mosquitto) -> None:
    target = Target(port=mosquitto.port)
    target.must_answer()
    mosquitto.stop()
    with pytest.raises(NobodyAnswers, match=rf"nobody answers at 127\.0\.0\.1:{mosquitto.port}: connection refused"):
        target.must_answer()

    driver = Driver(fleet(3), target, Pace(), Ledger(), lambda _moment: None)
    thread = threading.Thread(target=driver.run, daemon=True)
    thread.start()
    assert wait_until(lambda: "connection refused" in driver.troubles, 120.0)
    driver.stop.set()
    thread.join(120)
    assert not thread.is_alive()
