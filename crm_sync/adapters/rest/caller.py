"""Makes the calls of a helpdesk's file: as whom, how often, page after page."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from importlib.metadata import version
from typing import Final, cast
from urllib.parse import urlencode, urlsplit

import msgspec

from crm_sync.adapters.contract import OWN_LIMIT, Outcome, Result
from crm_sync.adapters.http import MAX_ANSWER_BYTES, Exchange, Request, open_client, redact, send, unanswered
from crm_sync.adapters.rest.auth import Authority, read_credentials
from crm_sync.adapters.rest.classify import CallFailed, Judge, in_doubt
from crm_sync.adapters.rest.limits import Bucket
from crm_sync.adapters.rest.spec import Call, Listing, Spec, Write
from crm_sync.adapters.rest.template import Json, UnknownWord, Values, as_text, fill, fill_path, look_up
from crm_sync.guard import BlockedTarget, Resolve, resolve_host
from crm_sync.settings import EndpointSettings
from devices.errors import Retryable

MAX_LISTING_BYTES: Final = 4_194_304


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
        self._base = settings.url.rstrip("/")
        self._real_now_s = real_now_s
        self._client = open_client(settings, resolve)
        credentials = read_credentials(settings, spec.auth)
        granter = spec.auth.grant_url or self._base + spec.auth.grant_path
        self._authority = Authority(spec.auth, credentials, granter, real_now_s=real_now_s)
        self._bucket = Bucket(spec.limits, real_now_s())
        self._judge = Judge(spec.errors, settings.refusal_tries)

    def admit(self, *, can_wait: bool = False) -> None:
        """Begin something, which then makes all its calls. Raises CallFailed where it must wait for its turn."""
        wait_s = self._bucket.wait_s(self._real_now_s(), can_wait=can_wait)
        if wait_s > 0:
            raise CallFailed(Outcome(Result.RATE_LIMITED, OWN_LIMIT, retry_after_s=wait_s))

    async def call(self, name: str, call: Call, values: Values) -> Json:
        """Make one call; the answer's JSON, None for an empty one. Raises CallFailed."""
        try:
            path = fill_path(call.path, values)
            query = {key: as_text(fill(text, values)) for key, text in call.query.items()}
        except UnknownWord as error:
            raise _unsayable(name, error) from None
        return await self._ask(name, call, values, _joined(path, query))

    async def items(self, name: str, call: Listing, values: Values) -> list[Json]:
        """Every item of a listing, over as many pages as it has. Raises CallFailed."""
        page, cursor, path = call.page_from, None, ""
        gathered: list[Json] = []
        seen: set[bytes] = set()
        for _ in range(call.most_pages):
            facts = replace(values, facts={**values.facts, "page": page, "cursor": cursor})
            answer = await (self._ask(name, call, facts, path) if path else self.call(name, call, facts))
            items = look_up(call.items, answer)
            found = items if isinstance(items, list) else []
            mark = msgspec.json.encode(found)
            if not found or mark in seen:  # a CRM that ignores the page number brings the first one for ever
                return gathered
            seen.add(mark)
            gathered += found
            path = self._next_page(name, call, answer)
            cursor = look_up(call.cursor, answer) if call.cursor else None
            if page is not None:
                page += 1
            elif not path and cursor is None:
                return gathered
        detail = f"{name}: there are more than {call.most_pages} pages, and what is sought may be on the next"
        raise CallFailed(Outcome(Result.PERMANENT, "too_many_pages", detail))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _next_page(self, name: str, call: Listing, answer: Json) -> str:
        """The path of the next page; nothing where there is none. Raises CallFailed."""
        following = look_up(call.next, answer) if call.next else None
        if not isinstance(following, str) or not following:
            return ""
        path = _inside(following, self._base)
        if not path:
            detail = f"{name}: the next page is not below the endpoint's url; it is at {following[:200]}"
            raise CallFailed(Outcome(Result.PERMANENT, "foreign_page", detail))
        return path

    async def _ask(self, name: str, call: Call, values: Values, path: str) -> Json:
        try:
            headers = {
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": f"careloop/{version('careloop')}",
                **{key.lower(): text for key, text in self._spec.headers.items()},
                **{key.lower(): as_text(fill(text, values)) for key, text in call.headers.items()},
            }
            body = _body(call, values, headers)
        except UnknownWord as error:
            raise _unsayable(name, error) from None
        if isinstance(call, Write) and call.idempotency_header:
            headers[call.idempotency_header.lower()] = f"{as_text(values.facts['message_id'])}-{name}"
        request = Request(self._base + path, headers, body, call.method)
        return await self._exchange(name, call, request)

    async def _exchange(self, name: str, call: Call, request: Request) -> Json:
        """Send a request as ourselves, a second time with a new token where the first was refused."""
        for is_last in (not self._authority.is_renewable, True):
            admission = await self._authority.headers(self._send)
            exchange = await self._send(replace(request, headers={**request.headers, **admission}), most_of(call))
            if exchange.status == HTTPStatus.UNAUTHORIZED and not is_last:
                self._authority.forget(admission)
                continue
            return self._judged(name, call, exchange)
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
            secrets = self._authority.secrets
            answer = redact(exchange.body, secrets)
            detail = redact(failed.outcome.detail.encode(), secrets)
            raise CallFailed(replace(failed.outcome, answer=answer, detail=detail)) from None

    async def _send(self, request: Request, most_bytes: int = MAX_ANSWER_BYTES) -> Exchange:
        self._bucket.spend(self._real_now_s())
        try:
            return await send(self._client, request, self._settings.timeout, most_bytes)
        except BlockedTarget as error:
            raise CallFailed(Outcome(Result.PERMANENT, error.reason, error.detail)) from None
        except Retryable as error:
            raise CallFailed(Outcome(Result.RETRYABLE, error.reason, error.detail)) from None


def most_of(call: Call) -> int:
    """How much of an answer is read: of what was only asked for, whole pages."""
    return MAX_LISTING_BYTES if call.only_asks else MAX_ANSWER_BYTES


def _body(call: Call, values: Values, headers: dict[str, str]) -> bytes:
    """The request's bytes; notes in `headers` what they are. Raises UnknownWord."""
    if call.body is None:
        return b""
    filled = fill(cast("Json", call.body), values)
    if call.omit_null:
        filled = _without_nulls(filled)
    if call.format == "form":
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
        fields = cast("Mapping[str, Json]", filled)  # its file was refused if it is none
        return urlencode({key: as_text(value) for key, value in fields.items()}).encode()
    headers.setdefault("content-type", "application/json")
    return msgspec.json.encode(filled)


def _without_nulls(filled: Json) -> Json:
    if isinstance(filled, Mapping):
        return {key: _without_nulls(value) for key, value in filled.items() if value is not None}
    return filled


def _joined(path: str, query: Mapping[str, str]) -> str:
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(query)}"


def _inside(following: str, base: str) -> str:
    """The path of a next page below the endpoint's URL; nothing where it leads elsewhere."""
    if not following:
        return ""
    if following.startswith(f"{base}/"):
        return following.removeprefix(base)
    there = urlsplit(following)
    if there.netloc or not following.startswith("/"):
        return ""
    prefix = urlsplit(base).path
    return following.removeprefix(prefix) if prefix else following


def _unsayable(name: str, error: UnknownWord) -> CallFailed:
    return CallFailed(Outcome(Result.PERMANENT, "unmapped_word", f"{name}: {error}"))
