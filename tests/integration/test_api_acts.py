"""What people do to alarms and cases over the API: done once, by whom it says, and seen by CRMs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from crm_sync import holds
from crm_sync.trust.rules import TrustRules
from gateway.api.alarms import alarms_router
from gateway.api.cases import cases_router
from gateway.api.commands import commands_router
from gateway.api.credentials import credentials_router
from gateway.api.deliveries import deliveries_router
from gateway.api.incidents import incidents_router
from gateway.api.owners import owners_router
from gateway.api.paging import encode_cursor
from gateway.api.people import people_router
from gateway.api.quarantine import quarantine_router
from gateway.api.router import Router
from gateway.api.silences import silences_router
from gateway.api.watches import watches_router
from gateway.commands.issue import Rules
from gateway.commands.settings import CommandSettings
from gateway.console.fleet_queries import products_of
from gateway.people.model import Role
from gateway.people.people import Pool
from tests.services.case_world import DAY, HOUR, NOON, CaseWorld, notice, open_world
from tests.services.people import House, open_house, wording


def at(seconds: float) -> str:
    """An instant so long after noon."""
    return (datetime.fromtimestamp(NOON, UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        await opened.happens(notice())
        await opened.deliver()
        yield opened


@pytest.fixture
async def house(world: CaseWorld, plain_database_url: str) -> AsyncIterator[House]:
    def build(pool: Pool) -> list[Router]:
        return [
            alarms_router(pool, world.clock),
            cases_router(pool, world.clock, wording()),
            silences_router(pool, world.clock),
            owners_router(pool),
            people_router(pool),
            deliveries_router(pool),
            incidents_router(pool),
            quarantine_router(pool),
            watches_router(pool, TrustRules(), world.clock),
            credentials_router(pool, world.clock),
            commands_router(pool, Rules("default", {}, CommandSettings()), world.clock),
        ]

    async with open_house(plain_database_url, build) as opened:
        yield opened


async def the_case(client: httpx.AsyncClient) -> tuple[dict[str, Any], str]:
    """The one case there is, and its ETag."""
    ((found,),) = [(await client.get("/v1/cases")).json()["items"]]
    answer = await client.get(f"/v1/cases/{found['case_id']}")
    return answer.json(), answer.headers["etag"]


async def put_alarm_row(house: House) -> str:
    """The alarm of the world's case, as ingest writes it."""
    async with house.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO alarm (alarm_id, tenant_id, device_id, watch, kind, metric, problem, severity, state,"
            " started_at, decided_ts, raised_at, updated_at, score, explanation, events)"
            " SELECT alarm_id, tenant_id, device_id, watch, kind, metric, problem, severity, state,"
            " started_at, decided_ts, heard_at, heard_at, 1.0, explanation, 0 FROM case_alarm"
        )
    ((alarm_id,),) = await house.rows("SELECT alarm_id FROM alarm")
    return str(alarm_id)


async def test_a_case_is_assigned_noted_and_resolved_and_its_crm_hears_of_it(house: House, world: CaseWorld) -> None:
    async with house.client(await house.token(Role.AGENT)) as client:
        case, tag = await the_case(client)
        path = f"/v1/cases/{case['case_id']}"
        given = await client.post(
            f"{path}/assign", json={"team": "field", "assignee": "ada"}, headers={"If-Match": tag}
        )
        assert (given.json()["team"], given.json()["assignee"]) == ("field", "ada")
        stale = await client.post(f"{path}/note", json={"text": "rang twice"}, headers={"If-Match": tag})
        assert (stale.status_code, stale.headers["content-type"]) == (412, "application/problem+json")
        noted = await client.post(f"{path}/note", json={"text": "rang"}, headers={"If-Match": given.headers["etag"]})
        done = await client.post(
            f"{path}/resolve", json={"outcome": "true", "why": "new seal"}, headers={"If-Match": noted.headers["etag"]}
        )
        assert (done.json()["state"], done.json()["resolution"]) == ("resolved", "resolved_by_agent")
        assert (await client.post(f"{path}/resolve", json={"outcome": "true"})).status_code == 409
        moves = [(each["actor"], each["reason"], each["note"]) for each in done.json()["transitions"][-3:]]
        assert moves == [
            ("person:token:default-agent", "assigned", "field: ada"),
            ("person:token:default-agent", "note", "rang"),
            ("person:token:default-agent", "resolved_by_agent", "new seal"),
        ]
    assert (await world.types())[-2:] == ["case.updated", "case.resolved"]
    assert (await world.messages())[-2]["data"]["change"] == "assigned"
    said = await house.rows("SELECT verdict, source FROM case_verdict")
    assert said == [("true", "person")]
    told = await house.rows("SELECT what FROM audit WHERE who = 'token:default-agent' ORDER BY audit_id")
    assert [what for (what,) in told] == ["case.list", "case.read", "case.assign", "case.note", "case.resolve"]


@pytest.mark.parametrize("act", ["reject", "retract"])
async def test_a_case_is_taken_back_and_stays_so(house: House, world: CaseWorld, act: str) -> None:
    async with house.client() as client:
        case, _ = await the_case(client)
        path = f"/v1/cases/{case['case_id']}/{act}"
        assert (await client.post(path, json={"why": ""})).status_code == 422
        answer = await client.post(path, json={"why": "a test rig", "by": "ada"})
        assert answer.json()["state"] == "retracted"
        assert answer.json()["transitions"][-1]["actor"] == "person:ada"
    assert (await world.types())[-1] == "case.retracted"
    await world.happens(notice(event="updated", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    assert [row["state"] for row in await world.cases()] == ["retracted"]


async def test_what_is_asked_for_twice_is_done_once(house: House, world: CaseWorld) -> None:
    async with house.client(await house.token(Role.AGENT)) as client, house.client() as other:
        case, _ = await the_case(client)
        path, headers = f"/v1/cases/{case['case_id']}/note", {"Idempotency-Key": "k-1"}
        first = await client.post(path, json={"text": "rang"}, headers=headers)
        again = await client.post(path, json={"text": "rang"}, headers=headers)
        assert (again.status_code, again.content, again.headers["etag"]) == (
            200, first.content, first.headers["etag"],
        )  # fmt: skip
        assert again.headers["idempotent-replayed"] == "true"
        assert (await client.post(path, json={"text": "else"}, headers=headers)).status_code == 422
        await other.post(path, json={"text": "rang"}, headers=headers)  # another's key is another key
        gone = await client.post("/v1/cases/nowhere/note", json={"text": "x"}, headers={"Idempotency-Key": "k-2"})
        assert gone.status_code == 404
        later = await client.post(path, json={"text": "x"}, headers={"Idempotency-Key": "k-2"})
        assert later.status_code == 200  # what was not done has no answer to be given again
    notes = await world.rows("SELECT note FROM case_transition WHERE reason = 'note' ORDER BY transition_id")
    assert [row["note"] for row in notes] == ["rang", "rang", "x"]


async def test_an_alarm_is_acknowledged_and_snoozed(house: House) -> None:
    alarm_id = await put_alarm_row(house)
    async with house.client(await house.token(Role.AGENT)) as client:
        path = f"/v1/alarms/{alarm_id}"
        before = {"If-Match": (await client.get(path)).headers["ETag"]}
        seen = (await client.post(f"{path}/acknowledge", json={})).json()
        assert (seen["acknowledged_by"], seen["acknowledged_at"]) == ("token:default-agent", "2026-03-03T11:00:00Z")
        assert (await client.post(f"{path}/acknowledge", json={"undo": True})).json()["acknowledged_at"] is None
        assert (await client.post(f"{path}/acknowledge", json={}, headers=before)).is_success  # it is as it was seen
        for what, body in (("acknowledge", {"undo": True}), ("snooze", {"until": at(HOUR)})):
            assert (await client.post(f"{path}/{what}", json=body, headers=before)).status_code == 412
        assert (await client.post(f"{path}/snooze", json={"until": at(-1)})).status_code == 422
        slept = await client.post(f"{path}/snooze", json={"until": at(HOUR)})
        assert slept.status_code == 201
        assert [each["kind"] for each in (await client.get("/v1/silences")).json()["items"]] == ["snooze"]
        assert (await client.delete(f"/v1/silences/{slept.json()['quiet_id']}")).status_code == 403
        assert (await client.post("/v1/alarms/nowhere/acknowledge", json={})).status_code == 404


@pytest.mark.parametrize("kind", ["silence", "maintenance"])
async def test_silenced_alarms_open_no_case_until_it_is_over(house: House, world: CaseWorld, kind: str) -> None:
    await world.own("cm-2", "own-2")
    async with house.client(await house.token(Role.OPERATOR)) as client:
        begun = await client.post(
            "/v1/silences", json={"kind": kind, "model": "coffee-machine", "ends_at": at(DAY), "why": "new firmware"}
        )
        assert begun.status_code == 201, begun.text
        await world.happens(notice(device_id="cm-2", at_s=NOON + 60))
        assert len(await world.cases()) == 1
        (alarm,) = await world.rows("SELECT suppressed FROM case_alarm WHERE device_id = 'cm-2'")
        assert alarm["suppressed"] == ("silenced" if kind == "silence" else "maintenance")
        planned = await world.rows("SELECT cancelled_at FROM planned_work")
        assert len(planned) == (kind == "maintenance")
        await world.happens(notice(device_id="cm-2", at_s=NOON + 120, event="updated", started_at_s=NOON + 60 - HOUR))
        assert len(await world.cases()) == 1  # it goes on waiting
        path = f"/v1/silences/{begun.json()['quiet_id']}"
        assert (await client.delete(path, headers={"If-Match": '"another"'})).status_code == 412
        assert (await client.get(path)).headers["ETag"] == begun.headers["ETag"]
        assert (await client.delete(path, headers={"If-Match": begun.headers["ETag"]})).json()["ended_by"]
        assert (await client.delete(f"/v1/silences/{begun.json()['quiet_id']}")).status_code == 409
    async with world.pool.connection() as conn, conn.transaction():
        assert await holds.release_due(conn, world.clock.at_s) == 1
    await world.work()
    assert [row["device_id"] for row in await world.cases()] == ["cm-1", "cm-2"]


async def test_an_owner_is_one_view_and_every_look_is_recorded(house: House, world: CaseWorld) -> None:
    await world.grant("email", "refused")
    async with house.client(await house.token(Role.VIEWER)) as client:
        owner = (await client.get("/v1/owners/own-1")).json()
        assert [(each["asset_id"], each["live_cases"]) for each in owner["products"]] == [("asset-cm-1", 1)]
        assert [(each["recipient"], each["state"]) for each in owner["grants"]] == [("email", "refused")]
        whole = (await client.get("/v1/owners/own-1/timeline")).json()["items"]
        assert {"alarm", "case", "grant"} <= {each["kind"] for each in whole}
        pieces: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get("/v1/owners/own-1/timeline", params={"limit": 2, **cursor})).json()
            pieces += page["items"]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert pieces == whole
        assert (await client.get("/v1/owners/nobody")).status_code == 404
        assert (await client.get("/v1/audit")).status_code == 403
    async with house.client() as admin:
        told = (await admin.get("/v1/audit", params={"subject": "own-1"})).json()["items"]
        assert [(each["who"], each["what"]) for each in told] == [
            ("token:default-viewer", "owner.timeline"), ("token:default-viewer", "owner.read"),
        ]  # fmt: skip


async def test_passwords_of_a_device_are_given_and_taken_by_operators(house: House) -> None:
    path = "/v1/devices/cm-1/credentials"
    async with house.client(await house.token(Role.AGENT)) as agent:
        assert (await agent.get(path)).json()["items"] == []
        assert (await agent.post(path, json={})).status_code == 403
    async with house.client(await house.token(Role.OPERATOR)) as client:
        seen = {"If-Match": (await client.get(path)).headers["ETag"]}
        first = await client.post(path, json={}, headers={**seen, "Idempotency-Key": "one"})
        assert (first.status_code, bool(first.json()["password"])) == (201, True)
        again = await client.post(path, json={}, headers={**seen, "Idempotency-Key": "one"})
        assert (again.status_code, again.content) == (204, b"")  # told once
        assert (await client.post(path, json={}, headers=seen)).status_code == 412
        await client.post(path, json={"keep_old": True})
        assert (await client.delete(path, params={"which": "old"})).json()["revoked"] == 1
        shown = (await client.get(path)).json()["items"]
        assert [each["revoked_at"] is None for each in shown] == [False, True]
        await client.post(path, json={"keep_old": False})
        assert (await client.delete(path, params={"which": "all"})).json()["revoked"] == 1
        assert (await client.delete(path)).status_code == 422
        assert (await client.post("/v1/devices/nobody/credentials", json={})).status_code == 404
    acts = await house.rows("SELECT what FROM audit WHERE subject = 'cm-1' AND what ~ 'password' ORDER BY audit_id")
    assert [what.rpartition(".")[2] for (what,) in acts] == [
        "rotate_password", "rotate_password", "revoke_passwords", "rotate_password", "revoke_passwords",
    ]  # fmt: skip


async def test_people_and_tokens_are_administered_by_admins(house: House) -> None:
    async with house.client() as admin:
        made = await admin.post("/v1/people", json={"name": "bob", "role": "agent"}, headers={"Idempotency-Key": "p"})
        assert made.json()["one_time_password"]
        again = await admin.post("/v1/people", json={"name": "bob", "role": "agent"}, headers={"Idempotency-Key": "p"})
        assert (again.status_code, again.content) == (204, b"")  # a secret is told once
        assert (await admin.post("/v1/people", json={"name": "Bob", "role": "agent"})).status_code == 409
        assert (await admin.patch("/v1/people/bob", json={"role": "viewer", "disabled": True})).status_code == 204
        (shown,) = (await admin.get("/v1/people")).json()["items"]
        assert (shown["role"], shown["disabled_at"] is None) == ("viewer", False)
        token = (await admin.post("/v1/tokens", json={"name": "erp", "role": "viewer"})).json()["token"]
        async with house.client(token) as erp:
            assert (await erp.get("/v1/cases")).status_code == 200
            assert (await admin.delete("/v1/tokens/erp")).status_code == 204
            assert (await erp.get("/v1/cases")).status_code == 401
        assert (await admin.delete("/v1/tokens/erp")).status_code == 404
        seen = (await admin.get("/v1/people/bob")).headers["ETag"]
        assert (await admin.patch("/v1/people/bob", json={"role": "agent"}, headers={"If-Match": seen})).is_success
        late = await admin.patch("/v1/people/Bob", json={"role": "viewer"}, headers={"If-Match": seen})
        assert late.status_code == 412
        assert (await admin.post("/v1/people/bob/password", headers={"If-Match": seen})).status_code == 412
        await admin.post("/v1/tokens", json={"name": "erp", "role": "viewer"})
        assert (await admin.delete("/v1/tokens/erp", headers={"If-Match": '"another"'})).status_code == 412
        seen = (await admin.get("/v1/tokens/erp")).headers["ETag"]
        assert (await admin.delete("/v1/tokens/erp", headers={"If-Match": seen})).status_code == 204
        pages = [(await admin.get("/v1/tokens", params={"limit": 1})).json()]
        while pages[-1]["next"] is not None:
            pages.append((await admin.get("/v1/tokens", params={"limit": 1, "cursor": pages[-1]["next"]})).json())
        assert [each["name"] for page in pages for each in page["items"]].count("erp") == 2
        assert all(len(page["items"]) == 1 for page in pages)
    (kept,) = await house.rows("SELECT string_agg(body::text, '') FROM answered_write")
    assert kept in {("",), (None,), ("\\x",)}


async def test_a_command_is_given_once_under_its_key_even_when_it_is_over(house: House) -> None:
    path, key = "/v1/devices/cm-1/commands", {"Idempotency-Key": "a"}
    async with house.client() as client:
        first = await client.post(path, json={"name": "restart"}, headers=key)
        assert first.status_code == 201
        (await client.post(f"{path}/{first.json()['command_id']}/cancel")).raise_for_status()
        again = await client.post(path, json={"name": "restart"}, headers=key)
        assert (again.status_code, again.json()) == (201, first.json())
        second = (await client.post(path, json={"name": "restart"})).raise_for_status()
        assert (await client.post(path, json={"name": "restart"})).status_code == 409
        page = (await client.get(path, params={"limit": 1})).json()
        rest = (await client.get(path, params={"limit": 2, "cursor": page["next"]})).json()
        found = [each["command_id"] for each in (*page["items"], *rest["items"])]
        assert sorted(found) == sorted(each.json()["command_id"] for each in (first, second))
        assert (await client.get(path, params={"cursor": encode_cursor("noon", "cmd")})).status_code == 422
    assert await house.rows("SELECT count(*) FROM audit WHERE what = 'device.command'") == [(2,)]


async def test_what_is_wrong_with_a_product_is_shown_of_its_present_owner_only(house: House, world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO alarm (alarm_id, tenant_id, device_id, watch, kind, problem, severity, state, started_at,"
            " decided_ts, raised_at, updated_at, score, explanation, events) VALUES ('a-1', 'default', 'cm-1', 'w',"
            " 'threshold', 'p', 'major', 'active', now(), now(), now(), now(), 1.0, '{}', 0)"
        )
    await world.own("cm-1", "own-2")
    async with house.client() as client:
        found = [(await client.get(f"/v1/owners/{owner}")).json()["products"] for owner in ("own-1", "own-2")]
    assert [[(each["alarms_going_on"], each["live_cases"]) for each in products] for products in found] == [
        [(0, 1)], [(1, 0)],
    ]  # fmt: skip
    async with world.pool.connection() as conn:
        shown = [await products_of(conn, "default", owner) for owner in ("own-1", "own-2")]
    assert [[each.alarms for each in products] for products in shown] == [[0], [1]]


async def test_a_case_s_journey_comes_in_pages(house: House) -> None:
    async with house.client() as client:
        case, _ = await the_case(client)
        path = f"/v1/cases/{case['case_id']}/journey"
        whole = (await client.get(path)).json()
        assert whole["next"] is None
        assert len(whole["items"]) > 3
        first = (await client.get(path, params={"limit": 3})).json()
        rest = (await client.get(path, params={"cursor": first["next"]})).json()
        assert first["items"] + rest["items"] == whole["items"]
        assert (await client.get("/v1/cases/nowhere/journey")).status_code == 404
