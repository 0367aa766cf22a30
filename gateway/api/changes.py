"""What changes, as it does: cases, alarms, deliveries and incidents, as server-sent events.

The order is that of commits: a change is told once no transaction older than its own is under way, so that none is
missed by who goes on from the last event that they saw.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final, LiteralString

import msgspec
from fastapi import Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.people.door import Viewer, still
from gateway.people.model import Actor

LOOK_S: Final = 0.5
HEARTBEAT_S: Final = 15.0
AT_ONCE: Final = 500
MOST_STREAMS: Final = 200
MOST_OF_ONE: Final = 20

_EVENT_ID: Final = re.compile(r"(\d{1,20})-(\d{1,18})")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the order of commits."""

    xid: int
    number: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.number}"

    @classmethod
    def parse(cls, text: str | None) -> "Place | None":
        """The place that an event's id names; None for what is none."""
        match = _EVENT_ID.fullmatch(text or "")
        return cls(int(match[1]), int(match[2])) if match and int(match[1]) < 2**63 else None

    @classmethod
    def claimed(cls, text: str | None) -> "Place | None":
        """Where who comes back says that they were; what is no place of ours is before all that is kept."""
        return cls.parse(text) or cls(0, 0) if text else None


# Of all that is committed, and that nothing still to be committed can come before.
_END: Final[LiteralString] = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text,
       (SELECT xid::text || '-' || change_id FROM change WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
         ORDER BY xid DESC, change_id DESC LIMIT 1)
"""


async def newest(conn: Connection) -> Place:
    """The end of what may be told."""
    row = await (await conn.execute(_END)).fetchone()
    assert row is not None  # a row without a table
    return Place.parse(row[1]) or Place(int(row[0]), 0)


_IS_KEPT: Final[LiteralString] = "SELECT EXISTS (SELECT FROM change WHERE (xid, change_id) <= (%s::text::xid8, %s))"


async def is_kept(conn: Connection, place: Place) -> bool:
    """Whether nothing after a place has been forgotten."""
    row = await (await conn.execute(_IS_KEPT, [str(place.xid), place.number])).fetchone()
    return row is not None and row[0] is True


_AFTER: Final[LiteralString] = """
SELECT xid::text || '-' || change_id AS place, kind, subject AS id, state, device_id, case_id, at
  FROM change
 WHERE tenant_id = %(tenant_id)s AND (xid, change_id) > (%(xid)s::text::xid8, %(number)s)
   AND (xid, change_id) <= (%(end_xid)s::text::xid8, %(end_number)s)
 ORDER BY xid, change_id LIMIT %(limit)s
"""


async def changes_after(conn: Connection, tenant_id: str, place: Place, end: Place) -> list[dict[str, Any]]:
    """A tenant's changes between two places, at most `AT_ONCE`."""
    values = {
        "tenant_id": tenant_id,
        "xid": str(place.xid),
        "number": place.number,
        "end_xid": str(end.xid),
        "end_number": end.number,
        "limit": AT_ONCE,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(_AFTER, values)).fetchall()


@dataclass
class Feed:
    """Looks for changes, once for all who listen, and not at all while nobody does."""

    pool: AsyncConnectionPool[Connection]
    monotonic: Callable[[], float] = time.monotonic
    streams: Counter[str] = field(default_factory=Counter[str])
    _end: Place = field(default_factory=lambda: Place(0, 0))
    _looked_s: float = float("-inf")
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def end(self) -> Place:
        """The end of what may be told, a moment old at most."""
        async with self._turn:
            if self.monotonic() - self._looked_s >= LOOK_S:
                async with self.pool.connection() as conn:
                    self._end = await newest(conn)
                self._looked_s = self.monotonic()
            return self._end

    async def follow(
        self, who: Actor, after: Place | None, is_welcome: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[bytes]:
        """Events from a place on, for as long as the caller listens and may."""
        place = await self.end()
        if after is not None:
            async with self.pool.connection() as conn:
                resumed = after <= place and await is_kept(conn, after)
            place = after if resumed else place
            if not resumed:
                yield _event(
                    "reset",
                    {"says": "what has changed since is not known: read everything anew"},
                    str(place),
                )
        yield _event("hello", {"heartbeat_s": HEARTBEAT_S}, str(place))
        told_s = asked_s = self.monotonic()
        while True:
            end = await self.end()
            if self.monotonic() - asked_s >= HEARTBEAT_S:  # however much there is to tell
                if not await is_welcome():
                    return
                asked_s = self.monotonic()
            while place < end:
                async with self.pool.connection() as conn:
                    rows = await changes_after(conn, who.tenant_id, place, end)
                for row in rows:
                    name = row.pop("place")
                    yield _event(row["kind"], row, name)
                    place = Place.parse(name) or end
                    told_s = self.monotonic()
                place = place if len(rows) == AT_ONCE else end
            if self.monotonic() - told_s >= HEARTBEAT_S:
                yield f": {place}\n\n".encode()
                told_s = self.monotonic()
            await asyncio.sleep(LOOK_S)


def _event(kind: str, data: dict[str, Any], place: str) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (place.encode(), kind.encode(), msgspec.json.encode(data))


_STREAM: Final = {
    "schema": {"type": "string"},
    "example": (
        'id: 9059-450\nevent: hello\ndata: {"heartbeat_s":15.0}\n\nid: 9202-451\nevent: case\n'
        'data: {"kind":"case","id":"case_4DKZ","state":"open","device_id":"boiler-9","case_id":"case_4DKZ",'
        '"at":"2026-11-22T18:29:46.998422Z"}\n\n'
    ),
}


def changes_router(feed: Feed) -> Router:
    """``GET /events``."""
    router = Router(tags=["events"])

    @router.get(
        "/events",
        response_class=StreamingResponse,
        responses={200: {"description": "Events.", "content": {"text/event-stream": _STREAM}}},
    )
    async def events(
        request: Request,
        who: Viewer,
        last_event_id: Annotated[
            str | None, Header(alias="Last-Event-ID", max_length=50, description="The last event that was seen.")
        ] = None,
        after: Annotated[str | None, Query(max_length=50, description="As Last-Event-ID.")] = None,
    ) -> StreamingResponse:
        """Changes from now on, or from the last event that was seen, as server-sent events.

        The first one is `hello`, with `heartbeat_s`. `case`, `alarm`, `delivery` and `incident` say what has changed
        and its state: `{"kind", "id", "state", "device_id", "case_id", "at"}`; `reset` says that too much has changed
        since the last event to be told one by one, or that it is none of ours: read everything anew. A comment comes
        every 15 seconds while nothing changes.
        """
        name = f"{who.tenant_id}/{who}"
        if feed.streams.total() >= MOST_STREAMS or feed.streams[name] >= MOST_OF_ONE:
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, "too many streams are open", {"Retry-After": "30"})
        place = Place.claimed(last_event_id or after)

        async def told() -> AsyncGenerator[bytes]:
            feed.streams[name] += 1
            try:
                async for event in feed.follow(who, place, lambda: still(request, who)):
                    yield event
            finally:
                feed.streams[name] -= 1

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(told(), media_type="text/event-stream", headers=headers)

    return router
