"""Each adapter beside the CRM that it was made for: what the law book of adapters runs over."""

import base64
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.types import Receive, Scope, Send

from crm_sync.adapters import load_adapters, open_inbound
from crm_sync.adapters.contract import CrmAdapter
from crm_sync.callbacks import CallbackAnswer, receive
from crm_sync.delivery.breaker import Breaker
from crm_sync.delivery.channels import Channel
from crm_sync.outbox import OutboxMessage
from crm_sync.settings import EndpointSettings, MessageType
from simulators.crm.server import AppServer
from simulators.crm.vendors import VENDORS
from simulators.crm.vendors.desk import Ticket, Vendor
from simulators.crm.vendors.hubspot import CALLBACK_URL
from simulators.crm.vendors.salesforce import Salesforce
from simulators.crm.vendors.sandbox import VendorSandbox
from tests.services.case_world import CaseWorld, notice, open_world
from tests.services.delivery_rig import SECRET, Rig, message, open_rig

EXAMPLE = Path(__file__).parents[2] / "docs" / "crm" / "example-helpdesk.toml"
TOKEN = "t0ken-of-the-account"
HOOK_KEY = "whsec_" + base64.b64encode(b"the key of hooks, both sides").decode()
CASE: dict[str, Any] = {
    "title": "Coffee machine cm-1: boiler",
    "brief": "The boiler is too hot.",
    "severity": "major",
    "state": "open",
    "change": "opened",
    "team": "service",
    "problem": "boiler",
    "device_id": "cm-1",
    "asset": {"asset_id": "a-1", "serial": "SN-1", "model": "coffee-machine"},
    "owner_ref": "owner-1",
    "alarms": [{"explanation": {"text": "131 °C"}}],
}


@dataclass(frozen=True, slots=True)
class Party:
    """An adapter, and its CRM."""

    name: str
    adapter: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pause_s: float = 60.0  # how long its sign of too many requests keeps us away
    keeps_one: bool = True  # whether the CRM itself hinders a second record under one key
    grants: bool = False  # whether tokens are granted for a while

    @property
    def reads(self) -> bool:
        """Whether the CRM can be asked."""
        return self.adapter != "webhook"


PARTIES = (
    Party("standard", "webhook", {"secret": SECRET, "callback_secret": HOOK_KEY}, pause_s=20),
    Party("example", "rest", {"spec_file": str(EXAMPLE)}, keeps_one=False),
    Party("zendesk", "zendesk", pause_s=30),
    Party("hubspot", "hubspot", {"account": {"callback_url": CALLBACK_URL}}, pause_s=10),
    Party(
        "salesforce",
        "salesforce",
        {"user": "consumer-key", "account": {"subject": "careloop@example.com"}},
        pause_s=900,
        grants=True,
    ),
    Party("dynamics365", "dynamics365", {"user": "application-id"}, pause_s=35, grants=True),
)


@lru_cache
def private_key() -> RSAPrivateKey:
    """The key of this run."""
    return generate_private_key(65537, 2048)


def _pem() -> str:
    return private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def believes(assertion: str, now_s: float) -> bool:
    """What Salesforce checks of an assertion: signature, issuer, subject, audience, and that it ends within minutes."""
    text, _, signature = assertion.rpartition(".")
    try:
        private_key().public_key().verify(_decoded(signature), text.encode(), PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    header, claims = (json.loads(_decoded(part)) for part in text.split("."))
    told = {name: claims[name] for name in ("iss", "sub", "aud")}
    wanted = {"iss": "consumer-key", "sub": "careloop@example.com", "aud": "https://login.salesforce.com"}
    return header["alg"] == "RS256" and told == wanted and now_s < claims["exp"] <= now_s + 180


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def make_vendor(party: Party) -> Vendor:
    """The CRM."""
    if party.name == "salesforce":
        return Salesforce(TOKEN, believes)
    return VENDORS[party.name](SECRET if party.adapter == "webhook" else TOKEN)


def settings(party: Party, origin: str, **more: Any) -> EndpointSettings:
    """The endpoint of a party's CRM, which runs inside."""
    account = {**party.settings.get("account", {}), **more.pop("account", {})}
    if party.name == "dynamics365":
        account |= {"authority": origin, "tenant": "tenant-1"}
    values = {
        "name": "crm",
        "adapter": party.adapter,
        "url": f"{origin}/messages" if party.adapter == "webhook" else origin,
        "token": "" if party.adapter == "webhook" else _pem() if party.name == "salesforce" else TOKEN,
        "callback_token": "" if party.adapter == "webhook" else HOOK_KEY,
        "allow_http": True,
        "allow_networks": ("127.0.0.0/8",),
        "ports": (httpx.URL(origin).port,),
        **party.settings,
        "account": account,
        **more,
    }
    return EndpointSettings.model_validate(values)


@dataclass
class Affair:
    """A party at work: its CRM, and the engine that tells it of cases."""

    party: Party
    crm: VendorSandbox
    endpoint: EndpointSettings
    rig: Rig
    adapter: Any

    @property
    def vendor(self) -> Vendor:
        """The CRM itself."""
        return self.crm.vendor

    async def tell(self, *messages: OutboxMessage) -> None:
        """Write messages to the party's endpoint."""
        await self.rig.enqueue(*(replace(each, endpoint=self.endpoint.name) for each in messages))

    def records(self, key: str = "case_a") -> list[Ticket]:
        """What the CRM holds under a case."""
        return self.vendor.book.of_key(key)

    async def state(self, message: OutboxMessage) -> tuple[str, str | None]:
        """What became of a message, and why."""
        told = (await self.rig.one(message)).summary
        return told.state, told.reason

    async def run(self, *later_s: float) -> None:
        """Deliver what is due, each time somewhat later."""
        for each in later_s or (0.0,):
            await self.rig.run(later_s=each)

    async def run_until_settled(self, *messages: OutboxMessage) -> None:
        """Deliver until nothing is pending, over as many days as that takes."""
        await self.rig.run()
        for _ in range(30):
            if all([(await self.state(each))[0] != "pending" for each in messages]):
                return
            await self.rig.run(later_s=4000)
        raise AssertionError([await self.state(each) for each in messages])


class Stage:
    """One server for all parties, who play on it one after the other: starting one for each takes longer than a law."""

    def __init__(self) -> None:
        self.crm: VendorSandbox | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The one who plays answers."""
        assert self.crm is not None
        await self.crm(scope, receive, send)


class StageServer(AppServer):
    """The stage behind HTTP, and the database of all who play on it; each has an endpoint of its own name."""

    def __init__(self, database_url: str) -> None:
        self.stage = Stage()
        self.database_url = database_url
        self.affairs = itertools.count(1)
        super().__init__(self.stage)


@asynccontextmanager
async def open_affair(party: Party, server: StageServer, **more: Any) -> AsyncGenerator[Affair]:
    """A CRM, and the engine that tells it."""
    async with open_rig(server.database_url) as rig:
        crm = server.stage.crm = VendorSandbox(make_vendor(party), now_s=rig.hands.read)
        endpoint = settings(party, server.origin, name=f"crm-{next(server.affairs)}", **more)
        channel = open_channel(endpoint, rig.hands.read)
        rig.channels.append(channel)
        try:
            yield Affair(party, crm, endpoint, rig, channel.adapter)
        finally:
            await channel.adapter.close()


def open_channel(endpoint: EndpointSettings, now_s: Callable[[], float]) -> Channel:
    """An endpoint whose adapter goes by a clock of ours."""
    make = cast("Callable[..., CrmAdapter]", load_adapters()[endpoint.adapter])
    return Channel(endpoint, make(endpoint, real_now_s=now_s), Breaker(endpoint.breaker))


def opened(key: str = "case_a", **changed: Any) -> OutboxMessage:
    """The case begins."""
    return message(key, MessageType.CASE_OPENED, **{**CASE, **changed})


def updated(key: str = "case_a", **changed: Any) -> OutboxMessage:
    """It gets worse."""
    return message(
        key, MessageType.CASE_UPDATED, **{**CASE, "severity": "critical", "change": "severity_raised", **changed}
    )


def resolved(key: str = "case_a", **changed: Any) -> OutboxMessage:
    """It is over."""
    over = {"state": "resolved", "change": "recovered_in_telemetry", "brief": "It has cooled down."}
    return message(key, MessageType.CASE_RESOLVED, **{**CASE, **over, **changed})


def notes_of(tickets: Sequence[Ticket], told: OutboxMessage) -> list[str]:
    """The notes that a message left."""
    return [note.text for ticket in tickets for note in ticket.notes if told.message_id in note.text]


@dataclass
class Told:
    """A case of a gateway's that a party's CRM has heard of, and the way back from there."""

    world: CaseWorld
    vendor: Vendor
    endpoint: EndpointSettings
    now_s: float

    @property
    def record(self) -> Ticket:
        """The only one."""
        (record,) = self.vendor.book.tickets.values()
        return record

    async def state(self) -> str:
        """How the case stands."""
        (case,) = await self.world.cases()
        return str(case["state"])

    async def hook(self, record: Ticket, key: str = HOOK_KEY) -> CallbackAnswer:
        """The CRM tells of its record."""
        hook = self.vendor.hook([record], self.now_s, key)
        return await receive(
            self.world.pool,
            self.endpoint,
            hook.headers,
            hook.body,
            self.world.clock.at_s,
            inbound=open_inbound(self.endpoint, load_adapters()),
            query=hook.query,
            apply=self.world.apply,
            real_now_s=lambda: self.now_s,
        )


@asynccontextmanager
async def open_told(party: Party, server: StageServer, database_url: str, now_s: float) -> AsyncGenerator[Told]:
    """A case that is open on both sides."""
    crm = server.stage.crm = VendorSandbox(make_vendor(party), now_s=lambda: now_s)
    fallback = {"account": {"fallback_contact": "/contacts(owner-1)"}} if party.name == "dynamics365" else {}
    endpoint = settings(party, server.origin, **fallback)
    channel = open_channel(endpoint, lambda: now_s)
    try:
        async with open_world(database_url, endpoints=(endpoint,)) as world:
            await world.grant("crm")
            await world.happens(notice())
            await world.send_due(channel, lambda: now_s)
            yield Told(world, crm.vendor, endpoint, now_s)
    finally:
        await channel.adapter.close()
