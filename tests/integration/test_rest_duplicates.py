"""Two records that a race has made of one case: one stays, and what becomes of the other says nothing of the case."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from crm_sync.adapters import load_adapters, open_inbound
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.adapters.rest.spec import parse_spec, read_table
from crm_sync.callbacks import receive
from crm_sync.delivery.channels import Channel
from devices.errors import ConfigError
from simulators.crm.vendors.desk import Ticket
from simulators.crm.vendors.sandbox import Fault, VendorSandbox
from tests.services.case_world import CaseWorld, notice, open_world
from tests.services.crm_parties import (
    EXAMPLE,
    HOOK_KEY,
    PARTIES,
    Party,
    StageServer,
    make_vendor,
    notes_of,
    open_affair,
    open_channel,
    opened,
    resolved,
    settings,
)
from tests.services.delivery_rig import Hands
from tests.services.postgres import DatabaseServer

TWO = [party for party in PARTIES if party.name in {"example", "zendesk"}]
both = pytest.mark.parametrize("party", TWO, ids=lambda party: party.name)


@pytest.fixture(scope="module")
def stage(plain_server: DatabaseServer) -> Iterator[StageServer]:
    with plain_server.fresh_database() as url, StageServer(url) as server:
        yield server


@dataclass
class Affair:
    """A gateway's case, and a CRM that makes two of one."""

    world: CaseWorld
    crm: VendorSandbox
    channel: Channel
    now: Hands

    @property
    def tickets(self) -> list[Ticket]:
        """All that the CRM has."""
        return list(self.crm.vendor.book.tickets.values())

    async def deliver(self, *later_s: float) -> None:
        """Send what is due, each time somewhat later."""
        for each in later_s or (0.0,):
            self.now.now_s += each
            await self.world.send_due(self.channel, self.now.read)

    async def hook(self, ticket: Ticket) -> str | None:
        """The CRM tells of a ticket; what came of it."""
        hook = self.crm.vendor.hook([ticket], self.now.now_s, HOOK_KEY)
        endpoint = self.channel.settings
        answer = await receive(
            self.world.pool,
            endpoint,
            hook.headers,
            hook.body,
            self.world.clock.at_s,
            inbound=open_inbound(endpoint, load_adapters()),
            query=hook.query,
            apply=self.world.apply,
            real_now_s=self.now.read,
        )
        return answer.effect

    async def poll(self) -> dict[str, int]:
        """Ask once; what came of each record."""
        self.now.now_s += 400
        adapter = self.channel.adapter
        assert isinstance(adapter, RestAdapter)
        polling = self.world.polling(self.channel, self.now.read)
        return dict(await polling.ask("crm", adapter))

    async def state(self) -> str:
        """How the only case stands."""
        (case,) = await self.world.cases()
        return str(case["state"])


@asynccontextmanager
async def open_race(party: Party, server: StageServer, url: str, **more: Any) -> AsyncGenerator[Affair]:
    """A case is opened, and the CRM makes two records of it; the second is a ticket 50 numbers later."""
    vendor = make_vendor(party)
    now = Hands()
    crm = server.stage.crm = VendorSandbox(vendor, now_s=now.read)
    endpoint = settings(party, server.origin, **more)
    channel = open_channel(endpoint, now.read)
    try:
        async with open_world(url, endpoints=(endpoint,)) as world:
            affair = Affair(world, crm, channel, now)
            await world.grant("crm")
            await world.happens(notice())
            crm.command("create", Fault.CUT_AFTER)
            await affair.deliver()
            (first,) = affair.tickets
            number = str(int(first.number) + 50)
            vendor.book.tickets = {number: replace(first, number=number, notes=[]), first.number: first}
            yield affair
    finally:
        await channel.adapter.close()


@both
async def test_one_open_record_stays_of_a_race_and_its_case_lives(
    party: Party, stage: StageServer, plain_database_url: str
) -> None:
    async with open_race(party, stage, plain_database_url) as affair:
        other, first = affair.tickets
        await affair.deliver(6)
        assert not other.merged_into  # which one is kept, is written down first
        await affair.deliver(40, 400, 4000)
        assert (other.merged_into, first.merged_into) == (first.number, "")
        assert first.status in {"open", "new"}
        notes = len(other.notes), len(first.notes)
        assert await affair.hook(other) in {"other_record", "no_news"}
        working = replace(
            other, status=affair.crm.vendor.word("waiting"), merged_into="", changed_s=affair.now.now_s + 1
        )
        assert await affair.hook(working) == "other_record"
        assert set(await affair.poll()) <= {"other_record", "no_change"}
        assert await affair.state() == "open"
        assert await affair.world.rows("SELECT external_id FROM external_ref") == [{"external_id": first.number}]
        resolution = replace(first, status=affair.crm.vendor.word("closed"), changed_s=affair.now.now_s)
        await affair.deliver(40)
        assert (len(other.notes), len(first.notes)) == notes
        assert await affair.hook(resolution) == "applied"
        assert await affair.state() == "resolved"


async def test_a_duplicate_that_stays_is_for_a_person(stage: StageServer, plain_database_url: str) -> None:
    async with open_race(TWO[0], stage, plain_database_url) as affair:
        affair.crm.command("duplicate", *[Fault.IGNORE] * 9)
        await affair.deliver(6, *[40_000] * 6)
        assert affair.crm.count("duplicate") == 4
        rows = await affair.world.rows("SELECT state, reason FROM outbox_message")
        assert rows == [{"state": "dead", "reason": "duplicate_stays"}]
        assert [each.status for each in affair.tickets] == ["open", "open"]


async def test_an_answer_that_is_lost_puts_nothing_away_twice(stage: StageServer, plain_database_url: str) -> None:
    async with open_race(TWO[0], stage, plain_database_url) as affair:
        affair.crm.command("duplicate", Fault.FAIL_AFTER)
        await affair.deliver(6, 40, 400, 4000)
        assert affair.crm.count("duplicate") == 1
        assert [each.status for each in affair.tickets] == ["solved", "open"]


@both
async def test_one_that_comes_later_is_put_away_at_the_end(party: Party, stage: StageServer) -> None:
    async with open_affair(party, stage) as affair:
        await affair.tell(first := opened())
        await affair.run()
        (record,) = affair.records()
        number = str(int(record.number) - 50)  # older by its number, but not the one that is known
        other = affair.vendor.book.tickets[number] = replace(record, number=number, notes=[])
        await affair.tell(over := resolved())
        await affair.run()
        assert record.status == affair.vendor.word("closed")
        await affair.run(6, 40, 400)
        assert [(await affair.state(each))[0] for each in (first, over)] == ["delivered"] * 2
        assert (other.merged_into, record.merged_into) == (record.number, "")
        assert len(notes_of([record], over)) == 1
        assert affair.crm.count("duplicate") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('key = "fields.careloop_case"        # believed only where it is really there\n', ""),
        ('duplicate_of = "{kept_record}"', 'duplicate_of = "of another"'),
        ('duplicate_of = "{kept_record}"', 'duplicate_of = "{kept_record} {brief}"'),
    ],
)
def test_a_file_that_could_put_away_the_wrong_record_is_refused(old: str, new: str, tmp_path: Path) -> None:
    (file := tmp_path / "wrong.toml").write_text(EXAMPLE.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match="duplicate"):
        parse_spec(read_table(file), "wrong.toml")
