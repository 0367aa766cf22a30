"""What retention asks of the database; every function works in the caller's transaction and never commits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]

AGE_COLUMN = Literal["batch_seq", "through_seq"]

PUT_MARK: LiteralString = """
INSERT INTO storage_mark (tenant_id, at, batch_seq)
SELECT %(tenant_id)s, %(now)s, %(batch_seq)s
WHERE NOT EXISTS (SELECT FROM storage_mark WHERE at > %(now)s - make_interval(secs => %(every_s)s) AND at <= %(now)s)
ON CONFLICT DO NOTHING
"""


async def put_mark(conn: Connection, tenant_id: str, now: datetime, batch_seq: int, every_s: float) -> None:
    """Note which batch was the last by now, unless that has just been noted."""
    values = {"tenant_id": tenant_id, "now": now, "batch_seq": batch_seq, "every_s": every_s}
    await conn.execute(PUT_MARK, values)


# What is not rolled up yet, or not in the detectors' checkpoint, is needed still.
STORED_BEFORE: LiteralString = """
SELECT least(mark.batch_seq, (SELECT min(batch_seq) FROM rollup WHERE is_kept),
             (SELECT min(batch_seq) FROM detector_checkpoint))
FROM storage_mark mark WHERE at <= %s ORDER BY at DESC LIMIT 1
"""


async def stored_before(conn: Connection, moment: datetime) -> int:
    """The last batch of those stored before a moment of which nothing is needed any more; 0 for none."""
    row = await (await conn.execute(STORED_BEFORE, (moment,))).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class Part:
    """A partition or chunk of a table, or a whole table that is not divided."""

    table: str
    name: sql.Identifier
    is_chunk: bool = False


PARTS: LiteralString = """
SELECT n.nspname, c.relname, n.nspname = '_timescaledb_internal' FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhparent = %s::regclass ORDER BY c.relname
"""


async def parts_of(conn: Connection, table: str) -> list[Part]:
    """The partitions or chunks of a table."""
    rows = await (await conn.execute(PARTS, (sql.Identifier(table).as_string(conn),))).fetchall()
    return [Part(table, sql.Identifier(schema, name), is_chunk) for schema, name, is_chunk in rows]


IS_COMPRESSED: LiteralString = """
SELECT is_compressed FROM timescaledb_information.chunks
WHERE format('%%I.%%I', chunk_schema, chunk_name)::regclass = %s::regclass
"""


async def is_compressed(conn: Connection, chunk: Part) -> bool:
    """Whether a chunk lies in the columnstore, where single rows are dear to delete."""
    return await (await conn.execute(IS_COMPRESSED, (chunk.name.as_string(conn),))).fetchone() == (True,)


@dataclass(frozen=True, slots=True)
class Age:
    """What a partition or a table holds: rows that are due, and whether any others."""

    due: int
    has_others: bool


HAS_DUE: LiteralString = "SELECT EXISTS (SELECT FROM {part} WHERE {age} <= %s)"
COUNT_DUE: LiteralString = """
SELECT (SELECT count(*) FROM {part} WHERE {age} <= %(mark)s), EXISTS (SELECT FROM {part} WHERE {age} > %(mark)s)
"""


async def age_of(conn: Connection, part: Part, column: AGE_COLUMN, mark: int) -> Age:
    """How many rows of a part were stored up to a batch."""
    names = {"part": part.name, "age": sql.Identifier(column)}
    if await (await conn.execute(sql.SQL(HAS_DUE).format(**names), (mark,))).fetchone() == (False,):
        return Age(0, has_others=True)
    row = await (await conn.execute(sql.SQL(COUNT_DUE).format(**names), {"mark": mark})).fetchone()
    return Age(int(row[0]), bool(row[1])) if row else Age(0, has_others=True)


# Locked from the top, as ingest locks, and without the partitions beside it.
LOCK_TABLE: LiteralString = "LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE"
HAS_OTHERS: LiteralString = "SELECT EXISTS (SELECT FROM {part} WHERE {age} > %s)"
DROP_PARTITION: LiteralString = "DROP TABLE {part}"
DROP_CHUNK: LiteralString = """
SELECT drop_chunks(%(table)s::regclass, older_than => c.range_end, newer_than => c.range_start)
FROM timescaledb_information.chunks c
WHERE format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass = %(part)s::regclass
"""


async def drop_part(conn: Connection, part: Part, column: AGE_COLUMN, mark: int) -> bool:
    """Drop a part all of whose rows are due, which costs next to nothing; False when one has just come in.

    Raises LockNotAvailable when somebody reads the table for long.
    """
    names = {"part": part.name, "age": sql.Identifier(column)}
    await conn.execute(sql.SQL(LOCK_TABLE).format(table=sql.Identifier(part.table)))
    if await (await conn.execute(sql.SQL(HAS_OTHERS).format(**names), (mark,))).fetchone() != (False,):
        return False
    if part.is_chunk:
        values = {"table": sql.Identifier(part.table).as_string(conn), "part": part.name.as_string(conn)}
        await conn.execute(DROP_CHUNK, values)
    else:
        await conn.execute(sql.SQL(DROP_PARTITION).format(part=part.name))
    return True


DELETE_DUE: LiteralString = """
DELETE FROM {part} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {part} WHERE {age} <= %s LIMIT %s))
"""


async def delete_due(conn: Connection, part: Part, column: AGE_COLUMN, mark: int, limit: int) -> int:
    """Delete some of the rows that are due; how many."""
    statement = sql.SQL(DELETE_DUE).format(part=part.name, age=sql.Identifier(column))
    return (await conn.execute(statement, (mark, limit))).rowcount


COUNT_QUARANTINE: LiteralString = """
SELECT count(*) FROM quarantine WHERE last_received_at < %s AND replay_requested_at IS NULL
"""


async def count_old_quarantine(conn: Connection, before: datetime) -> int:
    """Entries that last came in before a moment, and that nobody has asked to replay."""
    row = await (await conn.execute(COUNT_QUARANTINE, (before,))).fetchone()
    return int(row[0]) if row else 0


DELETE_QUARANTINE: LiteralString = """
DELETE FROM quarantine WHERE quarantine_id IN (
    SELECT quarantine_id FROM quarantine WHERE last_received_at < %s AND replay_requested_at IS NULL
    ORDER BY quarantine_id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING reason
"""


async def delete_old_quarantine(conn: Connection, before: datetime, limit: int) -> list[str]:
    """Delete some entries that last came in before a moment; the reason of each."""
    return [row[0] for row in await (await conn.execute(DELETE_QUARANTINE, (before, limit))).fetchall()]


# The registry writes real time.
REMOVED_DEVICES: LiteralString = """
SELECT d.device_id FROM device d LEFT JOIN erased_device e USING (device_id)
WHERE d.revoked_at < clock_timestamp() - make_interval(secs => %s)
  AND (e.erased_at IS NULL OR e.erased_at < d.revoked_at)
ORDER BY d.device_id LIMIT %s
"""


async def removed_devices(conn: Connection, span_s: float, limit: int) -> list[str]:
    """Devices that were removed so long ago, and of which something may be left."""
    return [row[0] for row in await (await conn.execute(REMOVED_DEVICES, (span_s, limit))).fetchall()]


ERASE: LiteralString = "DELETE FROM {table} WHERE device_id = %s"
NOTE_ERASED: LiteralString = """
INSERT INTO erased_device (tenant_id, device_id, erased_at, readings)
SELECT tenant_id, device_id, clock_timestamp(), %(readings)s FROM device WHERE device_id = %(device_id)s
ON CONFLICT (device_id) DO UPDATE SET erased_at = excluded.erased_at,
    readings = erased_device.readings + excluded.readings
"""


async def erase_device(conn: Connection, device_id: str, readings: list[str], others: list[str]) -> int:
    """Delete what a device has said from these tables, and note it; how many readings there were."""
    erased = 0
    for table in readings:
        erased += (await conn.execute(sql.SQL(ERASE).format(table=sql.Identifier(table)), (device_id,))).rowcount
    for table in others:
        await conn.execute(sql.SQL(ERASE).format(table=sql.Identifier(table)), (device_id,))
    await conn.execute(NOTE_ERASED, {"device_id": device_id, "readings": erased})
    return erased
