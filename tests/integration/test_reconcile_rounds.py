"""The gateway holds its cases against a CRM's records by itself, and notices hooks that do not come."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from crm_sync.adapters.contract import Polled
from crm_sync.delivery.channels import Channel
from crm_sync.records.reconcile import Disagreement
from crm_sync.records.rounds import Round, Rounds
from crm_sync.settings import ReconcileSettings
from crm_sync.stats import CrmStats
from simulators.crm.server import AppServer
from simulators.crm.vendors.desk import Ticket
from simulators.crm.vendors.sandbox import Fault, VendorSandbox
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.crm_parties import PARTIES, make_vendor, open_channel, settings

ZENDESK = next(party for party in PARTIES if party.name == "zendesk")


@dataclass
class Desk:
    """A gateway's cases, and a CRM that has them too."""

    world: CaseWorld
    crm: VendorSandbox
    channel: Channel
    now: Any
    stats: CrmStats = field(default_factory=CrmStats)
    rounds: dict[str, Rounds] = field(default_factory=dict[str, Rounds])

    @property
    def ticket(self) -> Ticket:
        """The only one."""
        (ticket,) = self.crm.vendor.book.tickets.values()
        return ticket

    async def deliver(self) -> None:
        """Send what is due."""
        await self.world.send_due(self.channel, lambda: self.now)

    async def go(self, **more: Any) -> Round:
        """One round, by whoever went the one before."""
        rounds = self.rounds.setdefault(
            str(more),
            Rounds(
                "default",
                [self.channel],
                self.world.pool,
                ReconcileSettings(**more),
                clock=self.world.clock,
                log=structlog.get_logger(),
                stats=self.stats,
                real_now_s=lambda: self.now,
            ),
        )
        done = await rounds.go(self.channel)
        assert done is not None
        return done


@asynccontextmanager
async def open_desk(database_url: str) -> AsyncGenerator[Desk]:
    """A case that Zendesk has heard of."""
    now = 1_800_000_000.0
    crm = VendorSandbox(make_vendor(ZENDESK), now_s=lambda: now)
    with AppServer(crm) as server:
        endpoint = settings(ZENDESK, server.origin)
        channel = open_channel(endpoint, lambda: now)
        async with open_world(database_url, endpoints=(endpoint,)) as world:
            await world.grant("crm")
            await world.happens(notice())
            desk = Desk(world, crm, channel, now)
            await desk.deliver()
            yield desk
        await channel.adapter.close()


@pytest.fixture
async def desk(plain_database_url: str) -> AsyncIterator[Desk]:
    async with open_desk(plain_database_url) as desk:
        yield desk


async def test_a_round_compares_every_case_and_counts_how_they_disagree(desk: Desk) -> None:
    assert await desk.go() == Round(1, [])
    desk.ticket.priority = "low"
    done = await desk.go()
    assert [(drift.what, drift.says) for drift in done.drifts] == [
        (Disagreement.FIELD, "priority is 'low', not 'high'")
    ]
    assert (desk.stats.compared, desk.stats.drifts) == ({"crm": 1}, {"crm": {"field": 1}})
    assert not done.drifts[0].retold  # an agent may have chosen it
    await desk.deliver()
    assert desk.ticket.priority == "low"
    desk.ticket.removed = True
    assert [drift.what for drift in (await desk.go()).drifts] == [Disagreement.MISSING]


async def test_a_record_left_open_is_closed_again_once(desk: Desk) -> None:
    await desk.world.happens(notice(event="cleared", at_s=NOON + 60, started_at_s=NOON - HOUR))
    await desk.deliver()
    desk.ticket.status = "open"
    assert [drift.retold for drift in (await desk.go()).drifts] == [True]
    await desk.deliver()
    assert desk.ticket.status == "solved"
    assert (await desk.go()).drifts == []
    for retold in (True, False, False):  # somebody opens it each time, and is left to it
        desk.ticket.status = "open"
        assert [drift.retold for drift in (await desk.go()).drifts] == [retold]
        if retold:
            await desk.deliver()


async def test_fields_are_mended_where_that_is_wanted(desk: Desk) -> None:
    desk.ticket.priority = "low"
    assert [drift.retold for drift in (await desk.go(repair=("field",))).drifts] == [True]
    await desk.deliver()
    assert desk.ticket.priority == "high"


async def test_a_crm_that_does_not_answer_is_told_of_and_asked_the_next_time(desk: Desk) -> None:
    desk.crm.command("read", Fault.UNAVAILABLE)
    assert [drift.what for drift in (await desk.go()).drifts] == [Disagreement.UNASKED]
    assert (await desk.go()).drifts == []
    assert desk.stats.drifts == {"crm": {}}


async def test_a_round_is_given_up_where_the_crm_is_away(desk: Desk) -> None:
    for number in range(2, 7):
        await desk.world.own(f"cm-{number}")
        await desk.world.happens(notice(device_id=f"cm-{number}"))
    await desk.deliver()
    desk.crm.command("read", *[Fault.UNAVAILABLE] * 9)
    assert (await desk.go()).cases == 3


async def test_changes_that_polling_finds_and_no_hook_told_are_noticed(desk: Desk) -> None:
    channel = Channel(desk.channel.settings, desk.channel.adapter, desk.channel.breaker, expects_hooks=True)
    desk.channel = channel
    await desk.go()
    assert desk.stats.hooks_missed == {"crm": 0.0}
    desk.ticket.status, desk.ticket.changed_s = "pending", desk.now - 30
    polling = desk.world.polling(channel, lambda: desk.now)
    assert isinstance(channel.adapter, Polled)
    assert await polling.ask("crm", channel.adapter) == {"applied": 1}
    with structlog.testing.capture_logs() as logs:
        await desk.go()
    assert desk.stats.hooks_missed == {"crm": 1.0}
    assert [line["found"] for line in logs if line["event"] == "records.hooks_missed"] == [1]
    await desk.world.rows(
        "INSERT INTO callback_received (tenant_id, endpoint, webhook_id, sent_at, received_at, type, body, effect)"
        " SELECT 'default', 'crm', 'd-' || n, to_timestamp(%s), to_timestamp(%s), 'record.changed', '', 'applied'"
        " FROM generate_series(1, 199) n RETURNING 1",
        desk.now,
        desk.now,
    )
    await desk.go()
    assert desk.stats.hooks_missed == {"crm": 1 / 200}
