"""Writes: each in one transaction with its record in the audit trail and, where a key was sent along, its answer.

    @router.post("/cases/{case_id}/note")
    async def note(case_id: str, asked: NoteAsked, actor: Agent, write: Writing) -> Response:
        return await write.run(Act("case.note", case_id, {...}), lambda conn: ...)

``Idempotency-Key``: the same request under the same key is carried out once, and answered the same for a day.
``If-Match``: who saw an older state than the present one is told so (412), and nothing happens.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final, LiteralString

from fastapi import Depends, Header, HTTPException, Request, Response
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from devices.errors import CareloopError
from gateway.api.queries import Connection
from gateway.people.audit import record
from gateway.people.door import actor, people_of
from gateway.people.model import Actor

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same request under the same key is carried out once.",
    ),
]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The ETag that was seen; 412 where it is another by now.")
]


TAGGED: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: {
        "headers": {
            "ETag": {
                "description": "Of the state that was read; sent along as If-Match, a write fails where it is another.",
                "schema": {"type": "string"},
            }
        }
    }
}
"""What OpenAPI tells of a call whose answer bears an ETag."""

GIVEN_ONCE: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "It was answered before, under the same Idempotency-Key: its secret is given once."}
}


@dataclass(frozen=True, slots=True)
class Act:
    """What is done, for the audit trail."""

    what: str
    subject: str
    inputs: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Done:
    """What a write is answered with."""

    body: BaseModel | None
    tag: str | None = None
    status: int = HTTPStatus.OK


class Write:
    """One write of one actor."""

    def __init__(self, request: Request, who: Actor, key: str | None, if_match: str | None) -> None:
        self._request = request
        self._who = who
        self._key = key
        self.if_match = if_match

    async def run(
        self, act: Act, work: Callable[[Connection], Awaitable[Done]], *, keep_answer: bool = True
    ) -> Response:
        """Do it, and write down that it was done; an answer that holds a secret is not kept, and not given twice."""
        digest = await self._digest()
        async with people_of(self._request).pool.connection() as conn, conn.transaction():
            if self._key is not None:
                before = await reserve(conn, (self._who.tenant_id, str(self._who), self._key), digest)
                if before is not None:
                    return before
            done = await work(conn)
            await record(conn, self._who, act.what, act.subject, act.inputs)
            answer = _response(done)
            if self._key is not None:
                kept = answer if keep_answer else Response(None, HTTPStatus.NO_CONTENT)
                await keep(conn, (self._who.tenant_id, str(self._who), self._key), kept)
        return answer

    async def check(self, conn: Connection, about: str, present: Callable[[], Awaitable[str]]) -> None:
        """Raises CareloopError where the caller saw another state; no other call writes `about` it meanwhile."""
        await conn.execute(_ALONE, [f"{self._who.tenant_id} {about}"])
        if self.if_match is not None:
            self.check_tag(await present())

    def check_tag(self, present: str) -> None:
        """Raises CareloopError where the caller saw another state."""
        seen = self.if_match
        if seen is None or seen.strip() == "*":
            return
        if present not in {tag.strip().removeprefix("W/") for tag in seen.split(",")}:
            raise CareloopError("changed_meanwhile", "somebody else was faster: read it again, then decide")

    async def _digest(self) -> bytes:
        request = self._request
        what = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
        return sha256(what + await request.body()).digest()


def writing(
    request: Request, who: Annotated[Actor, Depends(actor)], key: Key = None, if_match: IfMatch = None
) -> Write:
    """A dependency: the write that a request asks for."""
    return Write(request, who, key, if_match)


Writing = Annotated[Write, Depends(writing)]


def _response(done: Done) -> Response:
    headers = {} if done.tag is None else {"ETag": done.tag}
    if done.body is None:
        return Response(None, done.status if done.status != HTTPStatus.OK else HTTPStatus.NO_CONTENT, headers)
    return Response(done.body.model_dump_json(by_alias=True), done.status, headers, "application/json")


_ALONE: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"

# Whoever comes second under the same key waits here until the first has committed, or gave up.
_RESERVE: Final[LiteralString] = """
INSERT INTO answered_write (tenant_id, who, key, digest) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING key
"""

_BEFORE: Final[LiteralString] = """
SELECT digest, status, headers, body FROM answered_write WHERE tenant_id = %s AND who = %s AND key = %s
"""


async def reserve(conn: Connection, key: tuple[str, str, str], digest: bytes) -> Response | None:
    """Take a key; what was answered under it before, if anything was. Raises HTTPException 422 for another request."""
    if await (await conn.execute(_RESERVE, [*key, digest])).fetchone() is not None:
        return None
    row: tuple[Any, ...] | None = await (await conn.execute(_BEFORE, key)).fetchone()
    if row is None or row[1] is None:
        raise HTTPException(HTTPStatus.CONFLICT, "a request under this key is being worked; ask again")
    if bytes(row[0]) != digest:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "this Idempotency-Key was sent with another request")
    return Response(bytes(row[3]), row[1], {**row[2], "Idempotent-Replayed": "true"})


_KEEP: Final[LiteralString] = """
UPDATE answered_write SET status = %s, headers = %s, body = %s WHERE tenant_id = %s AND who = %s AND key = %s
"""


async def keep(conn: Connection, key: tuple[str, str, str], answer: Response) -> None:
    """Remember what was answered."""
    headers = {name: value for name, value in answer.headers.items() if name in {"etag", "content-type"}}
    await conn.execute(_KEEP, [answer.status_code, Jsonb(headers), bytes(answer.body), *key])


def tag_of(*parts: object) -> str:
    """A strong ETag of what a state is made of."""
    return f'"{sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]}"'
