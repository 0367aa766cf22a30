"""How sure the detectors are of a device, in words."""

from datetime import timedelta

from gateway.api.device_habits import describe


def test_a_young_device_says_whether_it_leans_on_others() -> None:
    alone, among = describe(timedelta(days=3), 0, leans=False), describe(timedelta(hours=22), 62, leans=True)
    assert alone.says.startswith("known for 3 days; nothing was known of its model")
    assert (among.stage, among.others, among.leans) == ("young", 62, True)
    assert among.says.endswith("judged also by what others of its model have shown (62 in your registry)")


def test_who_leans_on_devices_of_other_tenants_is_told_no_number() -> None:
    among = describe(timedelta(days=3), 0, leans=True)
    assert among.says.endswith("it is judged also by what others of its model have shown")


def test_an_old_one_stands_on_its_own() -> None:
    assert describe(timedelta(days=40), 62, leans=True).says == "known for 40 days: judged by its own habits"
