"""What people at a helpdesk read of a message."""

import json
from typing import Any, cast

import pytest

from crm_sync.adapters.contract import Delivery
from crm_sync.adapters.rest.caller import Caller, Reply
from crm_sync.adapters.rest.calls import Call
from crm_sync.adapters.rest.spec import parse_spec
from crm_sync.adapters.rest.story import Story
from crm_sync.adapters.rest.template import Json, Values, fill
from crm_sync.adapters.rest.work import Work
from crm_sync.settings import MessageType
from crm_sync.wording.catalogue import load_wordings

CASE: dict[str, Json] = {"change": "outreach", "state": "open", "brief": "Too hot.", "team": "service"}
OUTREACH: Json = {
    "step": "step_1",
    "channel": "push",
    "template": "clean_it",
    "text": "Clean it.",
    "link": "https://a/b",
}
ENGLISH = Story(load_wordings().of().words)
CREATE = {"path": "/new", "id": "id"}


class _Told(Caller):
    """Answers yes to everything, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Json] = []

    async def call(self, name: str, call: Call, values: Values, path: str = "") -> Reply:
        self.told.append(fill(call.body, values))
        return cast("Reply", None)


async def told_by(case: dict[str, Json], **tables: Any) -> list[Json]:
    """What an update of a case says in a file with these tables."""
    spec = parse_spec({"name": "desk", "create": CREATE, "status": {"path": "/status"}, **tables}, "desk.toml")
    body = json.dumps({"data": case}).encode()
    caller = _Told()
    told = Delivery("case_a", "msg_1", MessageType.CASE_UPDATED, body, "7", 1, uncertain=False)
    await Work(spec, caller, told, ENGLISH).do()
    return caller.told


def test_a_contact_is_told_in_full_and_without_what_it_lacks() -> None:
    told = ENGLISH.news({**CASE, "outreach": OUTREACH})
    assert told == "To the owner by push, template clean_it:\nClean it.\nThe owner answers at https://a/b"
    assert (
        ENGLISH.news({**CASE, "outreach": {"channel": "email", "text": "Hello."}}) == "To the owner by email:\nHello."
    )


@pytest.mark.parametrize(
    ("state", "told"), [("open", "Too hot.\n\nNext: a part or a visit, valve."), ("resolved", "Too hot.")]
)
def test_what_is_next_is_told_while_the_case_is_live(state: str, told: str) -> None:
    assert ENGLISH.news({**CASE, "state": state, "next_action": {"kind": "part_or_visit", "what": "valve"}}) == told


def test_what_is_to_be_done_names_who_and_until_when_as_far_as_that_is_known() -> None:
    assert (
        ENGLISH.todo("case_a", {**CASE, "sla_due_at": "2026-09-01T10:00:00Z"})
        == "Team: service. Due: 2026-09-01T10:00:00Z."
    )
    assert (
        ENGLISH.todo("case_a", {"state": "open", "next_action": {"kind": "agent_case", "what": ""}})
        == "Next: an agent takes care of it."
    )
    assert ENGLISH.todo("case_a", {}) == ""


async def test_a_note_of_any_file_that_tells_the_brief_tells_the_contact() -> None:
    case = {**CASE, "outreach": OUTREACH}
    assert await told_by(case, note={"path": "/n", "body": "{change}: {brief}"}) == [f"outreach: {ENGLISH.news(case)}"]
    assert await told_by(case, note={"path": "/n", "body": "{brief} {outreach.text}"}) == ["Too hot. Clean it."]
    assert await told_by(CASE, note={"path": "/n", "body": "{brief}"}) == ["Too hot."]


async def test_without_notes_a_field_tells_the_contact_before_the_brief() -> None:
    case = {**CASE, "outreach": OUTREACH}
    assert await told_by(case, update={"path": "/u", "body": "{brief}"}) == [f"{ENGLISH.news(case)}\n\nToo hot."]
    assert await told_by(CASE, update={"path": "/u", "body": "{brief}"}) == ["Too hot."]


async def test_a_file_may_name_what_is_next_and_what_was_tried_itself() -> None:
    case: dict[str, Json] = {**CASE, "next_action": {"kind": "part_or_visit", "what": "valve"}}
    case["tried"] = [{"command": "descale"}]
    told = await told_by(case, note={"path": "/n", "body": "{next_action.what} {tried[0].command} {news}"})
    assert told == ["valve descale Too hot.\n\nNext: a part or a visit, valve."]


def test_a_record_is_told_in_the_language_of_its_helpdesk() -> None:
    case: dict[str, Json] = {**CASE, "next_action": {"kind": "part_or_visit", "what": "valvola"}}
    told = Story(load_wordings("it").of().words, "https://c/{case_id}").todo("case_a", case)
    assert told.splitlines() == [
        "Prossimo passo: un ricambio o una visita, valvola.",
        "Gruppo: service.",
        "Il caso con i suoi grafici: https://c/case_a",
    ]
