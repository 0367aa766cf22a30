"""Whether contact helped, by the numbers of a textbook."""

import pytest

from crm_sync.journey.queries import Followed
from crm_sync.journey.report import compare
from gateway.cli.journey import say_effect


def test_the_interval_is_newcombes() -> None:
    """56 of 70 against 48 of 80: 0.0524 to 0.3339, as Newcombe (1998, table II, method 10) has it."""
    found = compare([Followed(is_held_out=False, cases=70, gone=56), Followed(is_held_out=True, cases=80, gone=48)])
    assert found.effect == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert found.is_shown


def test_few_cases_show_nothing_and_it_says_so() -> None:
    found = compare([Followed(is_held_out=False, cases=3, gone=3), Followed(is_held_out=True, cases=2, gone=1)])
    assert not found.is_shown
    assert "too few to tell it from chance" in say_effect(found)


def test_without_a_held_out_owner_nothing_is_claimed() -> None:
    found = compare([Followed(is_held_out=False, cases=900, gone=890)])
    assert found.effect is None
    assert say_effect(found).startswith("Effect of contact: not known")
