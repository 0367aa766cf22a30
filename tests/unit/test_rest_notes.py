"""Notes that take two calls."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from crm_sync.adapters.contract import Delivery, Result
from crm_sync.adapters.rest.caller import Caller, Reply
from crm_sync.adapters.rest.calls import Call
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.spec import parse_spec
from crm_sync.adapters.rest.story import Story
from crm_sync.adapters.rest.template import Values
from crm_sync.adapters.rest.work import Work
from crm_sync.settings import MessageType
from crm_sync.wording.catalogue import load_wordings
from devices.errors import ConfigError

NOTE = {
    "path": "/notes",
    "id": "id",
    "find": {"path": "/notes", "text": "text", "id": "id"},
    "attach": {"path": "/t/{external_id}", "body": {"note": "{note_id}"}},
}
SPEC = {"name": "desk", "create": {"path": "/t", "id": "id"}, "note": NOTE}


class Desk:
    """A helpdesk that does not always say what a note is called."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.attached: list[object] = []

    async def call(self, name: str, _call: Call, values: Values) -> Reply:
        """Make a note, or tie it."""
        if name == "note":
            self.notes.append({"id": "n1", "text": values.facts["message_id"]})
        else:
            self.attached.append(values.facts["note_id"])
        return Reply({})

    async def items(self, *_: object) -> Sequence[Any]:
        """The notes."""
        return self.notes


async def test_a_note_whose_name_was_not_told_is_found_and_tied_and_not_made_again() -> None:
    desk = Desk()

    async def tell(attempt: int) -> None:
        told = Delivery("case_a", "msg_1", MessageType.CASE_UPDATED, b"{}", "7", attempt, uncertain=attempt > 1)
        await Work(parse_spec(SPEC, "desk.toml"), cast("Caller", desk), told, Story(load_wordings().of().words)).do()

    with pytest.raises(CallFailed) as raised:
        await tell(1)
    assert (raised.value.outcome.result, desk.attached) == (Result.UNKNOWN, [])
    await tell(2)
    assert (len(desk.notes), desk.attached) == (1, ["n1"])


def test_a_file_must_say_how_a_note_that_is_tied_is_called() -> None:
    note = {name: value for name, value in NOTE.items() if name not in {"id", "find"}}
    with pytest.raises(ConfigError, match="what is to be attached"):
        parse_spec({**SPEC, "note": note}, "desk.toml")
