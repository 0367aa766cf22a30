"""Answers that are longer than what is read at once: all of them is heard, in pieces."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pytest

from crm_sync.adapters.contract import Outcome, Result
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.adapters.rest.caller import Caller, Reply
from crm_sync.adapters.rest.calls import Call
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.instants import parse_instant_s
from crm_sync.adapters.rest.spec import parse_spec
from crm_sync.adapters.rest.template import Values
from crm_sync.records.walking import Walk, Walks
from crm_sync.settings import EndpointSettings
from devices.errors import Retryable

URL: Final = "https://desk.example.com"
WIDE: Final = 3
START_S: Final = 1_800_000_000.0
PAGING: Final[Mapping[str, Mapping[str, Any]]] = {
    "page": {"page_from": 1},
    "offset": {"by_offset": True},
    "cursor": {"cursor": "after"},
    "next": {"next": "next"},
}


@dataclass
class Desk:
    """A helpdesk with more tickets than are read at once."""

    paging: str
    changed_s: dict[int, float]
    is_sorted: bool = True
    asked: int = 0
    fails: list[Result] = field(default_factory=list[Result])

    async def call(self, _name: str, _call: Call, values: Values, path: str = "") -> Reply:
        """One page of what changed since."""
        self.asked += 1
        if self.fails:
            raise CallFailed(Outcome(self.fails.pop(), "http_500"))
        facts = cast("dict[str, Any]", values.facts)
        since_s = parse_instant_s(facts["since"])
        assert since_s is not None
        found = [number for number, at_s in self.changed_s.items() if at_s >= since_s]
        found.sort(key=lambda number: (self.changed_s[number] if self.is_sorted else 0.0, number))
        at = {
            "page": lambda: (facts["page"] - 1) * WIDE,
            "offset": lambda: facts["offset"],
            "cursor": lambda: int(facts["cursor"] or 0),
            "next": lambda: int(path.rpartition("=")[2] or 0),
        }[self.paging]()
        tickets = [{"id": number, "status": "solved", "at": self.changed_s[number]} for number in found[at : at + WIDE]]
        more = at + WIDE < len(found)
        body = {"tickets": tickets}
        body |= {"after": at + WIDE, "next": f"/t?at={at + WIDE}"} if more else {}
        return Reply(cast("Any", body), url=f"{URL}/t")


def adapter_of(desk: Desk, monkeypatch: pytest.MonkeyPatch, *, ordered: bool) -> RestAdapter:
    """The way to it; two pages are read at once."""
    poll = {
        "path": "/t",
        "items": "tickets",
        "id": "id",
        "status": "status",
        "statuses": {"solved": "resolved"},
        "most_pages": 2,
        "overlap": 0,
        **PAGING[desk.paging],
        **({"in_order_of": "at"} if ordered else {}),
    }
    table = {"name": "desk", "create": {"path": "/t", "id": "id"}, "note": {"path": "/n"}, "poll": poll}
    spec = parse_spec(table, "desk.toml")

    def read(*_: object) -> object:
        return spec

    monkeypatch.setattr("crm_sync.adapters.rest.adapter.read_spec", read)
    endpoint = {"name": "desk", "url": URL, "adapter": "rest", "token": "t"}
    made = RestAdapter(EndpointSettings.model_validate(endpoint))
    monkeypatch.setattr(Caller, "call", desk.call)
    return made


@dataclass
class Listener:
    """Hears what is told, and remembers up to when."""

    adapter: RestAdapter
    walks: Walks = field(default_factory=Walks)
    heard: set[str] = field(default_factory=set[str])
    until_s: float = START_S
    now_s: float = START_S + 1000
    is_busy: bool = False

    async def ask(self) -> bool:
        """As polling does it."""
        walk = self.walks.resume("desk") or Walk(self.now_s, self.until_s)

        async def take(told: Any) -> bool:
            self.heard |= {each.external_id for each in told}
            return self.is_busy

        async def reached(until_s: float) -> None:
            self.until_s = until_s

        return await self.walks.go("desk", walk, self.adapter.changes_since, take, reached)


def all_of(desk: Desk) -> set[str]:
    return {str(number) for number in desk.changed_s}


@pytest.mark.parametrize("paging", PAGING)
@pytest.mark.parametrize("how", ["sorted and said", "sorted", "unsorted", "one moment"])
async def test_however_much_there_is_all_of_it_is_heard(monkeypatch: pytest.MonkeyPatch, paging: str, how: str) -> None:
    changed_s = {number: START_S + (7.0 if how == "one moment" else number * 7 % 100 * 2.0) for number in range(100)}
    desk = Desk(paging, changed_s, is_sorted=how.startswith("sorted"))
    listener = Listener(adapter_of(desk, monkeypatch, ordered=how in {"sorted and said", "one moment"}))
    assert await listener.ask()
    assert listener.heard == all_of(desk)
    assert listener.until_s == listener.now_s
    assert desk.asked < 100 / WIDE * 2 + 10  # a page or so is read twice at each step


@pytest.mark.parametrize("paging", ["page", "offset"])
@pytest.mark.parametrize("ordered", [True, False])
async def test_what_moves_to_the_end_meanwhile_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, paging: str, *, ordered: bool
) -> None:
    desk = Desk(paging, {number: START_S + number * 2.0 for number in range(60)})
    adapter = adapter_of(desk, monkeypatch, ordered=ordered)
    heard, place = set[str](), None
    for step in range(40):
        answered = await adapter.changes_since(START_S, place)
        heard |= {each.external_id or "" for each in answered.told}
        if (place := answered.place) is None:
            break
        for number in range(step * 2, step * 2 + 2):  # all that stood behind these moves up
            desk.changed_s[number % 60] = START_S + 500 + step
    assert place is None
    assert heard == all_of(desk)


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_failure_on_the_way_goes_on_from_there(monkeypatch: pytest.MonkeyPatch, *, ordered: bool) -> None:
    desk = Desk("cursor", {number: START_S + number * 2.0 for number in range(50)})
    listener = Listener(adapter_of(desk, monkeypatch, ordered=ordered))
    plain, desk.asked = desk.call, 0

    async def call(*asked: Any) -> Reply:
        if desk.asked in {5, 10, 15}:
            desk.asked += 1
            raise CallFailed(Outcome(Result.RETRYABLE, "http_503"))
        return await plain(*asked)

    monkeypatch.setattr(Caller, "call", staticmethod(call))
    for _ in range(3):
        with pytest.raises(Retryable):
            await listener.ask()
    assert await listener.ask()
    assert listener.heard == all_of(desk)
    assert desk.asked < 30
    assert listener.until_s == listener.now_s


async def test_a_place_that_the_crm_keeps_no_longer_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk("cursor", {number: START_S + number * 2.0 for number in range(20)})
    adapter = adapter_of(desk, monkeypatch, ordered=False)
    place = (await adapter.changes_since(START_S)).place
    desk.fails = [Result.PERMANENT]
    again = await adapter.changes_since(START_S, place)
    assert {each.external_id for each in again.told} == {"0", "1", "2", "3", "4", "5"}


async def test_what_is_busy_is_asked_for_again_though_the_rest_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk("page", {number: START_S + number * 2.0 for number in range(30)})
    listener = Listener(adapter_of(desk, monkeypatch, ordered=True), is_busy=True)
    assert await listener.ask()
    assert listener.until_s == START_S


async def test_how_far_an_ordered_answer_came_outlives_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk("page", {number: START_S + number * 2.0 for number in range(30)})
    listener = Listener(adapter_of(desk, monkeypatch, ordered=True))
    monkeypatch.setattr("crm_sync.records.walking.MOST_STEPS", 2)
    assert not await listener.ask()
    assert START_S < listener.until_s < START_S + 60
    for _ in range(10):
        listener.walks = Walks()  # as a restart forgets them
        if await listener.ask():
            break
    assert listener.heard == all_of(desk)
