"""What a helpdesk does with its tickets by itself comes back: by hooks of its own form, and by asking."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.adapters.rest.spec import FACTS
from crm_sync.callbacks import CallbackAnswer, receive
from crm_sync.delivery.breaker import Breaker
from crm_sync.delivery.channels import Channel
from crm_sync.records.reconcile import Disagreement, Drift, Reconciliation
from devices.errors import Retryable
from tests.integration.test_rest_adapter import EXAMPLE, settings
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.delivery_rig import START_S, Hands
from tests.services.gateway import run_careloop
from tests.services.helpdesk import TOKEN, Helpdesk, refuses

KEY = "a key that two sides know"


@dataclass
class Desk:
    """A gateway's cases, a helpdesk, and both ways between them."""

    world: CaseWorld
    helpdesk: Helpdesk
    channel: Channel
    adapter: RestAdapter
    now: Hands

    async def deliver(self) -> None:
        """Send what is due."""
        await self.world.send_due(self.channel, self.now.read)

    async def poll(self) -> dict[str, int]:
        """Ask once; what came of each record."""
        polling = self.world.polling(self.channel, self.now.read)
        return dict(await polling.ask("crm", self.adapter))

    async def hook(
        self, ticket: Mapping[str, object], delivery: str = "", key: str = KEY, at_s: float | None = None
    ) -> CallbackAnswer:
        """The helpdesk tells of a ticket."""
        body = json.dumps({"ticket": dict(ticket)}).encode()
        timestamp = str(int(self.now.now_s if at_s is None else at_s))
        signature = hmac.digest(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hex()
        headers = {"X-Helpdesk-Signature": f"sha256={signature}", "X-Helpdesk-Timestamp": timestamp}
        if delivery:
            headers["X-Helpdesk-Delivery"] = delivery
        endpoint = self.channel.settings
        return await receive(
            self.world.pool,
            endpoint,
            headers,
            body,
            self.world.clock.at_s,
            apply=self.world.apply,
            inbound=RestAdapter.open_inbound(endpoint),
            real_now_s=self.now.read,
        )

    async def compare(self) -> list[Drift]:
        """Every disagreement between cases and tickets."""
        work = Reconciliation(self.world.pool, "default", "crm", self.adapter)
        return [drift async for _, found in work.compare(0.0) for drift in found]

    async def retell(self, *drifts: Drift) -> list[bool]:
        """Tell a case again; whether each drift is mended by it."""
        work = Reconciliation(self.world.pool, "default", "crm", self.adapter)
        return [drift.retold for drift in await work.retell(drifts, self.world.clock.at_s)]

    async def state(self) -> tuple[str, str | None]:
        """Of the only case."""
        (case,) = await self.world.cases()
        return case["state"], case["outcome"]


@asynccontextmanager
async def open_desk(url: str, spec: Path = EXAMPLE) -> AsyncGenerator[Desk]:
    """With one case, whose ticket is 100."""
    async with Helpdesk() as helpdesk:
        endpoint = settings(helpdesk, spec, callback_token=KEY)
        async with open_world(url, endpoints=(endpoint,)) as world:
            now = Hands()
            adapter = RestAdapter(endpoint, real_now_s=now.read)
            desk = Desk(world, helpdesk, Channel(endpoint, adapter, Breaker(endpoint.breaker)), adapter, now)
            try:
                await world.happens(notice())
                await desk.deliver()
                assert list(helpdesk.tickets) == [100]
                yield desk
            finally:
                await adapter.close()


async def test_what_no_hook_told_is_found_by_asking_and_taken_once(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        assert await desk.poll() == {}
        desk.helpdesk.tickets[100]["status"] = "pending"
        desk.helpdesk.tickets[100]["fields"]["said"] = "It smells."
        assert await desk.poll() == {"applied": 1}
        assert await desk.state() == ("waiting", None)
        assert await desk.poll() == {"no_change": 1}
        assert await desk.world.rows("SELECT customer_said FROM case_verdict") == [{"customer_said": "It smells."}]
        desk.helpdesk.tickets[100]["status"] = "solved"
        desk.helpdesk.tickets[100]["fields"]["cause"] = "false alarm"
        assert await desk.poll() == {"applied": 1}
        assert await desk.state() == ("retracted", "false")
        assert await desk.poll() == {"no_change": 1}
        asked = [each.query["updated_since"] for each in desk.helpdesk.asked if "updated_since" in each.query]
        assert asked[0] == "2027-01-14T07:59:00Z"  # a day and the overlap back
        assert set(asked[2:]) == {"2027-01-15T07:59:00Z"}


async def test_tickets_of_others_are_nobodys_case(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        desk.helpdesk.tickets[101] = {"id": 101, "status": "solved", "fields": {}}
        desk.helpdesk.ignores_filters = True
        assert await desk.poll() == {"unknown_case": 1}
        assert await desk.state() == ("open", None)


async def test_what_is_about_to_be_told_is_not_overruled_by_what_is_there(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        await desk.world.happens(notice(event="cleared", at_s=NOON + 60, started_at_s=NOON - HOUR))
        await desk.deliver()
        assert desk.helpdesk.tickets[100]["status"] == "solved"
        await desk.world.happens(notice(at_s=NOON + HOUR, started_at_s=NOON + HOUR - 60))
        assert (await desk.state())[0] == "open"
        assert await desk.poll() == {"busy": 1}  # solved there, until the relapse is told
        assert (await desk.state())[0] == "open"
        await desk.deliver()
        assert desk.helpdesk.tickets[100]["status"] == "open"
        assert await desk.poll() == {}
        desk.helpdesk.tickets[100]["status"] = "solved"  # as it was seen before the relapse, and news after it
        assert await desk.poll() == {"applied": 1}
        assert (await desk.state())[0] == "resolved"


async def test_a_hook_that_is_signed_is_taken_once(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        ticket = {"id": 100, "status": "pending", "updated_at": "2027-01-15T08:00:00.250Z"}
        assert await desk.hook(ticket, "d-1") == CallbackAnswer(200, "applied")
        assert await desk.hook(ticket, "d-1") == CallbackAnswer(200, "duplicate")
        assert await desk.state() == ("waiting", None)
        assert await desk.poll() == {}


async def test_hooks_that_come_in_the_wrong_order_end_with_the_newest(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        solved = {"id": 100, "status": "solved", "updated_at": "2027-01-15T08:00:02Z"}
        pending = {"id": 100, "status": "pending", "updated_at": "2027-01-15T08:00:01Z"}
        assert await desk.hook(solved, "d-2") == CallbackAnswer(200, "applied")
        assert await desk.hook(pending, "d-1") == CallbackAnswer(200, "old_version")
        assert (await desk.state())[0] == "resolved"


async def test_what_is_not_signed_by_those_who_know_the_key_is_refused(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        solved = {"id": 100, "status": "solved", "updated_at": 5}
        assert (await desk.hook(solved, key="another")).status == 401
        assert await desk.hook(solved, at_s=START_S - 301) == CallbackAnswer(401, "too_old")
        assert await desk.hook(solved, at_s=START_S + 301) == CallbackAnswer(401, "too_new")
        assert await desk.state() == ("open", None)


async def test_a_hook_without_news_is_recorded_and_changes_nothing(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        assert await desk.hook({"id": 100, "status": "open"}) == CallbackAnswer(202, "no_news")
        assert await desk.hook({"id": 999, "status": "solved"}) == CallbackAnswer(202, "unknown_case")


async def test_a_helpdesk_that_does_not_answer_is_asked_the_same_again(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        desk.helpdesk.tickets[100]["status"] = "solved"
        desk.helpdesk.trick("GET /api/tickets", refuses(503, retry_after="30"))
        with pytest.raises(Retryable) as caught:
            await desk.poll()
        assert caught.value.retry_after_s == 30
        assert await desk.poll() == {"applied": 1}


async def test_cases_and_tickets_are_compared_and_told_again_where_they_drifted(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        assert await desk.compare() == []
        ticket = desk.helpdesk.tickets[100]
        ticket["priority"] = "low"
        (drift,) = await desk.compare()
        assert (drift.external_id, drift.what) == ("100", Disagreement.FIELD)
        assert drift.says == "priority is 'low', not 'normal'"
        ticket["fields"] = {"careloop_case": "nobody's"}
        drifts = await desk.compare()
        assert await desk.retell(*drifts) == [True, True]
        before = len(desk.helpdesk.comments[100])
        await desk.deliver()
        assert (ticket["priority"], await desk.compare()) == ("normal", [])
        assert len(desk.helpdesk.comments[100]) == before + 1  # told once, however much had drifted

        await desk.world.happens(notice(event="cleared", at_s=NOON + 60, started_at_s=NOON - HOUR))
        await desk.deliver()
        assert (ticket["status"], await desk.compare()) == ("solved", [])
        ticket["status"] = "open"
        (drift,) = await desk.compare()
        assert (drift.what, drift.says) == (Disagreement.OPEN_THERE, "open there, and here resolved")
        await desk.retell(drift)
        await desk.deliver()
        assert (ticket["status"], await desk.compare()) == ("solved", [])


async def test_the_command_says_where_they_disagree_and_exits_with_it(plain_database_url: str, tmp_path: Path) -> None:
    async with open_desk(plain_database_url) as desk:
        url = desk.helpdesk.url
        config = tmp_path / "careloop.toml"
        config.write_text(
            f'[database]\nurl = "{plain_database_url}"\n[[crm.endpoints]]\nname = "crm"\nadapter = "rest"\n'
            f'url = "{url}"\n'
            f'spec_file = "{EXAMPLE}"\ntoken = "{TOKEN}"\nallow_http = true\nallow_networks = ["127.0.0.0/8"]\n'
            f"ports = [{httpx.URL(url).port}]\n"
        )
        command = ["crm", "reconcile", "crm", "--config", config]
        agreed = await asyncio.to_thread(run_careloop, *command)
        assert (agreed.returncode, agreed.stdout) == (0, "cases compared: 1; disagreements: 0\n")
        desk.helpdesk.tickets[100]["priority"] = "low"
        told = await asyncio.to_thread(run_careloop, *command, "--retell", "--json")
        (drift,) = json.loads(told.stdout)["drifts"]
        assert (told.returncode, drift["what"], drift["retold"]) == (1, "field", True)


async def test_a_disagreement_that_a_person_made_is_told_and_left_to_people(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        desk.helpdesk.tickets[100]["status"] = "solved"
        (closed,) = await desk.compare()
        assert (closed.what, await desk.retell(closed)) == (Disagreement.CLOSED_THERE, [False])
        desk.helpdesk.trick("GET /api/tickets/100", refuses(503))
        assert [drift.what for drift in await desk.compare()] == [Disagreement.UNASKED]
        desk.helpdesk.tickets.clear()
        (missing,) = await desk.compare()
        assert (missing.what, await desk.retell(missing)) == (Disagreement.MISSING, [False])


async def test_every_word_of_a_message_can_be_put_into_a_helpdesk(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        told = {name for message in await desk.world.messages("crm") for name in message["data"]}
        assert "brief" in told
        assert told <= FACTS


async def test_a_record_that_cannot_be_read_hides_no_other(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        desk.helpdesk.tickets[99] = {"id": "9\\x009", "status": "solved", "fields": {"careloop_case": "case\\x00"}}
        desk.helpdesk.tickets[100]["status"] = "solved"
        assert await desk.poll() == {"applied": 1, "unknown_case": 1}


async def test_a_case_that_waits_for_a_person_does_not_stop_the_asking(plain_database_url: str) -> None:
    async with open_desk(plain_database_url) as desk:
        await desk.world.rows("UPDATE outbox_stream SET state = 'parked', head_seq = 1, next_seq = 2 RETURNING 1")
        desk.helpdesk.tickets[100]["status"] = "pending"
        assert await desk.poll() == {"applied": 1}


async def test_its_own_limit_makes_a_comparison_wait_and_not_fail(plain_database_url: str, tmp_path: Path) -> None:
    slow = tmp_path / "slow.toml"
    slow.write_text(EXAMPLE.read_text().replace("requests = 120 ", "requests = 5 "))
    slept: list[float] = []

    async with open_desk(plain_database_url, slow) as desk:

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            desk.now.now_s += seconds

        work = Reconciliation(desk.world.pool, "default", "crm", desk.adapter, sleep)
        for _ in range(6):
            assert [found async for _, found in work.compare(0.0)] == [[]]
        assert slept


async def test_what_careloop_did_to_a_ticket_is_not_taken_for_an_agents_doing(
    plain_database_url: str, tmp_path: Path
) -> None:
    spec = tmp_path / "desk.toml"
    spec.write_text(
        EXAMPLE.read_text().replace('{ pending = "waiting",', '{ open = "in_progress", pending = "waiting",')
    )

    async def agents_said(desk: Desk) -> list[str]:
        rows = await desk.world.rows(
            "SELECT reason FROM case_transition WHERE actor = 'crm:crm' ORDER BY transition_id"
        )
        return [row["reason"] for row in rows]

    async with open_desk(plain_database_url, spec) as desk:
        await desk.world.happens(notice(event="cleared", at_s=NOON + 60, started_at_s=NOON - HOUR))
        await desk.deliver()
        await desk.poll()
        await desk.world.happens(notice(at_s=NOON + HOUR, started_at_s=NOON + HOUR - 60))
        await desk.deliver()
        assert desk.helpdesk.tickets[100]["status"] == "open"  # as the relapse has it
        assert await desk.poll() == {"no_change": 1}
        assert (await desk.hook({"id": 100, "status": "open", "updated_at": 7})).effect == "no_change"
        assert (await desk.hook({"id": 100, "status": "solved", "updated_at": 6})).effect == "old_version"
        assert await agents_said(desk) == []  # nobody there has taken it up
        desk.helpdesk.tickets[100]["status"] = "pending"
        assert await desk.poll() == {"applied": 1}
        desk.helpdesk.tickets[100]["status"] = "open"  # the same word, but an agent's by now
        assert await desk.poll() == {"applied": 1}
        assert await agents_said(desk) == ["waiting", "in_progress"]
