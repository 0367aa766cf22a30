"""What CRMs tell of owners: other teams' contacts count, people's own tickets keep careloop quiet."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from crm_sync.adapters.contract import Answered
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.adapters.rest.caller import Caller
from crm_sync.callbacks import CallbackAnswer, receive
from crm_sync.cases.callback import apply_callback
from crm_sync.owners.holding import hold
from crm_sync.owners.news import NewsEffect, take_news
from crm_sync.owners.told import Contacted, HumanCase, LeaveAlone, OwnerNews
from crm_sync.records.owner_polling import OwnerPolling
from crm_sync.settings import EndpointSettings
from crm_sync.signing import parse_secret, sign
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, endpoint, open_world, scale
from tests.services.people import wording

REAL_S = 1_800_000_000.0
CRM = endpoint("crm-a")


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await opened.grant("email")
        yield opened


async def call(world: CaseWorld, type_: str, /, *, message_id: str = "", **data: Any) -> CallbackAnswer:
    body = json.dumps({"type": type_, "timestamp": "2026-03-03T11:00:00Z", "data": data}).encode()
    named = message_id or f"msg_{abs(hash(body))}"
    headers = sign([parse_secret(CRM.secret.get_secret_value())], named, int(REAL_S), body)

    async def apply(conn: Any, callback: Any) -> str:
        return await apply_callback(conn, callback, wording=wording())

    return await receive(
        world.pool, CRM, headers, body, world.clock.at_s, apply=apply, real_now_s=lambda: REAL_S
    )  # fmt: skip


async def last_refusal(world: CaseWorld) -> tuple[str, str | None]:
    (row,) = await world.rows(
        "SELECT gate, reason FROM decision WHERE outcome <> 'allow' ORDER BY decision_id DESC LIMIT 1"
    )
    return row["gate"], row["reason"]


async def test_a_contact_that_a_crm_tells_of_counts_for_the_cap(world: CaseWorld) -> None:
    told = {"owner_ref": "own-1", "reference": "mail-7", "channel": "email", "by": "automatic"}
    at = datetime.fromtimestamp(NOON - HOUR, UTC).isoformat()
    assert await call(world, "owner.contacted", **told, at=at) == CallbackAnswer(200, "applied")
    assert await call(world, "owner.contacted", **told, at=at, message_id="again") == CallbackAnswer(200, "no_change")
    await world.happens(scale())
    assert await last_refusal(world) == ("frequency_cap", "frequency_cap")


async def test_a_call_by_a_person_keeps_everything_automatic_back(world: CaseWorld) -> None:
    await call(world, "owner.contacted", owner_ref="own-1", reference="call-1", channel="phone")
    await world.happens(scale())
    assert await last_refusal(world) == ("suppression", "human_reply")


async def test_a_ticket_of_a_person_keeps_careloop_quiet_until_it_is_closed(world: CaseWorld) -> None:
    at = [datetime.fromtimestamp(NOON + minute * 60, UTC).isoformat() for minute in range(3)]
    world.clock.at_s = NOON + HOUR
    for number, (state, effect) in enumerate([("open", "applied"), ("closed", "applied")]):
        answer = await call(world, "owner.case", external_id=4711, state=state, owner_ref="own-1", at=at[number + 1])
        assert answer == CallbackAnswer(200, effect)
        if state == "open":
            await world.happens(scale(NOON + HOUR))
            assert await last_refusal(world) == ("suppression", "human_case")
    late = await call(world, "owner.case", external_id="4711", state="open", owner_ref="own-1", at=at[0])
    assert late == CallbackAnswer(200, "no_change")  # what comes late does not open it again
    assert [row["closed_at"] is not None for row in await world.rows("SELECT closed_at FROM human_case")] == [True]


async def test_a_ticket_about_a_device_counts_too(world: CaseWorld) -> None:
    await call(world, "owner.case", external_id="1", state="open", device_id="cm-1")
    await world.happens(scale())
    assert await last_refusal(world) == ("suppression", "human_case")


async def test_an_owner_is_left_alone_until_the_crm_says_otherwise(world: CaseWorld) -> None:
    hold = {"owner_ref": "own-1", "kind": "complaint"}
    assert (await call(world, "owner.hold", **hold)).effect == "applied"
    await world.happens(scale())
    assert await last_refusal(world) == ("suppression", "complaint")
    assert (await call(world, "owner.hold", **hold, state="off")).effect == "applied"
    assert (await call(world, "owner.hold", **hold, state="off", message_id="twice")).effect == "no_change"
    await world.happens(scale(NOON + HOUR, watch="again", problem="brewing"))
    assert (await world.rows("SELECT state FROM held_step"))[-1]["state"] == "queued"


@pytest.mark.parametrize(
    ("kind", "data", "answer"),
    [
        ("owner.contacted", {"owner_ref": "own-1"}, CallbackAnswer(202, "unreadable")),
        ("owner.contacted", {"owner_ref": "own-9", "reference": "1"}, CallbackAnswer(202, "unknown_owner")),
        ("owner.case", {"external_id": "1", "state": "open"}, CallbackAnswer(202, "unknown_owner")),
        ("owner.case", {"external_id": "1", "state": "half"}, CallbackAnswer(202, "unreadable")),
        ("owner.hold", {"owner_ref": "own-1", "kind": "whim"}, CallbackAnswer(202, "unreadable")),
        ("owner.sneeze", {"owner_ref": "own-1"}, CallbackAnswer(202, "unknown_type")),
    ],
)
async def test_what_cannot_be_used_is_recorded_without_effect(
    world: CaseWorld, kind: str, data: dict[str, Any], answer: CallbackAnswer
) -> None:
    assert await call(world, kind, **data) == answer
    assert await world.rows("SELECT FROM owner_contact") == []


async def test_a_contact_of_tomorrow_is_one_of_now(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        news = Contacted("own-1", "mail-1", NOON + DAY)
        assert await take_news(conn, "default", "crm-a", news, NOON) is NewsEffect.APPLIED
    (row,) = await world.rows("SELECT contacted_at FROM owner_contact")
    assert row["contacted_at"].timestamp() == NOON


async def test_what_a_person_ordered_no_crm_ends_or_shortens(world: CaseWorld) -> None:
    tomorrow, later = (datetime.fromtimestamp(NOON + days * DAY, UTC) for days in (1, 2))
    async with world.pool.connection() as conn:
        order = LeaveAlone("own-1", "legal_hold", is_on=True, until_s=tomorrow.timestamp(), why="court")
        assert await hold(conn, "default", order, "person:ann", NOON)
    told = {"owner_ref": "own-1", "kind": "legal_hold"}
    assert (await call(world, "owner.hold", **told, state="off")).effect == "no_change"
    soon = datetime.fromtimestamp(NOON + HOUR, UTC).isoformat()
    assert (await call(world, "owner.hold", **told, until=soon)).effect == "applied"  # for its own part
    await world.happens(scale())
    assert await last_refusal(world) == ("suppression", "legal_hold")
    assert (await call(world, "owner.hold", **told, until=later.isoformat())).effect == "applied"
    held = "SELECT actor, until_at FROM owner_hold WHERE released_at IS NULL ORDER BY hold_id"
    assert await world.rows(held) == [
        {"actor": "person:ann", "until_at": tomorrow},
        {"actor": "crm:crm-a", "until_at": later},
    ]
    assert (await call(world, "owner.hold", **told, state="off", message_id="mine")).effect == "applied"
    assert await world.rows(held) == [{"actor": "person:ann", "until_at": tomorrow}]
    await call(world, "owner.hold", **told, message_id="again")
    async with world.pool.connection() as conn:
        assert await hold(conn, "default", replace(order, is_on=False), "person:bob", NOON)
    assert await world.rows(held) == []  # a person may end what anybody ordered


async def test_what_a_crm_says_of_holds_counts_by_when_it_was_said(world: CaseWorld) -> None:
    at = [datetime.fromtimestamp(NOON - HOUR + minute * 60, UTC).isoformat() for minute in range(5)]
    told = {"owner_ref": "own-1", "kind": "do_not_contact"}
    words = [("off", 1), ("on", 0), ("on", 2), ("off", 1), ("on", 4), ("off", 3), ("off", 4), ("on", 3)]
    effects = [
        (await call(world, "owner.hold", **told, state=state, at=at[minute], message_id=f"m{number}")).effect
        for number, (state, minute) in enumerate(words)
    ]
    assert effects == [
        *("no_change", "no_change"),  # the end came first, and its beginning after it
        *("applied", "no_change"),
        *("applied", "no_change"),  # said again, and an end from before that
        *("applied", "no_change"),
    ]
    await world.happens(scale())
    assert [row["state"] for row in await world.rows("SELECT state FROM held_step")] == ["queued"]


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z"])
async def test_the_end_of_the_calendar_means_for_ever(world: CaseWorld, until: str) -> None:
    told = await call(world, "owner.hold", owner_ref="own-1", kind="do_not_contact", until=until)
    assert told == CallbackAnswer(200, "applied")
    assert await world.rows("SELECT until_at FROM owner_hold") == [{"until_at": None}]


async def test_a_contact_at_the_beginning_of_the_calendar_was_long_ago(world: CaseWorld) -> None:
    at = "0001-01-01T00:00:00+05:00"
    told = await call(world, "owner.contacted", owner_ref="own-1", reference="call-1", at=at)
    assert told == CallbackAnswer(200, "applied")
    await world.happens(scale())
    assert (await world.rows("SELECT state FROM held_step")) == [{"state": "queued"}]


SPEC = """
name = "People's desk"
[create]
path = "/t"
id = "id"
body = { subject = "{title}" }
[note]
path = "/t/{external_id}/n"
body = { text = "{brief}" }
[contacts]
path = "/replies"
query = { since = "{since}" }
items = "replies"
id = "id"
owner = "customer"
at = "sent"
channel = "via"
human = "by_agent"
[tickets]
path = "/tickets"
query = { since = "{since}" }
items = "tickets"
id = "id"
owner = "customer"
device = "serial"
at = "changed"
status = "state"
open = ["new", "open"]
ours = "careloop"
"""

REPLIES = [
    {"id": 1, "customer": "own-1", "sent": "2026-03-03T08:00:00Z", "via": "email", "by_agent": False},
    {"id": 2, "customer": "own-1", "sent": "2026-03-03T09:00:00Z", "via": "phone", "by_agent": True},
    {"id": 3, "customer": None, "sent": "2026-03-03T09:00:00Z"},
    {"id": 4, "customer": "own-1", "sent": "soon"},
]
TICKETS = [
    {"id": 8, "customer": "own-1", "changed": 1772528400, "state": "open"},
    {"id": 9, "customer": "own-1", "changed": 1772528400, "state": "open", "careloop": "case_abc"},
    {"id": 10, "serial": "cm-1", "changed": 1772528400, "state": "solved"},
]


@pytest.fixture
def adapter(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> RestAdapter:
    file = tmp_path / "desk.toml"
    file.write_text(SPEC)
    settings = EndpointSettings(
        name="desk", url="https://desk.example.com", adapter="rest", spec_file=str(file), token=SecretStr("t")
    )
    made = RestAdapter(settings)

    async def some(_caller: object, name: str, *_asked: object) -> tuple[Sequence[object], None]:
        return {"contacts": REPLIES, "tickets": TICKETS}[name], None

    monkeypatch.setattr(Caller, "some", some)  # the calls have tests of their own
    return made


async def test_a_helpdesks_file_says_where_replies_and_tickets_are_found(
    world: CaseWorld, adapter: RestAdapter
) -> None:
    assert adapter.owners_every_s == 300.0
    told = (await adapter.owner_news_since(NOON - DAY)).told
    assert told == [
        Contacted("own-1", "1", 1772524800.0, "email", by_human=False),
        Contacted("own-1", "2", 1772528400.0, "phone", by_human=True),
        HumanCase("8", is_open=True, at_s=1772528400.0, owner_ref="own-1"),
        HumanCase("10", is_open=False, at_s=1772528400.0, device_id="cm-1"),
    ]
    polling = OwnerPolling(
        "default", [], world.pool, clock=world.clock, log=structlog.get_logger(), real_now_s=lambda: REAL_S
    )
    assert await polling.ask("desk", adapter) == {"applied": 4}
    assert await polling.ask("desk", adapter) == {"no_change": 4}
    (asked,) = await world.rows("SELECT endpoint FROM record_poll")
    assert asked["endpoint"] == "desk/owners"


async def test_news_of_people_whom_nobody_knows_is_passed_over(world: CaseWorld) -> None:
    class Told:
        owners_every_s = 1.0
        since_s = 0.0

        async def owner_news_since(self, since_s: float, _place: object | None = None, /) -> Answered[OwnerNews]:
            self.since_s = since_s
            return Answered([Contacted("own-9", "1", NOON), LeaveAlone("own-1", "do_not_contact", is_on=True)])

    told = Told()
    polling = OwnerPolling(
        "default", [], world.pool, clock=world.clock, log=structlog.get_logger(), real_now_s=lambda: REAL_S
    )
    assert await polling.ask("crm-a", told) == {"unknown_owner": 1, "applied": 1}
    assert told.since_s == REAL_S - 30 * DAY
    await polling.ask("crm-a", told)
    assert told.since_s == REAL_S
