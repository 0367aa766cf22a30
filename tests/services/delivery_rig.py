"""A delivery engine with a clock that tests turn, over a real database."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from crm_sync.adapters.contract import CrmAdapter
from crm_sync.adapters.webhook import WebhookAdapter
from crm_sync.delivery.breaker import Breaker
from crm_sync.delivery.channels import Channel
from crm_sync.delivery.deliverer import Deliverer, RealTime
from crm_sync.delivery.records import DeliveryDetail, DeliveryFilter, DeliverySummary, get_delivery, list_deliveries
from crm_sync.guard import Resolve, resolve_host
from crm_sync.outbox import OutboxMessage, QueuedMessage, enqueue_all
from crm_sync.policy.model import SendDecision, Verdict
from crm_sync.settings import EndpointSettings, MessageType
from tests.services.patience import PATIENCE_S

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
START_S = 1_800_000_000.0

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


@dataclass
class Hands:
    """A clock that stands still until a test turns it."""

    now_s: float = START_S

    def read(self) -> float:
        """The time it shows."""
        return self.now_s


class HandClock:
    """The gateway's clock over the same hands."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def now_s(self) -> float:
        """The time it shows."""
        return self._hands.now_s


def endpoint(url: str, name: str = "crm", **more: Any) -> EndpointSettings:
    """An endpoint inside, as a company that runs its own helpdesk would allow it."""
    values = {
        "name": name,
        "url": url,
        "secret": SECRET,
        "allow_http": True,
        "allow_networks": ("127.0.0.0/8",),
        "ports": (httpx.URL(url).port,),
        "types": tuple(MessageType),
        **more,
    }
    return EndpointSettings.model_validate(values)


def message(case: str, kind: MessageType = MessageType.CASE_OPENED, to: str = "crm", **data: object) -> OutboxMessage:
    """A message about a case."""
    return OutboxMessage("default", to, case, kind, {"case_id": case, **data}, START_S)


@dataclass
class Rig:
    """The engine, and what tests do around it."""

    pool: Pool
    channels: list[Channel]
    hands: Hands
    decisions: dict[str, SendDecision] = field(default_factory=dict[str, SendDecision])  # by case; else send
    asked: list[str] = field(default_factory=list[str])
    stumbles_over: set[str] = field(default_factory=set[str])  # cases over which the policy fails

    def engine(self) -> Deliverer:
        """A worker; several may share the database."""
        return Deliverer(
            "default",
            self.channels,
            self.pool,
            self.may_send,
            clock=HandClock(self.hands),
            log=structlog.get_logger(),
            real_time=RealTime(self.hands.read, lambda: 0.5),  # 0.5 is no jitter
        )

    async def may_send(self, conn: AsyncConnection[Any], message: QueuedMessage, now_s: float) -> SendDecision:
        """What the test decided for the message's case."""
        await conn.execute("SELECT %s", [now_s])
        self.asked.append(message.message_id)
        if message.stream_key in self.stumbles_over:
            raise ValueError(message.stream_key)
        return self.decisions.get(message.stream_key, SendDecision(Verdict.SEND))

    async def enqueue(self, *messages: OutboxMessage) -> None:
        """Write messages in one transaction."""
        async with self.pool.connection() as conn:
            await enqueue_all(conn, messages)

    async def run(self, *, later_s: float = 0.0) -> None:
        """Turn the clock, and deliver until nothing is due."""
        self.hands.now_s += later_s
        engine = self.engine()
        while await engine.deliver_due():
            await engine.drain(PATIENCE_S)

    async def listed(self, **which: Any) -> Sequence[DeliverySummary]:
        """Messages, the oldest first."""
        async with self.pool.connection() as conn:
            return (await list_deliveries(conn, "default", DeliveryFilter(**which))).items[::-1]

    async def one(self, message: OutboxMessage) -> DeliveryDetail:
        """One message in full."""
        async with self.pool.connection() as conn:
            found = await get_delivery(conn, "default", message.message_id)
        assert found is not None
        return found

    async def rows(self, query: str, *values: object) -> list[DictRow]:
        """What the database says."""
        async with self.pool.connection() as conn:
            return await (await conn.execute(query, values)).fetchall()  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def open_rig(
    database_url: str, *endpoints: EndpointSettings, resolve: Resolve = resolve_host
) -> AsyncGenerator[Rig]:
    """A rig with a channel for each endpoint, and rows of another shape than the engine's own."""
    hands = Hands()
    adapters = [WebhookAdapter(each, resolve=resolve, real_now_s=hands.read) for each in endpoints]
    channels = [
        Channel(settings, adapter, Breaker(settings.breaker))
        for settings, adapter in zip(endpoints, adapters, strict=True)
    ]
    pool = AsyncConnectionPool(
        database_url,
        connection_class=AsyncConnection[DictRow],
        kwargs={"row_factory": dict_row},
        min_size=1,
        max_size=4,
        open=False,
    )
    async with pool:
        yield Rig(pool, channels, hands)
        for adapter in adapters:
            await adapter.close()


@asynccontextmanager
async def open_rig_of(database_url: str, adapter: CrmAdapter) -> AsyncGenerator[Rig]:
    """A rig whose one channel is an adapter of the test's own; nothing is sent to anybody."""
    settings = endpoint("http://127.0.0.1:9/never-called")
    async with open_rig(database_url) as rig:
        rig.channels.append(Channel(settings, adapter, Breaker(settings.breaker)))
        yield rig
