"""A small world for tests of cases: a real database, one owner's product, a clock that stands still until told."""

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final, Literal

import msgspec
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from crm_sync.cases import step_queries, steps
from crm_sync.cases.callback import ApplyCallback, CaseCallback, apply_callback
from crm_sync.cases.desk import Desk
from crm_sync.delivery.channels import Channel
from crm_sync.delivery.deliverer import Deliverer, RealTime
from crm_sync.inbox import AlarmExplanation, AlarmNotice, put_alarms
from crm_sync.inbox_worker import InboxWorker
from crm_sync.outbox import QueuedMessage
from crm_sync.owner_link import link_keys
from crm_sync.policy.contacts import note_accepted
from crm_sync.policy.model import SendDecision, Verdict
from crm_sync.records.polling import Polling
from crm_sync.send_check import SendCheck
from crm_sync.settings import CrmSettings, EndpointSettings, MessageType
from crm_sync.trust.rules import TrustRules
from devices.profiles import Profile, load_profiles
from devices.registry.model import Grant, GrantState
from tests.services.grants import record_grant
from tests.services.patience import PATIENCE_S

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

NOON: Final = datetime(2026, 3, 3, 11, 0, tzinfo=UTC).timestamp()  # a Tuesday, noon in Berlin
HOUR: Final = 3600.0
DAY: Final = 86400.0


@dataclass
class StillClock:
    """A clock that is set by hand."""

    at_s: float = NOON

    def now_s(self) -> float:
        """The moment it was set to."""
        return self.at_s


def endpoint(name: str = "crm-a", **changes: Any) -> EndpointSettings:
    """A receiver that nobody listens at."""
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    return EndpointSettings(name=name, url="https://crm.example.com/hook", secret=secret, **changes)


def notice(**changes: Any) -> AlarmNotice:
    """The boiler of coffee machine cm-1 has just become too hot."""
    at_s: float = changes.pop("at_s", NOON)
    started_s: float = changes.pop("started_at_s", at_s - HOUR)
    device_id: str = changes.pop("device_id", "cm-1")
    watch: str = changes.pop("watch", "boiler-too-hot")
    plain = AlarmNotice(
        tenant_id="default",
        alarm_id=f"alm_{device_id}_{watch}_{int(started_s)}",
        device_id=device_id,
        watch=watch,
        kind="threshold",
        metric="boiler_temperature",
        problem="boiler",
        severity="major",
        event="raised",
        started_at_s=started_s,
        ts_s=at_s,
        head_ts_s=at_s,
        recorded_at_s=at_s,
        score=1.0,
        explanation=AlarmExplanation(
            text="The boiler temperature rose above its limit",
            expected="at most 125 °C",
            observed="131 °C",
            window_s=HOUR,
            evidence=((started_s - HOUR, 118.0), (started_s, 127.0), (at_s, 131.0)),
        ),
    )
    return replace(plain, **changes)


def scale(at_s: float = NOON, **changes: Any) -> AlarmNotice:
    """Limescale, for which the playbook has a message to the owner by email."""
    values = {"watch": "heats-slowly", "problem": "limescale", "metric": "heat_up_time", "severity": "minor"}
    return notice(at_s=at_s, **(values | changes))


@dataclass
class CaseWorld:
    """What a test of cases does and looks at."""

    pool: Pool
    settings: CrmSettings = field(default_factory=lambda: CrmSettings(endpoints=(endpoint(),), silent_fixes=False))
    clock: StillClock = field(default_factory=StillClock)
    trust: TrustRules | None = None
    read: dict[str, int] = field(default_factory=dict[str, int])
    profiles: Mapping[str, Profile] = field(default_factory=load_profiles)

    @property
    def desk(self) -> Desk:
        """The desk that the settings make."""
        return Desk(self.settings, self.profiles, self.trust, link_keys=link_keys(self.settings.voice))

    @property
    def apply(self) -> ApplyCallback:
        """What is done with a callback."""
        return partial(apply_callback, wording=self.desk.wording)

    def worker(self) -> InboxWorker:
        """A worker of the inbox, to which no transaction seems long, however slow the machine is."""
        return InboxWorker(self.desk, self.pool, self.clock, structlog.get_logger(), real_s=lambda: 0.0)

    async def put(self, *notices: AlarmNotice) -> None:
        """Commit notices, as ingest does."""
        async with self.pool.connection() as conn:
            await put_alarms(conn, notices)

    async def work(self) -> int:
        """Work the inbox until it is empty."""
        return sum([n async for n in self._batches()])

    async def _batches(self) -> AsyncIterator[int]:
        worker = self.worker()
        while count := await worker.work_batch():
            yield count

    async def happens(self, *notices: AlarmNotice) -> None:
        """Notices arrive, and are worked at the time of the last of them."""
        for each in notices:
            self.clock.at_s = max(self.clock.at_s, each.recorded_at_s)
            await self.put(each)
            await self.work()

    async def send_due(self, channel: Channel, real_s: Callable[[], float]) -> None:
        """Send a CRM what is due to it; `real_s` is real time."""
        engine = Deliverer(
            "default",
            [channel],
            self.pool,
            SendCheck(self.desk).may_send,
            clock=self.clock,
            log=structlog.get_logger(),
            real_time=RealTime(real_s, lambda: 0.5),
        )
        while await engine.deliver_due():
            await engine.drain(PATIENCE_S)

    def polling(self, channel: Channel, real_s: Callable[[], float]) -> Polling:
        """What asks a CRM how its records stand; `real_s` is real time."""
        return Polling(
            "default",
            [channel],
            self.pool,
            apply=self.apply,
            clock=self.clock,
            log=structlog.get_logger(),
            real_now_s=real_s,
        )

    async def release_steps(self) -> None:
        """Send the held steps whose hour has come."""
        async with self.pool.connection() as conn:
            due = await step_queries.due_steps(conn, self.clock.at_s, 100)
        for step in due:
            async with self.pool.connection() as conn, conn.transaction():
                await steps.release_due(conn, self.desk, step, self.clock.at_s)

    async def call_back(self, **values: Any) -> str:
        """The CRM says something about the newest case."""
        case_id = (
            values.pop("case_id", None)
            or (await self.rows("SELECT case_id FROM service_case ORDER BY number"))[-1]["case_id"]
        )
        callback = CaseCallback(
            "default", values.pop("endpoint", "crm-a"), case_id, received_at_s=self.clock.at_s, **values
        )
        async with self.pool.connection() as conn, conn.transaction():
            return await self.apply(conn, callback)

    async def rows(self, query: Any, *values: object) -> list[dict[str, Any]]:
        """What the database holds."""
        async with self.pool.connection() as conn, conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query, values)
            return await cursor.fetchall()

    async def cases(self) -> list[dict[str, Any]]:
        """Every case, oldest first."""
        return await self.rows("SELECT * FROM service_case ORDER BY number")

    async def messages(self, name: str = "crm-a") -> list[dict[str, Any]]:
        """Every message to an endpoint, in the order of writing: type, data, message_id, stream_key."""
        rows = await self.rows(
            "SELECT m.*, s.stream_key, s.endpoint FROM outbox_message m JOIN outbox_stream s USING (stream_id)"
            " WHERE s.endpoint = %s ORDER BY m.number",
            name,
        )
        return [row | msgspec.json.decode(bytes(row["body"])) for row in rows]

    async def types(self, name: str = "crm-a") -> list[str]:
        """The types of every message to an endpoint."""
        return [message["type"] for message in await self.messages(name)]

    async def deliver(self, name: str = "crm-a", *, limit: int | None = None) -> list[tuple[str, SendDecision]]:
        """Ask for each message that was not asked for yet whether it may leave, as delivery does."""
        messages = await self.messages(name)
        decisions: list[tuple[str, SendDecision]] = []
        for row in itertools.islice(messages, self.read.get(name, 0), limit):
            decisions.append((row["type"], await self.ask(row)))
            self.read[name] = self.read.get(name, 0) + 1
        return decisions

    async def ask(self, row: dict[str, Any]) -> SendDecision:
        """Ask whether one message may leave now."""
        message = QueuedMessage(
            row["tenant_id"],
            row["endpoint"],
            row["stream_key"],
            row["seq"],
            row["message_id"],
            MessageType(row["type"]),
            bytes(row["body"]),
            row["created_at"],
        )
        async with self.pool.connection() as conn, conn.transaction():
            return await SendCheck(self.desk).may_send(conn, message, self.clock.at_s)

    async def loses_answer(self, row: dict[str, Any]) -> None:
        """A message is sent, and nobody knows whether it arrived."""
        async with self.pool.connection() as conn:
            await conn.execute(
                "INSERT INTO delivery_attempt (tenant_id, message_id, lease_token, started_at, settled_at, result)"
                " VALUES ('default', %s, 1, now(), now(), 'unknown')",
                [row["message_id"]],
            )

    async def withdraw(self, row: dict[str, Any]) -> None:
        """Delivery passes over a message that the policy did not let go."""
        async with self.pool.connection() as conn:
            await conn.execute(
                "UPDATE outbox_message SET state = 'withdrawn' WHERE message_id = %s", [row["message_id"]]
            )

    async def accept(self, row: dict[str, Any]) -> None:
        """The CRM takes a message."""
        async with self.pool.connection() as conn, conn.transaction():
            await conn.execute(
                "UPDATE outbox_message SET state = 'delivered' WHERE message_id = %s", [row["message_id"]]
            )
            await note_accepted(conn, row["message_id"], self.clock.at_s)

    async def contact(self) -> None:
        """Everything that waits is delivered and taken, the owner's steps among it."""
        for row in await self.messages():
            if row["state"] == "pending":
                decision = await self.ask(row)
                await (self.accept(row) if decision.verdict is Verdict.SEND else self.withdraw(row))

    async def own(self, device_id: str = "cm-1", owner_ref: str | None = "own-1", **values: Any) -> None:
        """Register a coffee machine, and whose it is."""
        async with self.pool.connection() as conn:
            await conn.execute(
                "INSERT INTO device (tenant_id, device_id, partition, model, source)"
                " VALUES ('default', %s, 0, 'coffee-machine', 'import') ON CONFLICT DO NOTHING",
                [device_id],
            )
            await conn.execute(
                "INSERT INTO asset (tenant_id, asset_id, device_id, model, serial, warranty_until)"
                " VALUES ('default', %s, %s, 'coffee-machine', 'SN-' || %s, %s) ON CONFLICT DO NOTHING",
                [f"asset-{device_id}", device_id, device_id, date(2027, 5, 4)],
            )
            if owner_ref is None:
                return
            await conn.execute(
                "INSERT INTO owner (tenant_id, owner_ref, account_ref, time_zone) VALUES ('default', %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [owner_ref, values.get("account_ref", "acc-1"), values.get("time_zone", "Europe/Berlin")],
            )
            await conn.execute(
                "UPDATE ownership SET until = now() WHERE asset_id = %s AND until IS NULL", [f"asset-{device_id}"]
            )
            await conn.execute(
                "INSERT INTO ownership (tenant_id, asset_id, owner_ref, since) VALUES ('default', %s, %s, 'epoch')",
                [f"asset-{device_id}", owner_ref],
            )

    async def grant(
        self,
        recipient: str,
        state: GrantState = "given",
        owner_ref: str = "own-1",
        purpose: Literal["service", "marketing"] = "service",
    ) -> None:
        """The owner says a word."""
        epoch = datetime.fromtimestamp(0, UTC)
        said = Grant(owner_ref, purpose, recipient, state, "consent", "app", epoch, epoch, None)
        async with self.pool.connection() as conn:
            await record_grant(conn, "default", said)


@asynccontextmanager
async def open_world(url: str, **settings: Any) -> AsyncGenerator[CaseWorld]:
    """A world on a fresh database, with one owner's coffee machine in it."""
    pool: Pool = AsyncConnectionPool(url, min_size=2, max_size=6, open=False)
    async with pool:
        plain: dict[str, Any] = {"endpoints": (endpoint(),), "silent_fixes": False}  # most tests are about people
        world = CaseWorld(pool, CrmSettings.model_validate(plain | settings))
        await world.own()
        yield world
