"""Messages as CloudEvents 1.0, and the leave that a receiver gives for them.

Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md (structured mode),
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md (delivery, and protection against abuse).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from crm_sync.adapters.contract import OWN_LIMIT, Delivery, Outcome, Result
from crm_sync.adapters.http import Exchange, Request, unanswered
from crm_sync.adapters.rest.limits import Bucket, Limits

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
LEAVE_LASTS_S: Final = 86_400.0
_RATE_PER_MINUTE: Final = 120  # what careloop asks for
_RATE: Final = re.compile(r"[1-9][0-9]{0,8}")
_REFUSED: Final = "origin_not_allowed"

Send = Callable[[Request], Awaitable[Exchange]]


class _Message(msgspec.Struct):
    type: str
    timestamp: str
    data: msgspec.Raw


def as_event(delivery: Delivery, source: str) -> bytes:
    """The event of a message: its type and id are the message's, its data the message's very bytes."""
    told = msgspec.json.decode(delivery.body, type=_Message)
    event = {
        "specversion": "1.0",
        "id": delivery.message_id,
        "source": source,
        "type": told.type,
        "subject": delivery.key,
        "time": told.timestamp,
        "datacontenttype": "application/json",
        "data": told.data,
    }
    return msgspec.json.encode(event)


@dataclass(frozen=True, slots=True)
class _Leave:
    until_s: float
    bucket: Bucket | None  # None: as many as we like


class Handshake:
    """Asks a receiver, once a day and before the first event, whether it wants events from this origin."""

    def __init__(self, url: str, origin: str, now_s: Callable[[], float]) -> None:
        self._url = url
        self._origin = origin
        self._now_s = now_s
        self._asking = asyncio.Lock()
        self._leave: _Leave | None = None

    async def leave(self, send: Send, headers: Mapping[str, str]) -> Outcome | None:
        """None where an event may go now; else what came of asking."""
        async with self._asking:
            now_s = self._now_s()
            if self._leave is None or self._leave.until_s <= now_s:
                found = await self._ask(send, headers)
                if isinstance(found, Outcome):
                    return found
                self._leave = found
            bucket = self._leave.bucket
            if bucket is None:
                return None
            wait_s = bucket.wait_s(now_s)
            if wait_s > 0:
                return Outcome(Result.RATE_LIMITED, OWN_LIMIT, retry_after_s=wait_s)
            bucket.spend(now_s)
            return None

    async def _ask(self, send: Send, headers: Mapping[str, str]) -> _Leave | Outcome:
        asked = {**headers, "webhook-request-origin": self._origin, "webhook-request-rate": str(_RATE_PER_MINUTE)}
        exchange = await send(Request(self._url, asked, method="OPTIONS"))
        if exchange.status is None:
            outcome = unanswered(exchange)
            return Outcome(Result.RETRYABLE, outcome.code, f"OPTIONS: {outcome.detail}".rstrip(": "))
        if httpx.codes.is_server_error(exchange.status) or exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Outcome(Result.RETRYABLE, f"http_{exchange.status}", "OPTIONS", status=exchange.status)
        allowed = exchange.headers.get("webhook-allowed-origin", "").strip()
        if allowed not in {"*", self._origin}:  # whatever the status: it may answer OPTIONS and know nothing of events
            detail = f"it allows {allowed[:200] or 'nobody'}, not {self._origin}"
            return Outcome(Result.AUTH, _REFUSED, detail, status=exchange.status)
        now_s = self._now_s()
        return _Leave(now_s + LEAVE_LASTS_S, _bucket(exchange.headers.get("webhook-allowed-rate", "*").strip(), now_s))


def _bucket(rate: str, now_s: float) -> Bucket | None:
    """The rate that a receiver allows, in requests a minute; what cannot be read is the one that was asked for."""
    if rate == "*":
        return None
    per_minute = int(rate) if _RATE.fullmatch(rate) else _RATE_PER_MINUTE
    return Bucket(Limits(requests=per_minute, per=60.0), now_s)
