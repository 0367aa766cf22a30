"""How often is too often, and who is left alone for comparison."""

import pytest

from crm_sync.contact_settings import CapSettings, HoldOutSettings, OutreachSettings
from crm_sync.policy.caps import binding, next_allowed_s
from crm_sync.policy.hold_out import draw, hold_out, is_held_out
from crm_sync.policy.model import Outcome, Reason
from devices.profiles.model import Severity

DAY = 86_400.0
CAPS = OutreachSettings().caps


def test_the_defaults_are_one_a_day_three_a_week_five_a_month() -> None:
    assert [(cap.contacts, cap.within / DAY) for cap in CAPS] == [(1, 1), (3, 7), (5, 30)]


@pytest.mark.parametrize(
    ("contacts_days", "allowed_day"),
    [
        ([], 100.0),
        ([99.5], 100.5),
        ([99.0], 100.0),  # a day ago exactly no longer counts
        ([94.0, 96.0, 98.0], 101.0),
        ([72.0, 76.0, 80.0, 84.0, 88.0], 102.0),
        ([72.0, 94.5, 96.0, 98.0, 99.5], 103.0),  # every cap binds, the longest wait counts
    ],
)
def test_the_next_contact_is_allowed_when_every_window_has_room(contacts_days: list[float], allowed_day: float) -> None:
    contacts_s = [day * DAY for day in contacts_days]
    assert next_allowed_s(CAPS, contacts_s, 100 * DAY) == allowed_day * DAY


def test_the_cap_that_makes_wait_longest_is_named() -> None:
    assert binding(CAPS, [99.5 * DAY], 100 * DAY) == CapSettings(contacts=1, within=DAY)
    assert binding(CAPS, [], 100 * DAY) is None


def test_two_caps_of_one_span_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="same span"):
        OutreachSettings(caps=(CapSettings(contacts=1, within=DAY), CapSettings(contacts=2, within=DAY)))


def test_the_group_has_its_share_and_stays_the_same() -> None:
    settings = HoldOutSettings(share=0.2, salt="spring")
    owners = [f"crm-{number}" for number in range(5000)]
    held = {owner for owner in owners if is_held_out(settings, "default", owner)}
    assert 0.18 < len(held) / len(owners) < 0.22
    assert held == {owner for owner in owners if is_held_out(settings, "default", owner)}
    more = HoldOutSettings(share=0.3, salt="spring")
    assert held <= {owner for owner in owners if is_held_out(more, "default", owner)}


def test_another_salt_draws_another_group() -> None:
    owners = [f"crm-{number}" for number in range(2000)]
    spring, summer = (
        {owner for owner in owners if is_held_out(HoldOutSettings(share=0.5, salt=salt), "default", owner)}
        for salt in ("spring", "summer")
    )
    assert 0.4 < len(spring & summer) / len(spring) < 0.6


def test_without_a_share_nobody_is_asked() -> None:
    assert hold_out(HoldOutSettings(), "default", "crm-1", Severity.MINOR) is None


def test_what_is_critical_is_told_to_everybody() -> None:
    settings = HoldOutSettings(share=0.999999)
    owner = next(f"crm-{n}" for n in range(9) if draw("", "default", f"crm-{n}") < 0.999999)
    refused = hold_out(settings, "default", owner, Severity.MAJOR)
    assert refused is not None
    assert (refused.outcome, refused.reason) == (Outcome.REFUSE, Reason.HOLD_OUT)
    allowed = hold_out(settings, "default", owner, Severity.CRITICAL)
    assert allowed is not None
    assert (allowed.outcome, allowed.inputs["exempt"]) == (Outcome.ALLOW, "critical")
