"""The guard on real connections: the judged address is connected to, under the name's own certificate."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from crm_sync.adapters.contract import Delivery, Outcome, Result
from crm_sync.adapters.webhook import WebhookAdapter
from crm_sync.guard import Resolve
from crm_sync.settings import EndpointSettings, MessageType
from tests.services.delivery_rig import SECRET
from tests.services.receiver import Receiver, reply
from tests.services.streams import serving

DELIVERY = Delivery("case_a", "msg_1", MessageType.CASE_OPENED, b'{"data": {}}', None, 1, uncertain=False)


def resolve_to(*answers: Sequence[str]) -> Resolve:
    """A name server that says something else each time, as one does that rebinds."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def deliver(url: str, resolve: Resolve, **more: object) -> Outcome:
    values = {"name": "crm", "url": url, "secret": SECRET, "ports": [httpx.URL(url).port], "timeout": 5, **more}
    adapter = WebhookAdapter(EndpointSettings.model_validate(values), resolve=resolve)
    try:
        return await adapter.deliver(DELIVERY)
    finally:
        await adapter.close()


INSIDE = {"allow_http": True, "allow_networks": ["127.0.0.0/8"]}


async def test_the_judged_address_is_connected_to_and_the_host_header_keeps_the_name() -> None:
    async with Receiver() as receiver:
        outcome = await deliver(f"http://crm.invalid:{receiver.port}/hook", resolve_to(["127.0.0.1"]), **INSIDE)
        assert outcome.result is Result.OK
        assert receiver.heard[0].headers["host"] == f"crm.invalid:{receiver.port}"


async def test_a_name_that_rebinds_between_look_and_connection_gains_nothing() -> None:
    async with Receiver() as receiver:
        resolve = resolve_to(["127.9.9.9"], ["127.0.0.1"])  # nobody listens on what is judged
        settings = {"allow_http": True, "allow_networks": ["127.9.9.9/32"]}
        outcome = await deliver(f"http://crm.invalid:{receiver.port}/hook", resolve, **settings)
        assert outcome.result is Result.RETRYABLE
        assert receiver.heard == []


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with Receiver() as receiver:
        addresses = ["127.9.9.9", "127.0.0.1"]  # nobody listens on the first
        outcome = await deliver(f"http://crm.invalid:{receiver.port}/hook", resolve_to(addresses), **INSIDE)
        assert outcome.result is Result.OK


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await deliver(f"http://crm.invalid:{receiver.port}/hook", resolve_to(["127.0.0.1"]), **INSIDE)
        assert (len(proxy.heard), len(receiver.heard)) == (0, 1)


async def test_cookies_are_not_kept() -> None:
    async with Receiver() as receiver:
        receiver.usually = reply(200, set_cookie="session=1")
        settings = EndpointSettings.model_validate(
            {"name": "crm", "url": receiver.url, "secret": SECRET, "ports": [receiver.port], **INSIDE}
        )
        adapter = WebhookAdapter(settings)
        await adapter.deliver(DELIVERY)
        await adapter.deliver(DELIVERY)
        await adapter.close()
        assert "cookie" not in receiver.heard[1].headers


async def test_health_resolves_and_sends_nothing() -> None:
    async with Receiver() as receiver:
        values = {"name": "crm", "url": receiver.url, "secret": SECRET, "ports": [receiver.port], **INSIDE}
        adapter = WebhookAdapter(EndpointSettings.model_validate(values))
        health = await adapter.health()
        await adapter.close()
        assert (health.ok, health.detail) == (True, "may be reached at 127.0.0.1")
        assert receiver.heard == []


@asynccontextmanager
async def tls_server(authority: trustme.CA, name: str, seen: list[str | None]) -> AsyncGenerator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]

    def note_name(_: ssl.SSLObject, asked: str | None, __: ssl.SSLContext) -> None:
        seen.append(asked)

    context.sni_callback = note_name  # pyright: ignore[reportAttributeAccessIssue]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async with serving(answer, context) as port:
        yield port


@pytest.mark.parametrize(
    ("certified", "result", "code"),
    [("crm.example", Result.OK, "http_200"), ("other.example", Result.RETRYABLE, "tls")],
)
async def test_the_certificate_is_checked_against_the_name(
    tmp_path: Path, certified: str, result: Result, code: str
) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    seen: list[str | None] = []
    async with tls_server(authority, certified, seen) as port:
        outcome = await deliver(
            f"https://crm.example:{port}/hook",
            resolve_to(["127.0.0.1"]),
            allow_networks=["127.0.0.0/8"],
            ca_file=str(ca_file),
        )
    assert (outcome.result, outcome.code) == (result, code)
    assert set(seen) == {"crm.example"}


async def test_an_authority_nobody_named_is_not_trusted() -> None:
    async with tls_server(trustme.CA(), "crm.example", []) as port:
        outcome = await deliver(
            f"https://crm.example:{port}/hook", resolve_to(["127.0.0.1"]), allow_networks=["127.0.0.0/8"]
        )
    assert (outcome.result, outcome.code) == (Result.RETRYABLE, "tls")
