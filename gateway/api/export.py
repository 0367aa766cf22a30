"""Readings and usage of a product model as a file: CSV as the database writes it, or Parquet made from that.

Neither goes through Python row by row: this process also takes readings, and must not be kept from it.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, Literal, LiteralString

from fastapi import HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from gateway.api.fields import Instant, Name
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.maintenance.usage import find_usage
from gateway.people.door import Operator, people_of
from gateway.store.tables import read_tables

Format = Literal["csv", "parquet"]
Pool = AsyncConnectionPool[Connection]

AT_ONCE: Final = 2
_CHUNK: Final = 256 * 1024
_MEDIA: Final[Mapping[Format, str]] = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
_ALWAYS: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One file: a table, its time column, and what its columns are called there and in the file."""

    table: str
    time: str
    columns: Sequence[tuple[str, str]]
    values: Mapping[str, object]  # tenant_id, device_id, since, until


# A device's rows in the order of time, and only those of the tenant's devices.
_COPY: LiteralString = """
COPY (SELECT {columns} FROM {table} r JOIN device d USING (device_id)
      WHERE d.tenant_id = {tenant_id} AND ({device_id}::text IS NULL OR r.device_id = {device_id})
        AND r.{time} >= {since} AND r.{time} < {until}
      ORDER BY r.device_id, r.{time}) TO STDOUT WITH (FORMAT csv, HEADER)
"""
_LET_IT_TAKE_TIME: LiteralString = "SET LOCAL statement_timeout = '30min'"

_KINDS: LiteralString = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


async def kinds_of(conn: Connection, table: str) -> dict[str, str]:
    """The type of each column of a table."""
    quoted = sql.Identifier(table).as_string(conn)
    return dict(await (await conn.execute(_KINDS, [quoted])).fetchall())


def export_router(pool: Pool) -> Router:
    """``/export/readings`` and ``/export/rollups``."""
    router = Router(prefix="/export", tags=["export"])
    turns = asyncio.Semaphore(AT_ONCE)

    @router.get("/readings", response_class=StreamingResponse, responses=_responses())
    async def readings(  # noqa: PLR0917 - each is a query parameter
        request: Request,
        who: Operator,
        model: Name,
        device_id: Name | None = None,
        since: Annotated[Instant | None, Query(alias="from", description="At or after this device time.")] = None,
        until: Annotated[Instant | None, Query(alias="to", description="Before this device time.")] = None,
        format: Annotated[Format, Query(description="Of the file.")] = "csv",  # noqa: A002 - as it is called outside
    ) -> StreamingResponse:
        """Readings of a product model, or of one device of it, by device and time."""
        async with pool.connection() as conn:
            table = next((each for each in await read_tables(conn) if each.model == model), None)
        if table is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no readings of the model {model}")
        own = [(name, name) for name in ("device_id", "ts", "received_at", "seq")]
        columns = [*own, *zip(table.columns, table.metrics, strict=True), ("extra", "extra")]
        values = _values(who.tenant_id, device_id, since, until)
        await people_of(request).note(who, "export.readings", device_id or model, {"format": format})
        return await _file(pool, turns, _Wanted(table.name, "ts", columns, values), f"{model}-readings", format)

    @router.get("/rollups", response_class=StreamingResponse, responses=_responses())
    async def rollups(  # noqa: PLR0917 - each is a query parameter
        request: Request,
        who: Operator,
        model: Name,
        bucket: Annotated[Literal["hour", "day"], Query(description="How long a bucket is; days are UTC's.")] = "hour",
        device_id: Name | None = None,
        since: Annotated[Instant | None, Query(alias="from", description="Buckets from this device time on.")] = None,
        until: Annotated[Instant | None, Query(alias="to", description="Buckets that begin before this.")] = None,
        format: Annotated[Format, Query(description="Of the file.")] = "csv",  # noqa: A002 - as it is called outside
    ) -> StreamingResponse:
        """Usage of a product model by hour or day, or of one device of it; a counter's `rise` is within its bucket."""
        async with pool.connection() as conn:
            found = next((each for each in await find_usage(conn, ()) if each.model == model), None)
            if found is None:
                raise HTTPException(HTTPStatus.NOT_FOUND, f"no usage of the model {model}")
            table = found.day if bucket == "day" else found.hour
            columns = [(name, name) for name in await kinds_of(conn, table)]
        values = _values(who.tenant_id, device_id, since, until)
        await people_of(request).note(who, "export.rollups", device_id or model, {"format": format})
        return await _file(pool, turns, _Wanted(table, "bucket", columns, values), f"{model}-{bucket}s", format)

    return router


def _responses() -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {
        "text/csv": {"schema": {"type": "string", "description": "A row of names, then the rows."}},
        _MEDIA["parquet"]: {"schema": {"type": "string", "format": "binary"}},
    }
    named = {"Content-Disposition": {"description": "With the file's name.", "schema": {"type": "string"}}}
    return {200: {"description": "The file.", "content": content, "headers": named}}


def _values(tenant_id: str, device_id: str | None, since: datetime | None, until: datetime | None) -> dict[str, object]:
    return {"tenant_id": tenant_id, "device_id": device_id, "since": since or _NEVER, "until": until or _ALWAYS}


async def _file(pool: Pool, turns: asyncio.Semaphore, wanted: _Wanted, name: str, kind: Format) -> StreamingResponse:
    """The answer: begun only once there are bytes, so that what goes wrong before has a status of its own."""
    if turns.locked():
        raise HTTPException(
            HTTPStatus.TOO_MANY_REQUESTS, f"{AT_ONCE} exports are being written", headers={"Retry-After": "10"}
        )
    stack = AsyncExitStack()
    async with stack:
        await stack.enter_async_context(turns)
        chunks = _csv(pool, wanted) if kind == "csv" else _parquet(pool, wanted)
        first = await anext(chunks, b"")
        kept = stack.pop_all()
    plain = "".join(each if each.isalnum() or each in "-_." else "_" for each in name)
    headers = {"Content-Disposition": f'attachment; filename="{plain}.{kind}"'}
    return StreamingResponse(_all_of(first, chunks, kept), headers=headers, media_type=_MEDIA[kind])


async def _all_of(first: bytes, rest: AsyncGenerator[bytes], stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack:
        try:
            yield first
            async for chunk in rest:
                yield chunk
        finally:
            await rest.aclose()


async def _csv(pool: Pool, wanted: _Wanted) -> AsyncGenerator[bytes]:
    """The file as the database writes it, in pieces of a good size."""
    async with pool.connection() as conn, conn.transaction():
        await conn.execute(_LET_IT_TAKE_TIME)
        query = _query(wanted, await kinds_of(conn, wanted.table))
        async with conn.cursor() as cursor, cursor.copy(query) as copy:
            piece = bytearray()
            async for data in copy:
                piece += data
                if len(piece) >= _CHUNK:
                    yield bytes(piece)
                    piece.clear()
            if piece:
                yield bytes(piece)


_AS_TEXT: Final[Mapping[str, LiteralString]] = {
    "timestamp with time zone": """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
    "boolean": "CASE WHEN {0} THEN 'true' WHEN NOT {0} THEN 'false' END",
}


def _query(wanted: _Wanted, kinds: Mapping[str, str]) -> sql.Composed:
    columns = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(_column(name, kinds[name]), sql.Identifier(shown)) for name, shown in wanted.columns
    )
    values = {name: sql.Literal(value) for name, value in wanted.values.items()}
    return sql.SQL(_COPY).format(
        columns=columns, table=sql.Identifier(wanted.table), time=sql.Identifier(wanted.time), **values
    )


def _column(name: str, kind: str) -> sql.Composed:
    """A column as text that every reader of CSV takes: instants in RFC 3339, UTC; true and false."""
    return sql.SQL(_AS_TEXT.get(kind, "{}")).format(sql.SQL("r.{}").format(sql.Identifier(name)))


async def _parquet(pool: Pool, wanted: _Wanted) -> AsyncGenerator[bytes]:
    """The same rows in Parquet: written beside this process's event loop, from the CSV, by way of two files."""
    async with pool.connection() as conn:
        kinds = await kinds_of(conn, wanted.table)
    with tempfile.TemporaryDirectory(prefix="careloop-export-") as folder:
        source, target = Path(folder) / "rows.csv", Path(folder) / "rows.parquet"
        with source.open("wb") as file:
            async for chunk in _csv(pool, wanted):
                await asyncio.to_thread(file.write, chunk)
        fields = [(shown, kinds[name]) for name, shown in wanted.columns]
        await asyncio.to_thread(_write_parquet, source, target, fields)
        source.unlink()
        with target.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk


def _write_parquet(source: Path, target: Path, fields: Sequence[tuple[str, str]]) -> None:
    from arro3.core import DataType, Field, Schema  # noqa: PLC0415 - 12 MB of code that only exports need
    from arro3.io import read_csv, write_parquet  # noqa: PLC0415

    types = {
        "double precision": DataType.float64(),
        "real": DataType.float32(),
        "bigint": DataType.int64(),
        "integer": DataType.int64(),
        "smallint": DataType.int64(),
        "boolean": DataType.bool(),
        "timestamp with time zone": DataType.timestamp("us", tz="UTC"),
    }
    schema = Schema([Field(name, types.get(kind, DataType.string()), nullable=True) for name, kind in fields])
    write_parquet(read_csv(source, schema, has_header=True), target, compression="zstd(3)")
