"""Standard Webhooks to any receiver: signed, deduplicated there by ``webhook-id``, so that every retry is safe.

With ``format = "cloudevents"`` the same messages go out as CloudEvents, signed in the same way.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import httpx
import msgspec

from crm_sync.adapters.cloudevents import CONTENT_TYPE, Handshake, as_event
from crm_sync.adapters.contract import Capabilities, Delivery, Health, Outcome, Result
from crm_sync.adapters.http import (
    Exchange,
    Request,
    open_client,
    parse_retry_after_s,
    read_token,
    redact,
    send,
    unanswered,
)
from crm_sync.guard import BlockedTarget, Resolve, resolve_host
from crm_sync.guarded_transport import check_target
from crm_sync.outbox import MAX_BODY_BYTES
from crm_sync.settings import EndpointSettings
from crm_sync.signing import parse_secret, sign
from devices.errors import ConfigError, Fault, Retryable

_BY_STATUS: Final[Mapping[int, Result]] = {
    400: Result.PERMANENT,
    401: Result.AUTH,
    403: Result.AUTH,
    408: Result.RETRYABLE,
    409: Result.CONFLICT,
    410: Result.GONE,
    411: Result.PERMANENT,
    412: Result.CONFLICT,
    413: Result.PERMANENT,
    414: Result.PERMANENT,
    415: Result.PERMANENT,
    422: Result.PERMANENT,
    425: Result.RETRYABLE,
    429: Result.RATE_LIMITED,
    431: Result.PERMANENT,
    503: Result.RETRYABLE,
}
_EXTERNAL_ID: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")


class _Answer(msgspec.Struct):
    """What a receiver may say in JSON: what it calls the case, in either word; both are optional."""

    external_id: str | int | None = None
    id: str | int | None = None


_DECODER: Final = msgspec.json.Decoder(_Answer)


class WebhookAdapter:
    """One receiver; see docs/webhooks.md for what it implements."""

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        resolve: Resolve = resolve_host,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._secrets = read_secrets(settings)
        self._keys = [parse_secret(secret) for secret in self._secrets]
        self._resolve = resolve
        self._real_now_s = real_now_s
        self._client = open_client(settings, resolve)
        self._headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"careloop/{version('careloop')}",
        }
        self._handshake: Handshake | None = None
        if settings.format == "cloudevents":
            self._handshake = Handshake(settings.url, settings.origin, real_now_s)
            self._headers |= {"content-type": CONTENT_TYPE, "origin": settings.origin}
        token = read_token(settings)
        if token:
            self._secrets.append(token)
            self._headers["authorization"] = f"Bearer {token}"

    @property
    def capabilities(self) -> Capabilities:
        """A receiver cannot be asked what it has; it recognises a repeated id."""
        return Capabilities(max_in_flight=self._settings.max_in_flight)

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Sign and send the message's bytes as they are."""
        body = delivery.body if self._handshake is None else as_event(delivery, self._settings.source)
        if len(body) >= MAX_BODY_BYTES:
            return Outcome(Result.PERMANENT, "oversized", f"{len(body)} bytes")
        now_s = self._real_now_s()
        keys = self._keys if self._settings.is_previous_secret_good(now_s) else self._keys[:1]
        headers = self._headers | sign(keys, delivery.message_id, int(now_s), body)
        try:
            refusal = None if self._handshake is None else await self._handshake.leave(self._send, self._headers)
            if refusal is not None:
                return refusal
            exchange = await self._send(Request(self._settings.url, headers, body))
        except BlockedTarget as error:
            return Outcome(Result.PERMANENT, error.reason, error.detail)
        except Retryable as error:
            return Outcome(Result.RETRYABLE, error.reason, error.detail)
        if exchange.status is None:
            return unanswered(exchange)
        return self._answered(exchange, exchange.status)

    async def _send(self, request: Request) -> Exchange:
        return await send(self._client, request, self._settings.timeout)

    def _answered(self, exchange: Exchange, status: int) -> Outcome:
        result, tries = classify_status(status, self._settings.refusal_tries)
        return Outcome(
            result,
            code=f"http_{status}",
            detail="redirects are not followed" if httpx.codes.is_redirect(status) else "",
            status=status,
            external_id=_external_id(exchange.body) if result is Result.OK else None,
            retry_after_s=parse_retry_after_s(exchange.headers.get("retry-after"), self._real_now_s()),
            tries=tries,
            answer=redact(exchange.body, self._secrets),
        )

    async def find_case(self, key: str) -> Sequence[str]:
        """Nothing: a receiver cannot be asked, which its capabilities say."""
        del key
        return ()

    async def health(self) -> Health:
        """Resolve and judge the target; nothing is sent."""
        try:
            addresses = await check_target(self._settings, self._resolve)
        except (BlockedTarget, Retryable) as error:
            return Health(ok=False, detail=str(error))
        return Health(ok=True, detail=f"may be reached at {addresses}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def read_secrets(settings: EndpointSettings) -> list[str]:
    """The secrets that sign, the present one first. Raises ConfigError."""
    present = settings.secret.get_secret_value()
    if settings.secret_file:
        setting = f"crm.endpoints.{settings.name}.secret_file"
        try:
            present = Path(settings.secret_file).expanduser().read_text("utf-8").strip()
            parse_secret(present)
        except OSError as error:
            fault = Fault(setting, settings.secret_file, f"a file that can be read ({error.strerror})")
            raise ConfigError([fault]) from error
        except ValueError as error:  # UnicodeDecodeError is one
            raise ConfigError([Fault(setting, "a file that holds none", str(error))]) from None
    return [secret for secret in (present, settings.previous_secret.get_secret_value()) if secret]


def callback_keys(settings: EndpointSettings, now_s: float) -> list[bytes]:
    """The keys that callbacks may be signed with: the callbacks' own, or else the endpoint's. Raises ConfigError."""
    own = settings.callback_secret.get_secret_value()
    secrets = [own] if own else read_secrets(settings)
    return [parse_secret(secret) for secret in (secrets if settings.is_previous_secret_good(now_s) else secrets[:1])]


def classify_status(status: int, refusal_tries: int) -> tuple[Result, int | None]:
    """What a status means, and after how many attempts it is believed where that is not the engine's to decide.

    A status about this very message ends it at once; one about the address (a redirect, 404) may be a deployment that
    is not finished, and is believed only when it stays.
    """
    if httpx.codes.is_success(status):
        return Result.OK, None
    known = _BY_STATUS.get(status)
    if known is not None:
        return known, None
    if httpx.codes.is_redirect(status) or httpx.codes.is_client_error(status):
        return Result.PERMANENT, refusal_tries
    return Result.UNKNOWN, None


def _external_id(body: bytes) -> str | None:
    try:
        answer = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    found = answer.id if answer.external_id is None else answer.external_id
    text = "" if found is None else str(found)
    return text if _EXTERNAL_ID.fullmatch(text) else None
