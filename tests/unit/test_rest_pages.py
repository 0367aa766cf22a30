"""Listings that go on over several pages."""

from collections.abc import Sequence
from typing import Any

import pytest

from crm_sync.adapters.rest.caller import Caller, Reply
from crm_sync.adapters.rest.calls import Call
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.hearing import Tickets
from crm_sync.adapters.rest.spec import FACTS, parse_spec
from crm_sync.adapters.rest.template import Values
from crm_sync.settings import EndpointSettings

URL = "https://desk.example.com"
SPEC = {
    "name": "desk",
    "create": {"path": "/t", "id": "id"},
    "note": {"path": "/n"},
    "tickets": {
        "path": "/changes",
        "items": "tickets[?theirs]",
        "next": "after",
        "most_pages": 4,
        "id": "id",
        "owner": "owner",
        "at": "at",
        "status": "status",
        "open": ["open"],
    },
}
OURS = {"id": 0, "theirs": False}


async def listed(monkeypatch: pytest.MonkeyPatch, pages: Sequence[dict[str, Any]]) -> list[Any]:
    """The numbers of the tickets on pages that lead from one to the next."""
    spec = parse_spec(SPEC, "desk.toml")
    endpoint = {"name": "desk", "url": URL, "adapter": "rest", "token": "t"}
    caller = Caller(EndpointSettings.model_validate(endpoint), spec)
    asked: list[str] = []

    async def call(_name: str, _call: Call, _values: Values, path: str = "") -> Reply:
        asked.append(path)
        return Reply(pages[len(asked) - 1], url=f"{URL}/changes")

    monkeypatch.setattr(caller, "call", call)
    tickets = spec.tickets
    assert isinstance(tickets, Tickets)
    found = await caller.items("tickets", tickets, Values(dict.fromkeys(FACTS), {}))
    await caller.close()
    return [each["id"] for each in found]  # pyright: ignore[reportCallIssue, reportArgumentType, reportIndexIssue, reportOptionalSubscript]


def page(at: int, *tickets: dict[str, Any], last: bool = False) -> dict[str, Any]:
    """One that leads on to the next."""
    return {"tickets": list(tickets), "after": None if last else f"{URL}/changes?page={at + 1}"}


async def test_a_page_of_our_own_tickets_alone_is_not_the_end_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [page(1, OURS), page(2, OURS), page(3, {"id": 7, "theirs": True}, last=True)]
    assert await listed(monkeypatch, pages) == [7]


async def test_pages_that_lead_on_for_ever_with_nothing_on_them_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [page(1, {"id": 7, "theirs": True}), *(page(at) for at in range(2, 9))]
    assert await listed(monkeypatch, pages) == [7]


async def test_an_address_that_repeats_the_token_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_spec({**SPEC, "auth": {"kind": "parameter", "parameter": "key"}}, "desk.toml")
    endpoint = {"name": "desk", "url": URL, "adapter": "rest", "token": "t0p/secret+="}
    caller = Caller(EndpointSettings.model_validate(endpoint), spec)
    assert spec.tickets is not None

    async def call(*_args: object) -> Reply:
        after = "https://elsewhere.example/?key=t0p%2Fsecret%2B%3D&page=2"
        return Reply({"tickets": [{"id": 7, "theirs": True}], "after": after}, url=URL)

    monkeypatch.setattr(caller, "call", call)
    with pytest.raises(CallFailed) as raised:
        await caller.items("tickets", spec.tickets, Values(dict.fromkeys(FACTS), {}))
    assert "elsewhere" in raised.value.outcome.detail
    assert "secret" not in raised.value.outcome.detail
    await caller.close()
