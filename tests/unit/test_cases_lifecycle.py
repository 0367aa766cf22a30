"""The life cycle as data: every state, every move, and who may be assigned."""

import itertools

import pytest

from crm_sync.cases.desk import Assignment, assign
from crm_sync.cases.lifecycle import END_OF
from crm_sync.model import LIVE, MOVES, CaseState, Resolution, case_id_of, step_id_of
from crm_sync.playbooks.model import Facts
from devices.profiles.model import Action, ActionKind, Playbook, Severity

LIFE = {
    "proposed": {"approved", "retracted", "expired"},
    "approved": {"open", "retracted", "expired"},
    "open": {"waiting", "resolved", "retracted", "expired"},
    "waiting": {"open", "resolved", "retracted", "expired"},
    "resolved": {"open"},
    "retracted": set[str](),
    "expired": set[str](),
}


@pytest.mark.parametrize(("start", "end"), list(itertools.product(CaseState, CaseState)))
def test_every_pair_of_states_is_decided(start: CaseState, end: CaseState) -> None:
    assert (end in MOVES[start]) is (end.value in LIFE[start.value])


def test_live_states_are_those_that_ask_for_something() -> None:
    assert {state.value for state in LIVE} == {"proposed", "approved", "open", "waiting"}


def test_every_resolution_ends_an_open_case() -> None:
    for resolution in Resolution:
        assert END_OF[resolution] in MOVES[CaseState.OPEN]
        assert not END_OF[resolution].is_live


def test_a_case_id_is_the_same_for_whoever_works_it_out_and_fits_a_key() -> None:
    first = case_id_of("default", "alm_1", "")
    assert first == case_id_of("default", "alm_1", "")
    others = {
        case_id_of("other", "alm_1", ""),
        case_id_of("default", "alm_2", ""),
        case_id_of("default", "alm_1", first),
    }
    assert len({first, *others}) == 4
    assert len(first) == len("case_") + 22
    assert first.replace("_", "").isalnum()
    assert step_id_of(first, 0, 0) != step_id_of(first, 0, 1)


def facts(severity: Severity) -> Facts:
    return Facts(severity, warranty=None, lifecycle_stage=None, region=None)


def test_the_first_team_whose_severity_is_reached_is_assigned() -> None:
    playbook = Playbook(
        problem="pump",
        title="t",
        actions=(
            Action(kind=ActionKind.SELF_HELP_MESSAGE, channel="email"),
            Action(kind=ActionKind.AGENT_CASE, team="Safety", sla_h=1, minimum_severity=Severity.CRITICAL),
            Action(kind=ActionKind.AGENT_CASE, team="Repair", sla_h=48, minimum_severity=Severity.MAJOR),
        ),
    )
    assert assign(playbook, facts(Severity.CRITICAL)) == Assignment("Safety", 3600.0)
    assert assign(playbook, facts(Severity.MAJOR)) == Assignment("Repair", 48 * 3600.0)
    assert assign(playbook, facts(Severity.MINOR)) == Assignment("Safety", None)
    assert assign(Playbook(problem="pump", title="t"), facts(Severity.INFO)) == Assignment("Customer care", None)
