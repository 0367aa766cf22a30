"""What adapters that speak HTTP share: one guarded exchange, read with limits, and what to make of its headers."""

import asyncio
import re
import ssl
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Final

import httpx

from crm_sync.adapters.contract import Outcome, Result
from crm_sync.guard import Resolve
from crm_sync.guarded_transport import GuardedTransport
from crm_sync.owner_link import without_links
from crm_sync.settings import EndpointSettings
from devices.errors import ConfigError, Fault

MAX_ANSWER_BYTES: Final = 65_536
"""How much of an answer is read; the connection is closed on the rest."""

MAX_KEPT_BYTES: Final = 4_000
MAX_RETRY_AFTER_S: Final = 86_400.0

_PACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})
_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS  # tells by the first bytes
_SECONDS: Final = re.compile(r"[0-9]{1,18}")
_SECRETS: Final = re.compile(
    r"whsec_[A-Za-z0-9+/=_-]+"
    r"|v1a?,[A-Za-z0-9+/=]{16,}"
    r"|(?i:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"
    r"|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
)


@dataclass(slots=True)
class Exchange:
    """One request and as much of its answer as came."""

    sent: bool = False  # the request, or a part of it, left
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    failure: Exception | None = None  # what ended it before the status came


def open_client(settings: EndpointSettings, resolve: Resolve) -> httpx.AsyncClient:
    """A client that reaches only what the endpoint may be: no proxies of the environment, no redirects, no cookies.

    Raises ConfigError.
    """
    client = httpx.AsyncClient(
        transport=GuardedTransport(settings.allowance, resolve, _tls_context(settings)),
        timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
        follow_redirects=False,
        trust_env=False,
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def _tls_context(settings: EndpointSettings) -> ssl.SSLContext | None:
    if not settings.ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        setting = f"crm.endpoints.{settings.name}.ca_file"
        raise ConfigError([Fault(setting, settings.ca_file, f"a PEM file that can be read ({error})")]) from error


def read_token(settings: EndpointSettings) -> str:
    """The token, password or key of an endpoint; nothing where it has none. Raises ConfigError."""
    if not settings.token_file:
        return settings.token.get_secret_value()
    try:
        return Path(settings.token_file).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        setting = f"crm.endpoints.{settings.name}.token_file"
        fault = Fault(setting, settings.token_file, f"a text file that can be read ({error})")
        raise ConfigError([fault]) from error


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    method: str = "POST"


async def send(
    client: httpx.AsyncClient, request: Request, timeout_s: float, most_bytes: int = MAX_ANSWER_BYTES
) -> Exchange:
    """Send once and read what comes within `timeout_s`. Raises what the guard raises; the rest is in the exchange."""
    exchange = Exchange()

    async def watch(event: str, _: object) -> None:
        if event.endswith(".send_request_headers.started"):
            exchange.sent = True

    try:
        async with (
            asyncio.timeout(timeout_s),
            client.stream(
                request.method,
                request.url,
                headers=request.headers,
                content=request.body,
                extensions={"trace": watch},
            ) as response,
        ):
            exchange.headers = response.headers
            exchange.status = response.status_code
            async for part in response.aiter_raw():
                exchange.body += part
                if len(exchange.body) >= most_bytes:
                    break
    except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
        if exchange.status is None:  # else the answer's beginning says enough
            exchange.failure = error
    if exchange.headers.get("content-encoding", "").strip().lower() in _PACKED:  # though nobody asked for it
        exchange.body = _unpacked(exchange.body, most_bytes)
    return exchange


def _unpacked(body: bytes, most_bytes: int) -> bytes:
    """What was packed, no more of it than would have been read; the body itself where it is not."""
    try:
        return zlib.decompressobj(_ZLIB_OR_GZIP).decompress(body, most_bytes)
    except zlib.error:
        return body


def unanswered(exchange: Exchange) -> Outcome:
    """What it means that no status came: what was never sent is not there, what was sent may be."""
    result = Result.UNKNOWN if exchange.sent else Result.RETRYABLE
    failure = exchange.failure
    if isinstance(failure, (TimeoutError, httpx.TimeoutException)):
        return Outcome(result, "timeout" if exchange.sent else "connect_timeout")
    if _is_caused_by_tls(failure):
        return Outcome(result, "tls", detail=str(failure)[:500])
    code = "connection_lost" if exchange.sent else "connect_failed"
    return Outcome(result, code, detail=str(failure)[:500])


def _is_caused_by_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def parse_retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds from ``Retry-After``, as a number or an HTTP date, at most a day; None where it says nothing usable."""
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value)
        delay_s = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(delay_s, MAX_RETRY_AFTER_S) if delay_s >= 0 else None


def redact(answer: bytes, secrets: Sequence[str]) -> str:
    """The beginning of an answer as text without secrets, signatures, tokens, owners' links, e-mail addresses."""
    text = answer[:MAX_ANSWER_BYTES].decode("utf-8", "replace").replace("\x00", "")
    for secret in secrets:
        text = text.replace(secret, "…")
    text = without_links(_SECRETS.sub("…", text))
    return text.encode()[:MAX_KEPT_BYTES].decode("utf-8", "ignore")
