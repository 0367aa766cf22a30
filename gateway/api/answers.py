"""Where owners answer: the signed link decides, not the bearer token. Looking at it answers nothing."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

import psycopg
from fastapi import Request
from fastapi.responses import HTMLResponse
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crm_sync.owner_link import OwnerLink, link_keys, read_token
from crm_sync.owners.answers import Answer, Answered, AnswerPolicy, is_open, take_answer
from crm_sync.settings import CrmSettings
from crm_sync.wording.catalogue import load_wordings
from devices.clock import Clock
from gateway.api.answer_pages import HEADERS, Words, answered_page, question_page, sorry_page, words_for
from gateway.api.router import Router
from gateway.people.audit import record_owner

MAX_FORM_BYTES: Final = 1024

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


def answers_router(pool: Pool, tenant_id: str, crm: CrmSettings, clock: Clock) -> Router:
    """``GET`` and ``POST /answers/{token}``. Raises ConfigError where the secret cannot be read."""
    router = Router(tags=["answers"])
    keys = link_keys(crm.voice)
    policy = AnswerPolicy(crm.voice, load_wordings(crm.language, crm.wording_folder).of())

    @router.api_route("/answers/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
    async def question(token: str, request: Request) -> HTMLResponse:
        """Three buttons. Mail programs and scanners open links before people do: nothing follows from that."""
        words = _words(request)
        link = _believe(token)
        if link is None:
            return _page(sorry_page(words, words.gone), HTTPStatus.NOT_FOUND)
        try:
            async with pool.connection() as conn:
                is_theirs = await is_open(conn, tenant_id, link)
        except (psycopg.Error, PoolTimeout, OSError):
            return _later(words)
        return _page(question_page(words)) if is_theirs else _page(sorry_page(words, words.gone), HTTPStatus.NOT_FOUND)

    @router.post("/answers/{token}", response_class=HTMLResponse)
    async def answer(token: str, request: Request) -> HTMLResponse:
        """One of the three buttons was pressed."""
        words = _words(request)
        link, said = _believe(token), await _read_answer(request)
        if link is not None and said is None:
            return _page(question_page(words), HTTPStatus.BAD_REQUEST)
        answered: Answered | None = None
        if link is not None and said is not None:
            try:
                async with pool.connection() as conn, conn.transaction():
                    answered = await take_answer(conn, policy, tenant_id, link, said, now_s=clock.now_s())
                    await _record(conn, tenant_id, link, answered)
            except (psycopg.Error, PoolTimeout, OSError):
                return _later(words)
        if answered is None:
            return _page(sorry_page(words, words.gone), HTTPStatus.NOT_FOUND)
        return _page(answered_page(words, answered.answer, is_new=answered.is_new))

    def _believe(token: str) -> OwnerLink | None:
        link = read_token(keys, tenant_id, token)
        return None if link is None or link.expires_at_s <= clock.now_s() else link

    return router


async def _record(conn: AsyncConnection[TupleRow], tenant_id: str, link: OwnerLink, answered: Answered | None) -> None:
    if answered is not None and answered.is_new:
        await record_owner(conn, tenant_id, "case.owner_answer", link.case_id, answer=str(answered.answer))


async def _read_answer(request: Request) -> Answer | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return None
    said = parse_qs(body.decode("ascii", "replace")).get("answer", [""])
    return Answer(said[0]) if said[0] in set(Answer) else None


def _words(request: Request) -> Words:
    return words_for(request.headers.get("accept-language", ""))


def _page(text: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] = HEADERS) -> HTMLResponse:
    return HTMLResponse(text, status, dict(headers))


def _later(words: Words) -> HTMLResponse:
    return _page(sorry_page(words, words.later), HTTPStatus.SERVICE_UNAVAILABLE, {**HEADERS, "Retry-After": "60"})
