"""Makes the calls of a helpdesk's file: as whom, how often, page after page."""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from crm_sync.adapters.contract import DEFAULT_PAUSE_S, OWN_LIMIT, Outcome, Result
from crm_sync.adapters.http import MAX_ANSWER_BYTES, Exchange, Request, open_client, redact, send, unanswered
from crm_sync.adapters.rest.account import secrets_of
from crm_sync.adapters.rest.auth import Authority, Credentials, read_credentials
from crm_sync.adapters.rest.calls import Call, Listing, Write
from crm_sync.adapters.rest.classify import CallFailed, Judge, in_doubt
from crm_sync.adapters.rest.limits import Bucket, Budget
from crm_sync.adapters.rest.pages import Place, read_some
from crm_sync.adapters.rest.request import Origin
from crm_sync.adapters.rest.spec import Spec
from crm_sync.adapters.rest.template import Json, UnknownWord, Values, as_text, look_up
from crm_sync.guard import BlockedTarget, Resolve, resolve_host
from crm_sync.settings import EndpointSettings
from devices.errors import Retryable

_SECRET: Final = re.compile(r"(?i)token|key|secret|auth|session|password")  # a header's name that says so

_ACCOUNT_DIGITS: Final = 8
"""Enough to tell accounts apart, and too few to try out passwords by: too many others would fit."""

MOST_BYTES: Final = 4_194_304
"""How much of an answer is read: whole pages, and records with all that was ever said in them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A success."""

    body: Json  # None for an empty one
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    url: str = ""  # where it came from


class Caller:
    """One helpdesk's calls."""

    def __init__(
        self,
        settings: EndpointSettings,
        spec: Spec,
        *,
        resolve: Resolve = resolve_host,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        """Raises ConfigError where the endpoint's credentials are not there."""
        self._settings = settings
        self._spec = spec
        self._origin = Origin(settings.url.rstrip("/"), spec.headers)
        self._real_now_s = real_now_s
        self._client = open_client(settings, resolve)
        credentials = read_credentials(settings, spec.auth)
        self._authority = Authority(spec.auth, credentials, self._origin, real_now_s=real_now_s)
        self.budget = Budget(Bucket(spec.limits, real_now_s()))
        self.account: Final = _account(self._origin.url, spec, credentials)
        headers = [spec.headers, *(call.headers for call in spec.calls().values())]
        named = [text for each in headers for name, text in each.items() if _SECRET.search(name)]
        fixed = [text for text in named if text and "{" not in text]  # what has places is no secret of the file's
        self._secrets: Final = [*fixed, *secrets_of({**spec.account, **settings.account})]
        self._judge = Judge(spec.errors, settings.refusal_tries, spec.limits.wait_header)

    def join(self, budget: Budget) -> None:
        """Count with others of the same account."""
        budget.bucket.tighten(self._spec.limits)
        self.budget = budget

    async def admit(self, *, can_wait: bool = False) -> None:
        """Begin something, which then makes all its calls. Raises CallFailed where it must wait for its turn."""
        wait_s = await self.budget.wait_s(self._real_now_s(), can_wait=can_wait)
        if wait_s > 0:
            raise CallFailed(Outcome(Result.RATE_LIMITED, OWN_LIMIT, retry_after_s=wait_s))

    async def call(self, name: str, call: Call, values: Values, path: str = "") -> Reply:
        """Make one call; `path` in place of its own. Raises CallFailed."""
        try:
            request = self._origin.request(call, values, path)
        except UnknownWord as error:
            raise CallFailed(Outcome(Result.PERMANENT, "unmapped_word", f"{name}: {error}")) from None
        if isinstance(call, Write) and call.idempotency_header:
            once = f"{as_text(values.facts['message_id'])}-{name}"
            request = replace(request, headers={**request.headers, call.idempotency_header.lower(): once})
        return await self._exchange(name, call, request)

    async def items(self, name: str, call: Listing, values: Values) -> list[Json]:
        """Every item of a listing, over as many pages as it has. Raises CallFailed."""
        gathered, place = await self.some(name, call, values)
        if place is None or not place.last:  # an empty page at the end: of those that lead on for ever
            return gathered
        detail = f"{name}: there are more than {call.most_pages} pages, and what is sought may be on the next"
        raise CallFailed(Outcome(Result.PERMANENT, "too_many_pages", detail))

    async def some(
        self, name: str, call: Listing, values: Values, place: Place | None = None
    ) -> tuple[list[Json], Place | None]:
        """The next items of a listing, and where it goes on; None for its end. Raises CallFailed."""
        return await read_some(self, name, call, values, place)

    async def turn(self, name: str, call: Listing, values: Values, path: str) -> tuple[Sequence[Json], str, Json]:
        """One page: its items, the path of the next one and its cursor. Raises CallFailed."""
        reply = await self.call(name, call, values, path)
        items = look_up(call.items, reply.body)
        cursor = look_up(call.cursor, reply.body) if call.cursor else None
        return items if isinstance(items, list) else [], self._next_page(name, call, reply), cursor

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _next_page(self, name: str, call: Listing, reply: Reply) -> str:
        """The path of the next page; nothing where there is none. Raises CallFailed."""
        following = look_up(call.next, reply.body) if call.next else _linked(reply) if call.next_link else None
        if not isinstance(following, str) or not following:
            return ""
        path = _inside(following, self._origin.url, reply.url)
        if not path:
            shown = self._redacted(following.encode())[:200]  # helpdesks repeat what the address bore
            detail = f"{name}: the next page is not below the endpoint's url; it is at {shown}"
            raise CallFailed(Outcome(Result.PERMANENT, "foreign_page", detail))
        return path

    async def _exchange(self, name: str, call: Call, request: Request) -> Reply:
        """Send a request as ourselves, a second time with a new token where the first was refused."""
        for is_last in (not self._authority.is_renewable, True):
            admission = await self._authority.headers(self._send)
            exchange = await self._send(self._authority.admit(request, admission), MOST_BYTES)
            if exchange.status == HTTPStatus.UNAUTHORIZED and not is_last:
                self._authority.forget(admission)
                continue
            try:
                return Reply(self._judged(name, call, exchange), exchange.headers, request.url)
            except CallFailed as failed:
                await self._note_rest(failed.outcome)
                raise CallFailed(replace(failed.outcome, request=self._shown(request))) from None
        raise AssertionError  # the second pass is the last

    def _judged(self, name: str, call: Call, exchange: Exchange) -> Json:
        if exchange.status is None:
            outcome = unanswered(exchange)
            if outcome.result is Result.UNKNOWN:
                outcome = replace(outcome, result=in_doubt(call))
            raise CallFailed(replace(outcome, detail=f"{name}: {outcome.detail}".rstrip(": ")))
        try:
            return self._judge.read(name, call, exchange, self._real_now_s())
        except CallFailed as failed:
            answer, detail = self._redacted(exchange.body), self._redacted(failed.outcome.detail.encode())
            raise CallFailed(replace(failed.outcome, answer=answer, detail=detail)) from None

    async def _note_rest(self, outcome: Outcome) -> None:
        """Let the account's other endpoints hear of it that there were too many requests."""
        if outcome.result is Result.RATE_LIMITED:
            wait_s = DEFAULT_PAUSE_S if outcome.retry_after_s is None else outcome.retry_after_s
            now_s = self._real_now_s()
            await self.budget.rest(now_s, now_s + wait_s)

    def _shown(self, request: Request) -> str:
        """A request as people may see it, without what admits it."""
        parts = urlsplit(request.url)
        line = f"{request.method} {parts.path}{'?' if parts.query else ''}{parts.query}"
        return self._redacted(line.encode() + (b"\n" + request.body if request.body else b""))

    def _redacted(self, told: bytes) -> str:
        """What was answered, without what shows who careloop is."""
        return redact(told, [*self._authority.secrets, *self._secrets])

    async def _send(self, request: Request, most_bytes: int = MAX_ANSWER_BYTES) -> Exchange:
        await self.budget.spend(self._real_now_s())
        try:
            return await send(self._client, request, self._settings.timeout, most_bytes)
        except BlockedTarget as error:
            raise CallFailed(Outcome(Result.PERMANENT, error.reason, error.detail)) from None
        except Retryable as error:
            raise CallFailed(Outcome(Result.RETRYABLE, error.reason, error.detail)) from None


def _account(url: str, spec: Spec, credentials: Credentials) -> str:
    """Which account's limits an endpoint uses up; nothing in it tells the token."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if spec.limits.of == "origin":
        return origin
    shown = f"{credentials.user}\x00{credentials.token}".encode()
    return f"{origin}#{hashlib.sha256(shown).hexdigest()[:_ACCOUNT_DIGITS]}"


def _linked(reply: Reply) -> str:
    """What the header Link (RFC 8288) calls the next page."""
    links = httpx.Response(HTTPStatus.OK, headers={"link": reply.headers.get("link", "")}).links
    return next((link.get("url", "") for names, link in links.items() if "next" in str(names).lower().split()), "")


def _inside(following: str, base: str, at: str) -> str:
    """The path of a next page below the endpoint's URL; nothing where it leads elsewhere. `at` is the present one.

    Behind a proxy helpdesks take themselves to be at http, or at another port: only the path is taken from them.
    """
    own, there = urlsplit(base), urlsplit(urljoin(at, following))
    if there.hostname != own.hostname or not there.path.startswith(f"{own.path}/"):
        return ""
    path = there.path.removeprefix(own.path)
    return f"{path}?{there.query}" if there.query else path
