"""Which action is best, what its conditions look at, and what is learnt."""

import math
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from crm_sync.playbooks.learning import beta_cdf, posterior
from crm_sync.playbooks.model import Facts, Lane, Rate, Why
from crm_sync.playbooks.ranking import rank
from devices.commands.model import CommandState, read_answer
from devices.profiles.model import Playbook, Profile, Severity


def playbook(*actions: dict[str, Any], explore: bool = False) -> Playbook:
    return Playbook.model_validate({"problem": "pump", "title": "t", "actions": actions, "explore": explore})


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {"warranty": None, "lifecycle_stage": None, "region": None}
    return Facts(Severity.MAJOR, **(known | changes))


def order(found: Playbook, known: Facts, seed: int = 1) -> list[str]:
    return [each.candidate.action.key for each in rank(found, known, Random(seed)).considered]


@pytest.mark.parametrize(
    ("when", "known", "why"),
    [
        ({"maximum_severity": "minor"}, {}, Why.TOO_GRAVE),
        ({"warranty": "in"}, {"warranty": "out"}, Why.WARRANTY),
        ({"warranty": "in"}, {}, Why.UNKNOWN_WARRANTY),
        ({"warranty": "in"}, {"warranty": "in"}, None),
        ({"lifecycle_stages": ["in_use"]}, {}, Why.UNKNOWN_LIFECYCLE),
        ({"lifecycle_stages": ["in_use"]}, {"lifecycle_stage": "retired"}, Why.LIFECYCLE),
        ({"regions": ["eu", "us"]}, {"region": "us"}, None),
        ({"regions": ["eu"]}, {}, Why.UNKNOWN_REGION),
        ({"minimum_precision": 0.8}, {}, Why.UNKNOWN_PRECISION),
        ({"minimum_precision": 0.8}, {"precision": 0.7}, Why.PRECISION),
        ({"minimum_score": 0.5}, {"score": 0.5}, None),
        ({"minimum_success": 0.5}, {}, Why.UNKNOWN_SUCCESS),
        ({"minimum_success": 0.5}, {"rates": {"agent_case:Repair": Rate(0, 5)}}, Why.SUCCESS),
        ({"minimum_success": 0.5}, {"rates": {"agent_case:Repair": Rate(5, 1)}}, None),
        ({"worked_before": "product"}, {"rates": {"agent_case:Repair": Rate(5, 1)}}, Why.NEVER_WORKED),
        ({"worked_before": "model"}, {"rates": {"agent_case:Repair": Rate(5, 1)}}, None),
        ({"worked_before": "product"}, {"worked_here": frozenset({"agent_case:Repair"})}, None),
    ],
)
def test_a_condition_holds_only_by_what_is_known(when: dict[str, Any], known: dict[str, Any], why: Why | None) -> None:
    found = playbook({"kind": "agent_case", "team": "Repair", "when": when})
    (considered,) = rank(found, facts(**known), Random(1)).considered
    assert considered.unmet is why


def test_the_list_decides_and_among_equals_success_then_who_is_troubled_least() -> None:
    phone = {"kind": "self_help_message", "channel": "phone", "template": "a"}
    email = {"kind": "self_help_message", "channel": "email", "template": "b"}
    assert order(playbook(phone, email), facts())[0] == "self_help_message:phone:a"
    equals = playbook(phone | {"rank": 1}, email | {"rank": 1})
    assert order(equals, facts())[0] == "self_help_message:email:b"
    rates = {"self_help_message:phone:a": Rate(8, 1), "self_help_message:email:b": Rate(3, 4)}
    assert order(equals, facts(rates=rates))[0] == "self_help_message:phone:a"


def test_exploring_draws_and_the_same_chance_draws_the_same() -> None:
    one = {"kind": "agent_case", "team": "A", "rank": 1}
    other = {"kind": "agent_case", "team": "B", "rank": 1}
    rates = {"agent_case:A": Rate(6, 4), "agent_case:B": Rate(1, 1)}
    still = {order(playbook(one, other), facts(rates=rates), seed)[0] for seed in range(50)}
    assert still == {"agent_case:A"}
    exploring = playbook(one, other, explore=True)
    drawn = [order(exploring, facts(rates=rates), seed)[0] for seed in range(50)]
    assert set(drawn) == {"agent_case:A", "agent_case:B"}
    assert drawn == [order(exploring, facts(rates=rates), seed)[0] for seed in range(50)]


def test_only_where_it_may_explore_is_an_unknown_rate_tried() -> None:
    action = {"kind": "agent_case", "team": "A", "when": {"minimum_success": 0.9}}
    assert rank(playbook(action), facts(), Random(1)).allowed(Lane.AGENTS) == ()
    (tried,) = rank(playbook(action, explore=True), facts(), Random(1)).allowed(Lane.AGENTS)
    assert tried.inputs["explored"] is True
    assert isinstance(tried.inputs["drawn_chance"], float)
    (settled,) = rank(playbook({"kind": "agent_case"}), facts(), Random(1)).considered
    assert "drawn_chance" not in settled.inputs


@pytest.mark.parametrize(("a", "b", "x"), [(1, 1, 0.3), (2, 5, 0.2), (8, 3, 0.7), (40, 60, 0.45), (1, 9, 0.05)])
def test_the_posterior_is_a_beta_distributions(a: int, b: int, x: float) -> None:
    n = a + b - 1
    binomial = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert beta_cdf(a, b, x) == pytest.approx(binomial, abs=1e-9)


def test_more_trials_leave_less_open() -> None:
    few, many = posterior(Rate(3, 1)), posterior(Rate(300, 100))
    assert few.low < many.low < many.mean < many.high < few.high
    assert posterior(Rate()).mean == pytest.approx(0.5)


def test_a_command_that_could_never_be_seen_to_help_is_refused() -> None:
    fields: dict[str, Any] = {
        "model": "m",
        "title": "M",
        "metrics": {"t": {"kind": "gauge"}},
        "commands": {"reset": {}},
        "watches": [{"name": "hot", "detector": "threshold", "metric": "t", "keep_firing_for": "2d"}],
        "playbooks": [{"problem": "t", "title": "t", "actions": [{"kind": "command", "command": "reset"}]}],
    }
    with pytest.raises(ValidationError, match="verify_within of reset must be longer than"):
        Profile.model_validate(fields)
    flying = [{"problem": "t", "title": "t", "actions": [{"kind": "command", "command": "fly"}]}]
    with pytest.raises(ValidationError, match="no command named 'fly'"):
        Profile.model_validate(fields | {"playbooks": flying})


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (None, CommandState.DONE),
        ("done", CommandState.DONE),
        ({"status": "refused", "detail": "in use"}, CommandState.REFUSED),
        ({"status": "accepted"}, CommandState.DELIVERED),
        ("certainly", CommandState.FAILED),
        ({"state": "done"}, CommandState.FAILED),
        (7, CommandState.FAILED),
    ],
)
def test_only_what_is_understood_counts_as_done(answer: object, state: CommandState) -> None:
    assert read_answer("d1", "c1", answer).state is state
