"""Firmware compared with the other firmware of its model."""

from gateway.console.fleet_queries import CohortRow
from gateway.console.pages.fleet import compare_firmware


def row(firmware: str, devices: int, raised: int) -> CohortRow:
    return CohortRow("washer", firmware, devices, 0, raised)


def test_a_firmware_that_raises_far_more_alarms_is_told_from_chance() -> None:
    told = compare_firmware({"washer": [row("1.0", 100, 10), row("2.0", 100, 40)], "kettle": [row("1", 5, 9)]})
    new, old = told["washer", "2.0"], told["washer", "1.0"]
    assert (new.times, old.times) == (4.0, 0.25)
    assert 2.0 < new.low < new.high < 8.1
    assert new.is_clear
    assert old.is_clear
    assert ("kettle", "1") not in told  # there is nothing to compare it with


def test_few_alarms_say_nothing_and_like_ones_are_not_clear() -> None:
    told = compare_firmware({"washer": [row("1.0", 50, 2), row("2.0", 50, 9), row("3.0", 50, 8)]})
    assert ("washer", "1.0") not in told
    assert not told["washer", "3.0"].is_clear
