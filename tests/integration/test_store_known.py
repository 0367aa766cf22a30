"""Readings that are told again are looked up by their key, whatever the database believes of its newest rows."""

import numpy as np
import structlog

from gateway.pipeline.columns import Columns
from gateway.store.readings import store_readings
from gateway.store.rows import Readings, ReadingTable
from gateway.store.store import Connection, Store
from tests.ingest.rig import NOW_S, PROFILES

PUT = """
INSERT INTO reading_kettle (device_id, ts, received_at, batch_seq, batch_row, celsius)
SELECT 'k' || n %% 50, to_timestamp(%s + n), to_timestamp(%s + n), n, 0, 20
FROM generate_series(%s::integer, %s::integer) AS n
"""
READ_IN_FULL = "SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_xact_user_tables"
ROWS = 40_000
KNOWN = range(30_000, 32_000)


def told(table: ReadingTable, metric: str) -> Readings:
    columns = Columns(table)
    for n in KNOWN:
        columns.put_values({metric: 20.0})
        columns.device.append(columns.index_of.setdefault(f"k{n % 50}", len(columns.index_of)))
        columns.ts_us.append(int(NOW_S + n) * 1_000_000)
        columns.received_us.append(int(NOW_S + n) * 1_000_000)
        columns.seq.append(-1)
        columns.packet.append(0)
        columns.element.append(n)
    return columns.finish()[0]


async def rows_read_in_full(conn: Connection, readings: Readings) -> tuple[int, int, int]:
    async with conn.transaction():
        stored = await store_readings(conn, readings, 100_000, expect_duplicates=True)
        row = await (await conn.execute(READ_IN_FULL)).fetchone()
    assert row is not None
    return len(stored.new), len(stored.fills), int(row[0])


async def test_thousands_of_readings_told_again_are_not_each_held_against_every_row(database_url: str) -> None:
    """After a crash in a table that had grown since its last ANALYZE that took longer than a transaction may."""
    store = Store(database_url, PROFILES, structlog.get_logger())
    conn = await store.open()
    table = store.tables["kettle"]
    await store.divider.make_room(conn, table.name, np.array([NOW_S * 1e6, (NOW_S + ROWS) * 1e6], np.int64))
    await conn.execute(PUT, (NOW_S, NOW_S, 0, 9_999))
    await conn.execute("ANALYZE reading_kettle")
    await conn.execute(PUT, (NOW_S, NOW_S, 10_000, ROWS - 1))
    again = await rows_read_in_full(conn, told(table, "celsius"))
    completed = await rows_read_in_full(conn, told(table, "boils"))
    await store.close()
    assert (again[:2], completed[:2]) == ((0, 0), (0, len(KNOWN)))
    assert max(again[2], completed[2]) < ROWS / 10  # small tables besides
