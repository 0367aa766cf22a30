"""How sure the detectors are of a device, in words."""

from datetime import timedelta

from gateway.api.device_habits import describe


def test_a_young_device_says_on_how_many_others_it_leans() -> None:
    alone, among = describe(timedelta(days=3), 0), describe(timedelta(hours=22), 62)
    assert alone.says.startswith("known for 3 days; nothing was known of its model")
    assert (among.stage, among.others) == ("young", 62)
    assert among.says.startswith("known for 1 day; until it is for 21, it is judged also by what 62 others")


def test_an_old_one_stands_on_its_own() -> None:
    assert describe(timedelta(days=40), 62).says == "known for 40 days: judged by its own habits"
