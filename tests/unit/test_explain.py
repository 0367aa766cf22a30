"""Reasons in words."""

import string
from datetime import UTC, datetime

import pytest

from crm_sync.explain import OF_THE_BUDGET, WORDS, explain_owner
from crm_sync.policy.model import Reason
from crm_sync.policy.shown import DecisionView
from crm_sync.trust.budget import Verdict

AT = datetime(2026, 3, 3, 22, tzinfo=UTC)


def refusal(reason: Reason, **inputs: object) -> DecisionView:
    return DecisionView(
        None, "alm_1", "a-1", "d-1", "own-1", "step", "email", "grant", "refuse", reason, inputs, None, AT
    )


def allowed(gate: str) -> DecisionView:
    return DecisionView(None, "alm_1", "a-1", "d-1", "own-1", "case", "crm", gate, "allow", None, {}, None, AT)


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


def test_what_was_decided_at_once_is_told_in_the_order_in_which_it_was_decided() -> None:
    """It began with the last gate, the yes of a person, and ended with the first."""
    newest_first = [allowed("grant"), allowed("freshness"), allowed("kill_switch")]
    told = [line.says for line in explain_owner("own-1", newest_first, []).lines]
    assert [text.partition(":")[0] for text in told] == ["kill switch", "freshness", "grant"]


def test_whose_case_was_a_teams_to_act_on_is_not_left_without_a_reason() -> None:
    answer = explain_owner("own-1", [allowed("grant")], []).answer
    assert answer.startswith("own-1 was never contacted. Nothing was to be sent to them: what was found is for a team")


def test_a_person_about_whom_nothing_was_decided_is_told_so() -> None:
    assert "Nothing was ever decided" in explain_owner("own-9", [], []).answer


def test_words_name_only_what_can_be_filled_in() -> None:
    for words in (*WORDS.values(), *OF_THE_BUDGET.values()):
        assert all(
            name and name.isidentifier() for _, name, _, _ in string.Formatter().parse(words) if name is not None
        )


@pytest.mark.parametrize("verdict", [each for each in Verdict if not each.passes])
def test_each_no_of_the_budget_is_told_with_how_likely_it_was(verdict: Verdict) -> None:
    told = refusal(Reason.BUDGET, verdict=str(verdict), belief=0.1634, needed_belief=0.25)
    assert "true to 16.3 %" in explain_owner("own-1", [told], []).answer


def test_what_the_least_belief_held_back_is_told_with_the_least() -> None:
    told = refusal(Reason.BUDGET, verdict="belief", belief=0.16, needed_belief=0.2)
    assert "to 16 %, where a case needs 20 % however much room" in explain_owner("own-1", [told], []).answer


@pytest.mark.parametrize(
    ("verdict", "says"), [("bar", "its watch was right too rarely: to 20 %"), ("cap", "true to 90 %")]
)
def test_what_only_outcomes_were_asked_of_is_told_by_them(verdict: str, says: str) -> None:
    """A limit that somebody has set is not weighed, and neither is a small fleet: its belief holds nothing back."""
    told = refusal(Reason.BUDGET, verdict=verdict, belief=0.9, needed_belief=0.25, by_outcomes=0.2)
    assert says in explain_owner("own-1", [told], []).answer
