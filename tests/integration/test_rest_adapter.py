"""A helpdesk described by docs/crm/example-helpdesk.toml, told of cases by the delivery engine, and lying about it."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from crm_sync.adapters.rehearse import rehearse
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.delivery.breaker import Breaker
from crm_sync.delivery.channels import Channel
from crm_sync.delivery.records import get_delivery
from crm_sync.delivery.replay import replay
from crm_sync.outbox import OutboxMessage
from crm_sync.settings import EndpointSettings, MessageType
from devices.errors import ConfigError
from tests.services.delivery_rig import Rig, message, open_rig
from tests.services.gateway import run_careloop
from tests.services.helpdesk import TOKEN, Answer, Asked, Helpdesk, commits_then, refuses

EXAMPLE = Path(__file__).parents[2] / "docs" / "crm" / "example-helpdesk.toml"
CREATE, FIND = "POST /api/tickets", "GET /api/tickets"
COMMENT, CHANGE = "POST /api/tickets/100/comments", "PUT /api/tickets/100"
CASE: dict[str, Any] = {
    "title": "Dosatrice ferma",
    "brief": "No steps since Sunday.",
    "severity": "major",
    "state": "open",
    "change": "opened",
    "team": "wearables",
    "problem": "steps",
    "device_id": "band-1",
    "asset": {"asset_id": "a-1", "serial": 'S"1', "model": "band"},
    "owner_ref": "owner-1",
    "sla_due_at": None,
    "alarms": [{"explanation": {"text": "first"}}, {"explanation": {"text": "last"}}],
}
OPENED = MessageType.CASE_OPENED


def settings(desk: Helpdesk, spec: Path = EXAMPLE, **more: Any) -> EndpointSettings:
    """The endpoint of a helpdesk inside."""
    values = {
        "name": "crm",
        "adapter": "rest",
        "url": desk.url,
        "spec_file": str(spec),
        "token": TOKEN,
        "allow_http": True,
        "allow_networks": ("127.0.0.0/8",),
        "ports": (httpx.URL(desk.url).port,),
        **more,
    }
    return EndpointSettings.model_validate(values)


@asynccontextmanager
async def open_desk(database_url: str, spec: Path = EXAMPLE, **more: Any) -> AsyncGenerator[tuple[Rig, Helpdesk]]:
    """A helpdesk, and the engine that tells it."""
    async with Helpdesk() as desk, open_rig(database_url) as rig:
        endpoint = settings(desk, spec, **more)
        adapter = RestAdapter(endpoint, real_now_s=rig.hands.read)
        rig.channels.append(Channel(endpoint, adapter, Breaker(endpoint.breaker)))
        try:
            yield rig, desk
        finally:
            await adapter.close()


def case(kind: MessageType = OPENED, **changed: Any) -> OutboxMessage:
    """A message about one case."""
    return message("case_a", kind, **{**CASE, **changed})


def resolved() -> OutboxMessage:
    """The case is over."""
    return case(MessageType.CASE_RESOLVED, state="resolved", change="recovered_in_telemetry", brief="Steps are back.")


async def test_a_case_becomes_one_ticket_with_notes_and_is_solved(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        worse = case(MessageType.CASE_UPDATED, severity="critical", change="severity_raised")
        await rig.enqueue(opened := case(), worse, over := resolved())
        await rig.run()
        assert [(await rig.one(each)).summary.state for each in (opened, worse, over)] == ["delivered"] * 3
        (ticket,) = desk.tickets.values()
        assert ticket == {
            "id": 100,
            "status": "solved",
            "subject": "Dosatrice ferma",
            "description": 'No steps since Sunday.\n\nTeam: wearables.\n\nDevice band-1, serial S"1.\nlast',
            "priority": "urgent",
            "group": "wearables",
            "requester_id": 70,
            "due_at": None,
            "tags": ["careloop", "steps"],
            "fields": {"careloop_case": "case_a"},
        }
        assert [each["text"] for each in desk.comments[100]] == [
            f"severity_raised: No steps since Sunday.\n[{worse.message_id}]",
            f"recovered_in_telemetry: Steps are back.\n[{over.message_id}]",
        ]
        assert (await rig.one(opened)).external_id == "100"
        created = next(each for each in desk.asked if each.line == CREATE)
        assert created.headers["idempotency-key"] == f"{opened.message_id}-create"


LOST = [
    pytest.param(commits_then(Answer(500, {"error": "a hook failed"})), id="500 after commit"),
    pytest.param(commits_then(Answer(502, raw=b"<html>")), id="proxy"),
    pytest.param(commits_then(None), id="cut"),
    pytest.param(commits_then(Answer(200, raw=b"<html>welcome</html>")), id="200 that is no JSON"),
]


@pytest.mark.parametrize("trick", LOST)
async def test_a_create_whose_answer_is_lost_is_found_and_not_repeated(plain_database_url: str, trick: Any) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.trick(CREATE, trick)
        await rig.enqueue(opened := case(), over := resolved())
        await rig.run()
        assert (await rig.one(opened)).summary.state == "pending"
        await rig.run(later_s=6)
        assert len(desk.tickets) == 1
        assert [(await rig.one(each)).summary.state for each in (opened, over)] == ["delivered"] * 2
        assert (await rig.one(opened)).external_id == "100"
        assert desk.lines().count(CREATE) == 1


async def test_a_create_that_never_happened_is_made_again(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.trick(CREATE, refuses(500))
        await rig.enqueue(opened := case())
        await rig.run()
        await rig.run(later_s=6)
        assert (await rig.one(opened)).external_id == "100"
        assert len(desk.tickets) == 1


async def test_a_filter_that_is_ignored_finds_nothing_that_is_not_ours(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.ignores_filters = True
        for number in range(5):
            desk.work(case_of_somebody_else(number))
        desk.trick(CREATE, refuses(500), commits_then(None))
        await rig.enqueue(opened := case())
        await rig.run()
        await rig.run(later_s=6)
        await rig.run(later_s=400)
        assert (await rig.one(opened)).external_id == "105"
        assert len(desk.tickets) == 6


def case_of_somebody_else(number: int) -> Asked:
    """Another program's ticket."""
    return Asked("POST", "/api/tickets", {}, {}, {"subject": f"other {number}", "fields": {"colour": "red"}})


async def test_a_field_that_is_dropped_is_named_and_the_ticket_is_not_made_twice(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.drops.add("priority")
        await rig.enqueue(opened := case())
        await rig.run()
        detail = await rig.one(opened)
        assert (detail.summary.state, detail.summary.reason) == ("dead", "field_dropped")
        assert detail.attempts[-1].field == "priority"
        assert detail.external_id == "100"
        desk.drops.clear()
        async with rig.pool.connection() as conn:
            await replay(conn, "default", opened.message_id)
        await rig.run()
        assert (await rig.one(opened)).summary.state == "delivered"
        assert len(desk.tickets) == 1


async def test_a_status_that_is_refused_with_200_is_a_refusal(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.trick(CHANGE, refuses(200, {"error": "this status is not allowed here"}))
        await rig.enqueue(case(), over := resolved())
        await rig.run()
        detail = await rig.one(over)
        assert (detail.summary.state, detail.summary.reason, detail.attempts[-1].field) == ("dead", "refused", "ticket")
        line, _, body = str(detail.attempts[-1].request).partition("\n")
        assert line == CHANGE.replace("/api", f"{httpx.URL(desk.url).path.rstrip('/')}/api")
        assert isinstance(json.loads(body), dict)
        assert TOKEN not in str(detail.attempts)
        async with rig.pool.connection() as conn:
            seen = await get_delivery(conn, "default", over.message_id, names_owner=False)
        assert seen is not None
        assert seen.attempts[-1].request == line


async def test_what_is_sent_again_late_undoes_nothing_that_is_newer(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        worse = case(MessageType.CASE_UPDATED, severity="critical", change="severity_raised")
        again = case(MessageType.CASE_UPDATED, severity="critical", change="reopened")
        told = [case(), worse, resolved(), again]
        desk.trick(COMMENT, refuses(400))  # the note of the second one is lost
        await rig.enqueue(*told)
        await rig.run()
        before, notes = deepcopy(desk.tickets), len(desk.comments[100])
        assert (before[100]["status"], before[100]["priority"]) == ("open", "urgent")
        for each in told[:3]:
            async with rig.pool.connection() as conn:
                await replay(conn, "default", each.message_id)
        await rig.run()
        assert desk.tickets == before  # neither milder nor closed
        assert len(desk.comments[100]) == notes + 1  # the one that was lost
        assert {(await rig.one(each)).summary.state for each in told} == {"delivered"}


async def test_a_status_that_is_taken_and_not_kept_is_noticed(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.trick(CHANGE, refuses(200, {"ticket": {"id": 100}}))
        await rig.enqueue(case(), over := resolved())
        await rig.run()
        assert (await rig.one(over)).summary.reason == "status_refused"
        assert desk.tickets[100]["status"] == "open"


async def test_a_note_whose_answer_is_lost_is_not_left_twice(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.trick(COMMENT, commits_then(None))
        await rig.enqueue(case(), over := resolved())
        await rig.run()
        assert (await rig.one(over)).summary.state == "pending"
        await rig.run(later_s=6)
        assert (await rig.one(over)).summary.state == "delivered"
        assert len(desk.comments[100]) == 1


async def test_a_403_that_means_too_many_pauses_and_uses_up_no_attempt(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.trick(CREATE, refuses(403, {"error": "rate limit exceeded"}), refuses(429, retry_after="90"))
        await rig.enqueue(opened := case())
        await rig.run()
        await rig.run(later_s=59)
        assert desk.lines().count(CREATE) == 1
        await rig.run(later_s=2)
        await rig.run(later_s=89)
        assert desk.lines().count(CREATE) == 2
        await rig.run(later_s=2)
        assert (await rig.one(opened)).summary.state == "delivered"


async def test_our_own_limit_is_kept(plain_database_url: str, tmp_path: Path) -> None:
    slow = tmp_path / "slow.toml"
    slow.write_text(EXAMPLE.read_text().replace("requests = 120 ", "requests = 3 "))
    async with open_desk(plain_database_url, slow) as (rig, desk):
        await rig.enqueue(opened := case(), over := resolved())
        await rig.run()
        assert len(desk.asked) == 5
        await rig.run(later_s=19)
        assert len(desk.asked) == 5
        for _ in range(6):
            await rig.run(later_s=21)
        assert [(await rig.one(each)).summary.state for each in (opened, over)] == ["delivered"] * 2
        assert len(desk.tickets) == 1


async def test_a_ticket_that_somebody_removed_needs_no_closing(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        await rig.enqueue(case())
        await rig.run()
        desk.tickets.clear()
        worse = case(MessageType.CASE_UPDATED, change="severity_raised")
        await rig.enqueue(worse, over := resolved())
        await rig.run()
        assert (await rig.one(worse)).summary.reason == "record_gone"
        assert (await rig.one(over)).summary.state == "delivered"


async def test_two_tickets_under_one_case_are_for_a_person_where_none_can_be_put_away(
    plain_database_url: str, tmp_path: Path
) -> None:
    told, without = EXAMPLE.read_text(), tmp_path / "without.toml"
    without.write_text(told[: told.index("[duplicate]")] + told[told.index("[poll]") :])
    async with open_desk(plain_database_url, without) as (rig, desk):
        desk.trick(CREATE, commits_then(None))
        await rig.enqueue(opened := case())
        await rig.run()
        desk.tickets[200] = dict(desk.tickets[100], id=200)
        await rig.run(later_s=6)
        assert (await rig.one(opened)).summary.reason == "several_records"


async def test_a_next_page_that_lies_elsewhere_is_no_end(plain_database_url: str, tmp_path: Path) -> None:
    linked = tmp_path / "linked.toml"
    linked.write_text(EXAMPLE.read_text().replace('page_from = 1\nid = "id"', 'next = "next"\nid = "id"', 1))
    async with open_desk(plain_database_url, linked) as (rig, desk):
        other: dict[str, Any] = {
            "tickets": [{"id": 1, "fields": {}}],
            "next": "http://inside.example.com/api/tickets?page=2",
        }
        desk.trick(CREATE, commits_then(None))
        desk.trick(FIND, refuses(200, other))
        await rig.enqueue(opened := case())
        await rig.run()
        await rig.run(later_s=6)
        assert (await rig.one(opened)).summary.last_code == "foreign_page"
        assert len(desk.tickets) == 1


async def test_a_wrong_token_is_told_and_the_message_waits(plain_database_url: str) -> None:
    async with open_desk(plain_database_url, token="wr0ng-token") as (rig, desk):
        await rig.enqueue(opened := case())
        await rig.run()
        detail = await rig.one(opened)
        assert (detail.summary.state, detail.summary.last_result) == ("pending", "auth")
        assert "wr0ng" not in str(detail)
        desk.tokens.add("wr0ng-token")
        await rig.run(later_s=61)
        assert (await rig.one(opened)).summary.state == "delivered"


async def test_a_granted_token_that_is_refused_is_asked_for_again(plain_database_url: str, tmp_path: Path) -> None:
    granted = tmp_path / "granted.toml"
    granted.write_text(EXAMPLE.read_text().replace('kind = "bearer"', 'kind = "client_credentials"'))
    async with open_desk(plain_database_url, granted, user="careloop", token="client-secret") as (rig, desk):
        await rig.enqueue(case())
        await rig.run()
        assert desk.granted == 1
        desk.tokens.clear()
        await rig.enqueue(over := resolved())
        await rig.run()
        assert (await rig.one(over)).summary.state == "delivered"
        assert desk.granted == 2


async def test_twenty_cases_over_two_workers_are_twenty_tickets(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as (rig, desk):
        desk.trick(CREATE, *[commits_then(Answer(500)), commits_then(None)] * 3)
        await rig.enqueue(*(message(f"case_{number}", OPENED, **CASE) for number in range(20)))
        for later_s in (0, 6, 6, 400, 400):
            await rig.run(later_s=later_s)
        ours = sorted(ticket["fields"]["careloop_case"] for ticket in desk.tickets.values())
        assert ours == sorted(f"case_{number}" for number in range(20))
        assert desk.most_in_flight <= 4


async def test_what_a_check_misses_is_told(plain_database_url: str) -> None:
    del plain_database_url
    async with Helpdesk() as desk:
        adapter = RestAdapter(settings(desk))
        assert (await adapter.health()).ok
        desk.fields = ["colour"]
        health = await adapter.health()
        assert not health.ok
        assert "there is no careloop_case" in health.detail
        await adapter.close()


async def test_a_file_without_checks_is_not_taken_for_well(tmp_path: Path) -> None:
    bare = tmp_path / "bare.toml"
    bare.write_text(re.sub(r"(?ms)^\[\[checks\]\].*?(?=^\[|\Z)", "", EXAMPLE.read_text()))
    async with Helpdesk() as desk:
        adapter = RestAdapter(settings(desk, bare))
        found = [finding async for finding in adapter.examine()]
        assert [finding.ok for finding in found] == [True]
        assert "were not looked at" in found[0].detail
        await adapter.close()
        stranger = RestAdapter(settings(desk, bare, token="wrong"))
        assert not (await stranger.health()).ok
        await stranger.close()


def test_a_file_with_faults_names_each(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    text = EXAMPLE.read_text().replace("{team}", "{teem}").replace("{severity|priority}", "{severity|prio}")
    wrong.write_text(text)
    endpoint = {"name": "crm", "adapter": "rest", "url": "https://example.com", "spec_file": str(wrong), "token": "t"}
    with pytest.raises(ConfigError) as caught:
        RestAdapter(EndpointSettings.model_validate(endpoint))
    said = str(caught.value)
    assert "create: {teem} is nothing that a message has" in said
    assert "there is no table maps.prio" in said


async def test_a_rehearsal_makes_finds_and_closes_one_record() -> None:
    async with Helpdesk() as desk:
        adapter = RestAdapter(settings(desk))
        steps = [step async for step in rehearse(adapter, 1_800_000_000.0)]
        assert [step.ok for step in steps] == [True] * 4, steps
        assert [ticket["status"] for ticket in desk.tickets.values()] == ["solved"]
        desk.drops.add("status")
        steps = [step async for step in rehearse(adapter, 1_800_000_000.0)]
        assert not steps[-1].ok
        assert "status_refused" in steps[-1].detail
        await adapter.close()


def test_crm_check_says_what_is_wrong_and_exits_with_it(tmp_path: Path) -> None:
    config = tmp_path / "careloop.toml"
    config.write_text(
        f'[[crm.endpoints]]\nname = "desk"\nadapter = "rest"\nurl = "http://127.0.0.1:9"\nspec_file = "{EXAMPLE}"\n'
        'token = "t"\nallow_http = true\nallow_networks = ["127.0.0.0/8"]\nports = [9]\n'
    )
    told = run_careloop("crm", "check", "desk", "--config", config)
    assert told.returncode == 1
    assert "wrong the field careloop_case exists: connect_failed" in told.stdout
    nobody = run_careloop("crm", "check", "nobody", "--config", config)
    assert (nobody.returncode, "allowed: desk" in nobody.stderr) == (2, True)
