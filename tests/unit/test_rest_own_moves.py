"""Which words of a helpdesk's are careloop's own doing."""

from typing import Any, Final

import pytest

from crm_sync.adapters.contract import Delivery
from crm_sync.adapters.rest.own_moves import words_put
from crm_sync.adapters.rest.spec import FACTS, Spec, parse_spec
from crm_sync.adapters.rest.template import Values
from crm_sync.settings import MessageType

DESK: Final[dict[str, Any]] = {
    "name": "Desk",
    "maps": {"state": {"waiting": 3, "resolved": 5, "*": 2}},
    "create": {"path": "/t", "id": "id", "body": {"ticket": {"status": 1, "priority": 2, "subject": "{title}"}}},
    "note": {"path": "/t/{external_id}/notes", "body": {"text": "{brief}"}},
    "status": {"path": "/t/{external_id}", "body": {"ticket": {"status": "{state|state}", "priority": 4}}},
}


def put(kind: MessageType, spec: Spec, **facts: str) -> list[str]:
    values = Values({**dict.fromkeys(FACTS), **facts}, spec.maps)
    return list(words_put(spec, values, Delivery("case_a", "msg_a", kind, b"{}", None, 1, uncertain=False)))


@pytest.mark.parametrize(
    ("kind", "facts", "words"),
    [
        (MessageType.CASE_OPENED, {"state": "open", "change": "opened"}, ["1"]),  # the priority is no status
        (MessageType.CASE_UPDATED, {"state": "open", "change": "reopened"}, ["2"]),
        (MessageType.CASE_UPDATED, {"state": "waiting", "change": "waiting"}, ["3"]),
        (MessageType.CASE_UPDATED, {"state": "open", "change": "alarm_attached"}, []),  # moves nothing
        (MessageType.CASE_RESOLVED, {"state": "resolved", "change": "recovered_in_telemetry"}, []),
    ],
)
def test_words_are_those_that_the_file_puts_where_it_says_how_a_case_stands(
    kind: MessageType, facts: dict[str, str], words: list[str]
) -> None:
    assert put(kind, parse_spec(DESK, "desk.toml"), **facts) == words


def test_a_file_that_moves_nothing_puts_nothing() -> None:
    spec = parse_spec({key: part for key, part in DESK.items() if key != "status"}, "desk.toml")
    assert put(MessageType.CASE_UPDATED, spec, state="open", change="reopened") == []


def test_what_newer_messages_have_overtaken_puts_nothing() -> None:
    spec = parse_spec(DESK, "desk.toml")
    late = Delivery("case_a", "msg_a", MessageType.CASE_UPDATED, b"{}", "7", 2, uncertain=False, overtaken=True)
    values = Values({**dict.fromkeys(FACTS), "state": "open", "change": "reopened"}, spec.maps)
    assert list(words_put(spec, values, late)) == []


def test_a_word_that_no_map_has_was_not_put() -> None:
    spec = parse_spec({**DESK, "maps": {"state": {"resolved": 5}}}, "desk.toml")
    assert put(MessageType.CASE_UPDATED, spec, state="open", change="reopened") == []
