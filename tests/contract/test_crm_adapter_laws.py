"""The law book of CRM adapters: what each of them keeps, whatever its CRM does."""

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from crm_sync.adapters import load_adapters, open_inbound
from crm_sync.adapters.contract import Hook, Polled
from crm_sync.adapters.rehearse import rehearse
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.delivery.replay import replay
from crm_sync.outbox import OutboxMessage
from crm_sync.signing import BadSignature
from gateway.api.callbacks import callbacks_router
from simulators.crm.vendors.dynamics365 import Dynamics
from simulators.crm.vendors.salesforce import Salesforce
from simulators.crm.vendors.sandbox import Fault
from tests.services.crm_parties import (
    HOOK_KEY,
    PARTIES,
    Affair,
    Party,
    StageServer,
    notes_of,
    open_affair,
    open_told,
    opened,
    resolved,
    updated,
)
from tests.services.postgres import DatabaseServer

LOST = (Fault.FAIL_AFTER, Fault.CUT_AFTER)
FALLBACKS = {"dynamics365": {"fallback_contact": "/contacts(owner-1)"}}  # a case there must be somebody's
READERS = [party for party in PARTIES if party.reads]
GRANTED = [party for party in PARTIES if party.grants]


@pytest.fixture(scope="module")
def stage(plain_server: DatabaseServer) -> Iterator[StageServer]:
    with plain_server.fresh_database() as url, StageServer(url) as server:
        yield server


def name_of(party: Party) -> str:
    return party.name


def party_of(name: str) -> Party:
    return next(party for party in PARTIES if party.name == name)


everyone = pytest.mark.parametrize("party", PARTIES, ids=name_of)
readers = pytest.mark.parametrize("party", READERS, ids=name_of)


def is_closed(affair: Affair, key: str = "case_a") -> bool:
    closed = affair.vendor.word("closed")
    return [ticket.status for ticket in affair.records(key)] == [closed]


async def must_be_delivered(affair: Affair, *messages: OutboxMessage) -> None:
    assert [await affair.state(each) for each in messages] == [("delivered", None)] * len(messages)


@everyone
async def test_a_case_is_one_record_with_notes_for_colleagues_and_is_closed(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        await affair.tell(first := opened(), worse := updated(), over := resolved())
        await affair.run()
        await must_be_delivered(affair, first, worse, over)
        (record,) = affair.records()
        assert is_closed(affair)  # the note that says why has not opened it again
        assert not any(note.is_public for note in record.notes)
        assert len(notes_of([record], worse)) == 1
        if party.reads:
            assert len(notes_of([record], over)) == 1
            assert record.contact is not None
        assert (await affair.rig.one(first)).external_id == record.number


@readers
async def test_an_outreach_stands_in_the_record_with_its_text_and_link(party: Party, stage: StageServer) -> None:
    link = "https://service.example.com/v1/answers/t0ken"
    outreach = {"step": "step_1", "channel": "push", "template": "clean_it", "text": "Please clean it.", "link": link}
    async with open_affair(party, stage) as affair:
        contact = updated(change="outreach", severity="major", outreach=outreach)
        await affair.tell(opened(), contact, worse := updated())
        await affair.run()
        await must_be_delivered(affair, contact, worse)
        (note,) = notes_of(affair.records(), contact)
        assert all(word in note for word in ("push", "clean_it", "Please clean it.", link))
        (note,) = notes_of(affair.records(), worse)
        assert "The boiler is too hot." in note
        assert "Please clean it." not in note


@readers
async def test_a_record_says_what_is_next_which_team_and_until_when(party: Party, stage: StageServer) -> None:
    action = {"kind": "part_or_visit", "what": "valve"}
    async with open_affair(party, stage, case_link="https://care.example.com/cases/{case_id}") as affair:
        await affair.tell(first := opened(next_action=action, sla_due_at="2026-09-01T10:00:00Z"))
        await affair.run()
        await must_be_delivered(affair, first)
        (record,) = affair.records()
        assert "Next: a part or a visit, valve.\nTeam: service. Due: 2026-09-01T10:00:00Z." in record.text
        assert "https://care.example.com/cases/case_a" in record.text


CHART = {
    "file_name": "evidence.svg",
    "media_type": "image/svg+xml",
    "base64": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
}


@readers
async def test_the_picture_is_in_the_record_once_whatever_answer_is_lost(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        for on in ("attachment", "attachment.attach"):
            affair.crm.command(on, Fault.FAIL_AFTER)
        await affair.tell(first := opened(chart=CHART), worse := updated(chart=CHART), plain := updated())
        await affair.run_until_settled(first, worse, plain)
        await must_be_delivered(affair, first, worse, plain)
        (record,) = affair.records()
        assert [file.name for file in record.files] == [f"evidence-{each.message_id}.svg" for each in (first, worse)]
        assert {file.size for file in record.files} == {41}
        assert sum("The boiler is too hot." in note for note in notes_of([record], worse)) == 1


@readers
async def test_a_picture_that_is_not_taken_stops_no_case(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        for at, fault in enumerate((Fault.UNAVAILABLE, Fault.FORBID, Fault.FAIL_BEFORE)):
            key, asked = f"case_{at}", affair.crm.count("attachment")
            affair.crm.command("attachment", *[fault] * 3)
            await affair.tell(first := opened(key, chart=CHART), over := resolved(key))
            await affair.run_until_settled(first, over)
            await must_be_delivered(affair, first, over)
            (record,) = affair.records(key)
            assert record.files == []
            assert "the picture was not attached" in str((await affair.rig.one(first)).attempts[-1].detail)
            tries = affair.crm.count("attachment") - asked
            assert tries == (1 if fault is Fault.FORBID else 3)
            affair.crm.forget()


@readers
async def test_a_child_is_tied_to_its_major_case_and_let_go_before_that_ends(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage, account=FALLBACKS.get(party.name, {})) as affair:
        affair.crm.command("parent", Fault.FAIL_AFTER)  # said again, it is the same
        joins = updated(change="joined_major_case", parent="case_m")
        await affair.tell(opened(), joins)
        await affair.run()
        assert (await affair.state(joins))[0] == "pending"  # the major case has no record yet
        await affair.tell(begins := opened("case_m", major=True, owner_ref=None, asset={"model": "coffee-machine"}))
        await affair.run_until_settled(begins, joins)
        await must_be_delivered(affair, begins, joins)
        (child,), (major,) = affair.records(), affair.records("case_m")
        assert child.parent == major.number
        assert len(notes_of([child], joins)) == 1
        await affair.tell(leaves := updated(change="left_major_case", left="case_m"))
        await affair.run(6)
        await affair.tell(over := resolved("case_m", owner_ref=None))
        await affair.run(6)
        await must_be_delivered(affair, leaves, over)
        (child,) = affair.records()
        assert (child.parent, is_closed(affair), is_closed(affair, "case_m")) == ("", False, True)


@readers
async def test_a_child_whose_major_case_has_no_record_goes_on_without_it(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        await affair.tell(opened(), joins := updated(change="joined_major_case", parent="case_m"))
        await affair.run_until_settled(joins)
        await must_be_delivered(affair, joins)
        assert affair.crm.count("parent") == 0
        assert "parent_unknown" in str((await affair.rig.one(joins)).attempts[-1].detail)


@readers
async def test_a_tie_that_is_refused_stops_no_case(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage, account=FALLBACKS.get(party.name, {})) as affair:
        major = opened("case_m", major=True, owner_ref=None, asset={"model": "coffee-machine"})
        await affair.tell(major, first := opened())
        await affair.run()
        affair.crm.command("parent", Fault.FORBID)
        await affair.tell(joins := updated(change="joined_major_case", parent="case_m"), over := resolved())
        await affair.run()
        await must_be_delivered(affair, first, joins, over)
        assert "not tied to the record of its major case" in str((await affair.rig.one(joins)).attempts[-1].detail)


@everyone
async def test_a_create_whose_answer_is_lost_makes_no_second_record(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        for at, fault in enumerate((*LOST, Fault.FAIL_BEFORE, Fault.UNAVAILABLE)):
            key = f"case_{at}"
            affair.crm.command("create", fault)
            await affair.tell(first := opened(key), over := resolved(key))
            await affair.run()
            if party.reads or fault is not Fault.CUT_AFTER:  # the status alone says that a receiver has it
                assert (await affair.state(first))[0] == "pending"
            await affair.run(6)
            await must_be_delivered(affair, first, over)
            assert len(affair.records(key)) == 1
            assert is_closed(affair, key)
            assert (await affair.rig.one(first)).external_id == affair.records(key)[0].number


@everyone
async def test_a_create_that_is_done_and_never_answered_makes_no_second_record(
    party: Party, stage: StageServer
) -> None:
    async with open_affair(party, stage, timeout=1.0) as affair:
        affair.crm.command("create", Fault.HANG_AFTER)
        await affair.tell(first := opened(), over := resolved())
        await affair.run_until_settled(first, over)
        await must_be_delivered(affair, first, over)
        assert (await affair.rig.one(first)).attempts[0].code == "timeout"
        assert is_closed(affair)


@readers
async def test_a_success_that_did_nothing_is_not_believed(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        for at, fault in enumerate((Fault.PAGE, Fault.IGNORE)):
            key = f"case_{at}"
            affair.crm.command("create", fault)
            await affair.tell(first := opened(key))
            await affair.run()
            assert (await affair.state(first))[0] == "pending"
            assert affair.records(key) == []
            await affair.run(6)
            await must_be_delivered(affair, first)
            assert len(affair.records(key)) == 1


@readers
async def test_a_status_that_was_not_taken_is_told_and_can_be_sent_again(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        call = "end" if party.name == "dynamics365" else "status"
        affair.crm.command(call, Fault.IGNORE)
        await affair.tell(opened(), over := resolved())
        await affair.run()
        assert await affair.state(over) == ("dead", "status_refused")
        assert (await affair.rig.one(over)).attempts[-1].field
        async with affair.rig.pool.connection() as conn:
            await replay(conn, "default", over.message_id)
        await affair.run()
        await must_be_delivered(affair, over)
        assert is_closed(affair)
        assert len(notes_of(affair.records(), over)) == 1


@everyone
async def test_whatever_else_is_lost_is_done_once(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        for at, call in enumerate(("note", "status", "end", "read", "link", "update", "contact")):
            key = f"case_{at}"
            affair.crm.command(call, Fault.FAIL_AFTER, Fault.CUT_AFTER)
            messages = first, worse, over = opened(key), updated(key), resolved(key)
            await affair.tell(*messages)
            await affair.run(0, 6, 400, 2000, 9000)
            await must_be_delivered(affair, *messages)
            assert is_closed(affair, key)
            records = affair.records(key)
            told = [len(notes_of(records, each)) for each in (first, worse, over)]
            assert told == [0, 1, 1 if party.reads else 0], call


@readers
async def test_a_field_that_is_dropped_is_named_and_mended_without_a_second_record(
    party: Party, stage: StageServer
) -> None:
    async with open_affair(party, stage) as affair:
        affair.crm.command("create", Fault.DROP)
        await affair.tell(first := opened())
        await affair.run()
        assert await affair.state(first) == ("dead", "field_dropped")
        assert "riority" in str((await affair.rig.one(first)).attempts[-1].field).replace("prioritycode", "priority")
        async with affair.rig.pool.connection() as conn:
            await replay(conn, "default", first.message_id)
        await affair.run()
        await must_be_delivered(affair, first)
        assert len(affair.records()) == 1


@everyone
async def test_a_race_leaves_one_record_that_stands(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        affair.crm.command("create", Fault.RACE)
        await affair.tell(first := opened(), over := resolved())
        await affair.run(0, 6)
        await must_be_delivered(affair, first, over)
        kept, *others = affair.records()
        assert kept.status == affair.vendor.word("closed")
        assert [other.merged_into for other in others] == ([] if party.keeps_one else [kept.number])
        assert len(notes_of([kept], over)) == (1 if party.reads else 0)
        assert not any(other.notes for other in others)


@everyone
async def test_a_403_that_is_not_about_rights_stops_nobody_else(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        affair.crm.command("create", Fault.FORBID)
        await affair.tell(first := opened())
        await affair.run()
        assert (await affair.state(first))[0] == "pending"
        await affair.tell(other := opened("case_b"))
        await affair.run()
        await must_be_delivered(affair, other)
        await affair.run(6)
        await must_be_delivered(affair, first)
        assert [len(affair.records(key)) for key in ("case_a", "case_b")] == [1, 1]


@everyone
async def test_too_many_requests_pause_the_endpoint_for_as_long_as_it_says(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        affair.crm.command("create", Fault.THROTTLE)
        await affair.tell(first := opened())
        await affair.run()
        assert (await affair.rig.one(first)).summary.last_result == "rate_limited"
        await affair.tell(other := opened("case_b"))
        await affair.run(party.pause_s - 1)
        assert affair.crm.count("create") == 1
        await affair.run(2)
        await must_be_delivered(affair, first, other)
        assert (await affair.rig.one(first)).summary.attempts == 2
        assert len(affair.records()) == 1


@readers
async def test_a_wrong_token_is_told_and_shown_to_nobody(party: Party, stage: StageServer) -> None:
    wrong = {} if party.name == "salesforce" else {"token": "wr0ng-token"}
    if party.name == "salesforce":
        wrong = {"user": "another-consumer"}
    async with open_affair(party, stage, **wrong) as affair:
        await affair.tell(first := opened())
        await affair.run()
        detail = await affair.rig.one(first)
        assert (detail.summary.state, detail.summary.last_result) == ("pending", "auth")
        assert "wr0ng" not in str(detail)
        assert "PRIVATE KEY" not in str(detail)
        assert affair.records() == []
        assert not (await affair.adapter.health()).ok


@pytest.mark.parametrize("party", GRANTED, ids=name_of)
async def test_a_token_that_is_no_longer_good_is_asked_for_once_by_all(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        assert isinstance(affair.vendor, Salesforce | Dynamics)
        granting = affair.vendor.granting
        await affair.tell(opened("case_0"))
        await affair.run()
        assert granting.granted == 1
        granting.tokens.clear()
        messages = [opened(f"case_{at}") for at in range(1, 9)]
        await affair.tell(*messages)
        await affair.run()
        await must_be_delivered(affair, *messages)
        assert granting.granted == 2


@readers
async def test_a_record_that_was_removed_has_nothing_left_to_close(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        await affair.tell(opened())
        await affair.run()
        (record,) = affair.records()
        record.removed = True
        await affair.tell(worse := updated(), over := resolved())
        await affair.run()
        assert await affair.state(worse) == ("dead", "record_gone")
        await must_be_delivered(affair, over)
        assert affair.records() == []


async def test_a_merged_ticket_of_hubspots_is_gone_and_its_heir_is_left_alone(stage: StageServer) -> None:
    async with open_affair(party_of("hubspot"), stage) as affair:
        await affair.tell(opened(), other := opened("case_b"))
        await affair.run()
        (record,), (heir,) = affair.records(), affair.records("case_b")
        record.merged_into, before = heir.number, replace(heir)
        await affair.tell(worse := updated(), over := resolved())
        await affair.run()
        assert await affair.state(worse) == ("dead", "record_gone")
        await must_be_delivered(affair, over, other)
        assert heir == before


async def test_a_closed_ticket_of_zendesks_takes_nothing_and_needs_no_closing(stage: StageServer) -> None:
    async with open_affair(party_of("zendesk"), stage) as affair:
        await affair.tell(opened())
        await affair.run()
        (record,) = affair.records()
        record.status = "closed"
        await affair.tell(worse := updated(), over := resolved())
        await affair.run()
        assert await affair.state(worse) == ("dead", "record_closed")
        await must_be_delivered(affair, over)
        assert len(affair.records()) == 1


async def test_several_cases_of_salesforces_under_one_key_are_for_a_person(stage: StageServer) -> None:
    async with open_affair(party_of("salesforce"), stage) as affair:
        await affair.tell(opened("case_b"), opened("case_c"))
        await affair.run()
        for key in ("case_b", "case_c"):  # an org whose external id is not marked as unique
            affair.records(key)[0].key = "case_a"
        await affair.tell(first := opened())
        await affair.run()
        assert await affair.state(first) == ("dead", "several_records")
        assert (await affair.rig.one(first)).attempts[-1].status == 300


@readers
async def test_what_no_hook_tells_is_found_by_asking(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        assert isinstance(affair.adapter, Polled)
        await affair.tell(opened())
        await affair.run()
        (record,) = affair.records()
        began_s = affair.rig.hands.now_s
        affair.rig.hands.now_s += 400
        record.status, record.changed_s = affair.vendor.word("closed"), affair.rig.hands.now_s - 100
        record.outcome = {"example": "false alarm", "zendesk": "false_alarm"}.get(party.name, "false")
        (change,) = (await affair.adapter.changes_since(began_s)).told
        assert (change.case_id, change.external_id) == ("case_a", record.number)
        assert (change.status, change.outcome) == ("resolved", "false")


@readers
async def test_its_hooks_are_believed_if_genuine_and_tell_in_which_order_they_belong(
    party: Party, stage: StageServer
) -> None:
    async with open_affair(party, stage) as affair:
        inbound = open_inbound(affair.endpoint, load_adapters())
        assert inbound is not None
        await affair.tell(opened())
        await affair.run()
        (record,) = affair.records()
        now_s = affair.rig.hands.now_s
        versions: list[int] = []
        for status, word in (("waiting", "waiting"), ("resolved", "closed")):
            record.status, record.changed_s = affair.vendor.word(word), record.changed_s + 1
            hook = affair.vendor.hook([record], now_s, HOOK_KEY)
            told = Hook(hook.headers, hook.body, hook.query)
            assert inbound.verify(told, now_s) == inbound.verify(told, now_s)
            (change,) = inbound.read(hook.body)
            assert (change.status, change.external_id) == (status, record.number)
            assert change.version is not None
            versions.append(change.version)
        assert versions[0] < versions[1]
        forged = affair.vendor.hook([record], now_s, "another key")
        for wrong in (forged, affair.vendor.hook([record], now_s, "")):
            with pytest.raises(BadSignature):
                inbound.verify(Hook(wrong.headers, wrong.body, wrong.query), now_s)
        with pytest.raises(BadSignature):
            inbound.verify(Hook({}, forged.body), now_s)


@everyone
async def test_twenty_replays_at_once_over_two_workers_leave_one_record(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        affair.crm.command("create", Fault.FAIL_AFTER, Fault.CUT_AFTER)
        await affair.tell(first := opened(), over := resolved())

        async def again() -> None:
            async with affair.rig.pool.connection() as conn:
                await replay(conn, "default", first.message_id)

        async def work() -> None:
            engine = affair.rig.engine()
            while await engine.deliver_due():
                await engine.drain(20)

        await asyncio.gather(work(), work(), *(again() for _ in range(20)))
        await affair.run_until_settled(first, over)
        await must_be_delivered(affair, first, over)
        assert len(affair.records()) == 1


@readers
async def test_it_can_be_rehearsed(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage, account=FALLBACKS.get(party.name, {})) as affair:
        assert (await affair.adapter.health()).ok
        steps = [step async for step in rehearse(affair.adapter, affair.rig.hands.now_s)]
        assert [step.ok for step in steps] == [True] * 4, steps


@everyone
async def test_hooks_that_are_doubled_reversed_or_forged_leave_the_newest_state(
    party: Party, stage: StageServer, plain_database_url: str
) -> None:
    now_s = 1_800_000_000.0
    async with open_told(party, stage, plain_database_url, now_s) as told:
        record = told.record
        waiting = replace(record, status=told.vendor.word("waiting"), changed_s=now_s + 1)
        closed = replace(record, status=told.vendor.word("closed"), changed_s=now_s + 2)
        assert (await told.hook(closed, key=f"whsec_{'QUJD' * 8}")).status == 401
        assert await told.state() == "open"
        assert (await told.hook(closed)).effect == "applied"
        assert await told.state() == "resolved"
        assert (await told.hook(closed)).effect in {"duplicate", "no_change"}
        assert (await told.hook(waiting)).effect in {"old_version", "no_change"}
        assert await told.state() == "resolved"


async def test_salesforce_reads_that_its_message_was_taken_only_when_it_was(
    stage: StageServer, plain_database_url: str
) -> None:
    async with open_told(party_of("salesforce"), stage, plain_database_url, 1_800_000_000.0) as told:
        app = FastAPI()
        crm = told.world.settings
        callbacks_router(told.world.pool, "default", crm, told.world.clock).install(app, "/v1")
        hook = told.vendor.hook([replace(told.record, status="Closed")], told.now_s, HOOK_KEY)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://careloop") as http:
            url = f"/v1/callbacks/{told.endpoint.name}"
            taken = await http.post(url, content=hook.body, params={"token": HOOK_KEY})
            assert (taken.status_code, taken.headers["content-type"]) == (200, "text/xml; charset=utf-8")
            assert "<Ack>true</Ack>" in taken.text
            assert await told.state() == "resolved"
            forged = await http.post(url, content=hook.body, params={"token": "another"})
            assert (forged.status_code, "Ack" in forged.text) == (401, False)


LACKS = {
    "zendesk": [
        ("urgent", "urgent"),
        ("pending", "pending"),
        ("problem", "problem"),
        ("agent", "the token belongs to an agent or administrator: what is there is another"),
    ],
    "hubspot": [
        ("careloop_case", "careloop_case"),
        ("careloop_outcome", "careloop_outcome"),
        ("URGENT", "URGENT"),
        ("hs_object_id", "hs_object_id"),
        ("notes", "may read notes: careloop has no right"),
    ],
    "salesforce": [
        ("Careloop_Case__c", "Careloop_Case__c"),
        ("Careloop_Outcome__c", "Careloop_Outcome__c"),
        ("Careloop_Owner__c", "Careloop_Owner__c"),
        ("ParentId", "ParentId"),
        ("On Hold", "On Hold"),
        ("High", "High"),
        ("createable", "may leave comments"),
        ("updateable", "may make and change cases"),
    ],
    "dynamics365": [
        ("new_careloopcase", "new_careloopcase"),
        ("new_careloopoutcome", "new_careloopoutcome"),
        ("parentcaseid", "parentcaseid"),
        ("1000", "1000"),
    ],
}


@pytest.mark.parametrize("party", [each for each in PARTIES if each.name in LACKS], ids=name_of)
async def test_what_an_account_lacks_is_named_and_nothing_is_written(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        assert isinstance(affair.adapter, RestAdapter)
        found = [finding async for finding in affair.adapter.examine()]
        assert [finding for finding in found if not finding.ok] == []
        assert not any("no check of the file looks at" in finding.detail for finding in found)
        for lacking, words in LACKS[party.name]:
            affair.vendor.lacks.add(lacking)
            told = [finding.detail async for finding in affair.adapter.examine() if not finding.ok]
            assert any(words in detail for detail in told), (lacking, told)
            affair.vendor.lacks.clear()
        assert {asked.method for _, asked in affair.crm.asked} == {"GET"}
        assert affair.vendor.book.tickets == {}
