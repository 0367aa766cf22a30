"""What a helpdesk is sent stays below 20 kB: whole sentences, and word of where the rest is."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from crm_sync.adapters.contract import Delivery, Result
from crm_sync.adapters.rest.caller import Caller, Reply
from crm_sync.adapters.rest.calls import Call
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.request import weight_of
from crm_sync.adapters.rest.shorten import cut, whole_sentences
from crm_sync.adapters.rest.spec import parse_spec
from crm_sync.adapters.rest.story import Story
from crm_sync.adapters.rest.template import Values, fill
from crm_sync.adapters.rest.work import Work
from crm_sync.settings import MessageType
from crm_sync.wording.catalogue import load_wordings

LINK = "https://care.example.com/cases/{case_id}"
SAYS = "(Shortened. The whole case: https://care.example.com/cases/case_a)"
SPEC: dict[str, Any] = {
    "name": "desk",
    "create": {"path": "/t", "id": "id", "body": {"text": "{brief}\n{todo}", "again": "{brief}", "key": "{case_id}"}},
    "read": {"path": "/t/{external_id}", "check": {"text": "{brief}\n{todo}"}},
    "note": {"path": "/n"},
}


class Desk:
    """A helpdesk that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.sizes: list[int] = []

    async def call(self, name: str, call: Call, values: Values) -> Reply:
        """Keep the fields; tell them."""
        if name == "create":
            self.sizes.append(weight_of(call, values))
            self.kept = cast("dict[str, Any]", fill(call.body, values))
        return Reply({"id": "7", **self.kept})

    async def items(self, *_: object) -> Sequence[Any]:
        """Nothing."""
        return ()


async def tell(desk: Desk, spec: dict[str, Any] = SPEC, **data: object) -> str:
    body = msgspec.json.encode({"data": {"state": "open", "team": "service", **data}})
    told = Delivery("case_a", "msg_1", MessageType.CASE_OPENED, body, None, 1, uncertain=False)
    work = Work(parse_spec(spec, "desk.toml"), cast("Caller", desk), told, Story(load_wordings().of().words, LINK))
    return (await work.do()).code


async def test_a_long_brief_is_cut_at_a_sentence_said_and_linked_and_read_back_as_sent() -> None:
    desk = Desk()
    assert await tell(desk, brief="La caldaia è troppo calda. " * 500) == "created"
    assert desk.sizes[0] < 20_000
    assert desk.kept["again"].endswith(f"La caldaia è troppo calda.\n{SAYS}")
    assert desk.kept["text"].startswith("La caldaia è troppo calda. La caldaia")


async def test_a_short_one_stays_as_it_is() -> None:
    desk = Desk()
    await tell(desk, brief="It is too hot.")
    assert desk.kept["again"] == "It is too hot."


async def test_a_message_that_was_clipped_does_not_end_in_the_middle_of_a_word() -> None:
    desk = Desk()
    await tell(desk, brief="It is too hot. It has been too hot for thr…", truncated=True)
    assert desk.kept["again"] == f"It is too hot.\n{SAYS}"


async def test_what_no_shorter_text_makes_small_is_a_dead_letter_that_says_so() -> None:
    spec = {**SPEC, "create": {**SPEC["create"], "body": {"all": "{asset.blob}"}}}
    with pytest.raises(CallFailed) as raised:
        await tell(Desk(), spec, brief="Short.", asset={"blob": "x" * 30_000})
    outcome = raised.value.outcome
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "oversized")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two. Thr", "One. Two."),
        ("No sentence at all here", "No sentence at all"),
        ("131.2 °C is too hot. And", "131.2 °C is too hot."),
        ("A heading\nand a beginning", "A heading"),
        ("word", "word"),
    ],
)
def test_texts_end_where_a_sentence_does(text: str, kept: str) -> None:
    assert whole_sentences(text) == kept


def test_bytes_are_counted_and_no_letter_is_broken() -> None:
    told = cut("è" * 400 + ". " + "à" * 400, 900, "(more)")
    assert len(told.encode()) <= 900
    assert told.endswith("è.\n(more)")
