"""Reasons in words."""

import string
from datetime import UTC, datetime

import pytest

from crm_sync.explain import WORDS, explain_owner
from crm_sync.policy.model import Reason
from crm_sync.policy.shown import DecisionView

AT = datetime(2026, 3, 3, 22, tzinfo=UTC)


def refusal(reason: Reason, **inputs: object) -> DecisionView:
    return DecisionView(
        None, "alm_1", "a-1", "d-1", "own-1", "step", "email", "grant", "refuse", reason, inputs, None, AT
    )


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_words_survive_whatever_a_gate_looked_at(reason: Reason) -> None:
    said = explain_owner("own-1", [refusal(reason)], []).answer
    assert "{" not in said
    assert said.endswith(".")


def test_what_was_looked_at_is_said() -> None:
    decisions = [refusal(Reason.STALE, head_age_s=90_000, stale_after_s=86_400, has_ended=False)]
    story = explain_owner("own-1", decisions, [])
    assert story.answer == (
        "own-1 was never contacted. What was left undone: when it was heard of it was over, or the newest reading "
        "25.0 h old (at most 24.0 h)."
    )


def test_a_person_about_whom_nothing_was_decided_is_told_so() -> None:
    assert "Nothing was ever decided" in explain_owner("own-9", [], []).answer


def test_words_name_only_what_can_be_filled_in() -> None:
    for words in WORDS.values():
        assert all(
            name and name.isidentifier() for _, name, _, _ in string.Formatter().parse(words) if name is not None
        )
