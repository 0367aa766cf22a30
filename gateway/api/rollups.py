"""Usage by hour and by day, as the API shows it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from fastapi import HTTPException, Query, Request, Response
from psycopg.errors import InvalidParameterValue
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from gateway.api.fields import Instant, Name
from gateway.api.paging import Cursor, Page, decode_cursor, encode_cursor, moment_of
from gateway.api.queries import Connection, list_devices
from gateway.api.router import Router
from gateway.maintenance.usage import (
    Usage,
    UsageTable,
    day_of,
    find_usage,
    read_usage,
    read_zone_days,
)
from gateway.people.door import Viewer, people_of
from gateway.store.times import us_of

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)


class MetricUsage(BaseModel):
    """One metric in one bucket; `rise` is what a counter rose by since the last reading before the bucket."""

    n: int
    sum: float | None
    mean: float | None
    min: float | None
    max: float | None
    first: float | None
    last: float | None
    rise: float | None


class UsageBucket(BaseModel):
    """What a device told in an hour or a day that begins at `start`."""

    start: datetime
    model: str
    readings: int
    first_ts: datetime
    last_ts: datetime
    metrics: dict[str, MetricUsage]


class _Page(msgspec.Struct):
    items: list[Usage]  # a `UsageBucket` each
    next: str | None


class _Asked(BaseModel):
    """One page of one device's usage."""

    device_id: str
    by_day: bool
    zone: str | None
    since: datetime
    until: datetime
    limit: int


def rollups_router(pool: AsyncConnectionPool[Connection]) -> Router:
    """``GET /devices/{device_id}/rollups``."""
    router = Router(tags=["devices"])

    @router.get("/devices/{device_id}/rollups", response_model=Page[UsageBucket])
    async def rollups(  # noqa: PLR0917 - each is a query parameter
        device_id: Name,
        who: Viewer,
        request: Request,
        bucket: Annotated[Literal["hour", "day"], Query(description="How long a bucket is.")] = "hour",
        metric: Annotated[list[Name] | None, Query(max_length=100, description="Only these metrics.")] = None,
        zone: Annotated[Name | None, Query(description="Days of this IANA time zone instead of UTC.")] = None,
        since: Annotated[Instant | None, Query(alias="from", description="Buckets from this device time on.")] = None,
        until: Annotated[Instant | None, Query(alias="to", description="Buckets that begin before this.")] = None,
        cursor: Cursor = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="At most this many buckets.")] = 200,
    ) -> Response:
        """A device's usage by hour or day, oldest first."""
        key = decode_cursor(cursor, int)
        start = moment_of(int(key[0])) if key else max(since or _NEVER, _NEVER)
        asked = _Asked(
            device_id=device_id, by_day=bucket == "day", zone=zone, since=start, until=until or _ALWAYS, limit=limit
        )
        wanted = {"tenant_id": who.tenant_id, "device_id": device_id, "after": None, "limit": 1}
        async with pool.connection() as conn:
            known = await list_devices(conn, wanted)
        if not known:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no device {device_id}")
        await people_of(request).note(who, "device.rollups", device_id, {"owner": known[0]["owner_ref"]})
        found: list[Usage] = []
        async with pool.connection() as conn:
            for table in await find_usage(conn, metric or ()):
                found += await _read(conn, table, asked)
        found.sort(key=lambda one: (one.start, one.model))
        starts = sorted({one.start for one in found})
        end = starts[limit] if len(starts) > limit else None
        items = [one for one in found if end is None or one.start < end]
        page = _Page(items, None if end is None else encode_cursor(us_of(end)))
        return Response(msgspec.json.encode(page), media_type="application/json")  # written once, not checked twice

    return router


async def _read(conn: Connection, table: UsageTable, asked: _Asked) -> Sequence[Usage]:
    """A bucket more than was asked for, where there is one; the first is that in which `since` lies."""
    zone = _zone(asked.zone if asked.by_day and asked.zone else "UTC")
    hour = asked.since.replace(minute=0, second=0, microsecond=0)
    since = day_of(asked.since, zone) if asked.by_day and asked.since > _NEVER + timedelta(days=1) else hour
    if not asked.by_day or zone.key == "UTC":
        return await read_usage(conn, table, asked.device_id, since, asked.until, asked.limit + 1, by_day=asked.by_day)
    try:
        return await read_zone_days(conn, table, zone, asked.device_id, since, asked.until, asked.limit + 1)
    except InvalidParameterValue as error:  # the database's own list of zones may be older
        raise _unknown(zone.key) from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _unknown(name) from error


def _unknown(zone: str) -> HTTPException:
    return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"no time zone {zone}")
