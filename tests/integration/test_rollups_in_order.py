"""What is rolled up lies in the order of devices once its day, or month, is over, and says what it said before."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise

import psycopg
import pytest

from gateway.maintenance.in_order import DEVICES_AT_ONCE, InOrder, Shelf, vacuum
from gateway.maintenance.job import Maintenance
from gateway.maintenance.rollup_columns import RollupTables, rollup_tables_of
from gateway.maintenance.rollups import OwnRollups, restart_rollups
from gateway.maintenance.sessions import Connection, connect
from gateway.store.tables import read_tables
from tests.ingest.rig import NOW_S, PROFILES, Rig, reading
from tests.integration.test_maintenance_job import upkeep_of
from tests.integration.test_rollups import DAY_S, HOUR_S, assert_true, roll_up

NOW = datetime.fromtimestamp(NOW_S, UTC)
ON_DISK = "SELECT device_id, bucket::text FROM {} WHERE bucket < '2025-10-09' ORDER BY tableoid, ctid"
MARKS = """
SELECT hours_in_order_to::date::text, days_in_order_to::date::text FROM rollup WHERE model = 'kettle'
"""


async def tell_by_the_hour(rig: Rig, days: int = 1, *, of_hours: int = 2) -> None:
    """Readings of two devices in turn, each hour rolled up before the next one, as a fleet's are."""
    rollups = OwnRollups(rig.profiles, time.perf_counter)
    async with await connect(rig.url) as conn:
        for hour in range(-24 * days, 0, of_hours):
            told = reading(hour * HOUR_S, celsius=20 + hour % 7, boils=1000 + hour)
            await rig.send(*(rig.packet(name, told) for name in ("k2", "k1")))
            while await rollups.advance(conn):
                pass


async def tables_of(conn: Connection) -> list[RollupTables]:
    return [rollup_tables_of(table, PROFILES) for table in await read_tables(conn)]


async def put_in_order(conn: Connection) -> int:
    """All of what is over; how many steps it took."""
    order, steps = InOrder(), 0
    while await order.advance(conn, await tables_of(conn), NOW):
        steps += 1
    return steps


def changes_of_device(rows: Sequence[tuple[str, str]]) -> int:
    """How often another device's row is the next on disk."""
    return sum(one[0] != other[0] for one, other in pairwise(rows))


async def test_hours_of_a_past_day_lie_by_device_and_take_late_readings(database_url: str) -> None:
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        await tell_by_the_hour(rig)
        before = await rig.rows("SELECT * FROM usage_hour_kettle ORDER BY device_id, bucket")
        assert changes_of_device(await rig.rows(ON_DISK.format("usage_hour_kettle"))) > 12
        await put_in_order(conn)
        assert changes_of_device(await rig.rows(ON_DISK.format("usage_hour_kettle"))) <= 3  # two devices, two days
        assert await rig.rows("SELECT * FROM usage_hour_kettle ORDER BY device_id, bucket") == before
        assert await rig.rows(MARKS) == [("2025-10-09", None)]
        assert await put_in_order(conn) == 0
        await rig.tell("k1", reading(-30 * HOUR_S + 60, celsius=99), reading(-90 * DAY_S, celsius=1))
        await roll_up(rig)
        await assert_true(rig)


async def test_days_of_a_past_month_lie_by_device(database_url: str) -> None:
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        await tell_by_the_hour(rig, 20, of_hours=24)
        assert changes_of_device(await rig.rows(ON_DISK.format("usage_day_kettle"))) > 30
        await put_in_order(conn)
        september = [row for row in await rig.rows(ON_DISK.format("usage_day_kettle")) if row[1] < "2025-10"]
        assert len(september) > 20
        assert changes_of_device(september) == 1
        assert await rig.rows(MARKS) == [("2025-10-09", "2025-10-01")]
        await assert_true(rig)


async def test_begun_anew_it_is_put_in_order_anew(database_url: str) -> None:
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        await tell_by_the_hour(rig)
        await put_in_order(conn)
        await restart_rollups(conn, "kettle")
        assert await rig.rows(MARKS) == [(None, None)]
        await roll_up(rig)
        assert await put_in_order(conn) > 0
        await assert_true(rig)


async def test_more_devices_than_are_moved_at_once_all_come_in_order(plain_database_url: str) -> None:
    count = 2 * DEVICES_AT_ONCE + 1
    async with Rig(plain_database_url).running() as rig, await connect(plain_database_url) as conn:
        await tell_by_the_hour(rig, of_hours=24)
        for table in ("usage_hour_kettle", "usage_day_kettle"):
            await conn.execute(
                f"""INSERT INTO {table} (device_id, bucket, readings, first_ts, last_ts, through_seq)
                SELECT 'x' || n, bucket, 1, bucket, bucket, 0 FROM {table}, generate_series(1, {count}) AS n
                WHERE device_id = 'k1' AND bucket < '2025-10-09' ORDER BY random()""".encode()  # noqa: S608
            )
        assert await put_in_order(conn) == 3
        found = [row[0] for row in await rig.rows(ON_DISK.format("usage_hour_kettle"))]
    assert len(found) == count + 2
    assert found == sorted(found)


async def test_the_same_partition_is_vacuumed_day_after_day_though_somebody_is_at_it_once(database_url: str) -> None:
    """TimescaleDB's server has crashed over a prepared VACUUM, as it may when that one has failed before."""
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        await tell_by_the_hour(rig, of_hours=24)
        (shelf,) = [Shelf(tables, is_daily=False) for tables in await tables_of(conn) if tables.model == "kettle"]
        october = datetime(2025, 10, 8, tzinfo=UTC)
        for _ in range(7):
            await vacuum(conn, shelf, october)
        async with await rig.connect() as other, other.transaction():
            await other.execute("LOCK TABLE usage_hour_kettle_2025_10 IN SHARE UPDATE EXCLUSIVE MODE")
            await vacuum(conn, shelf, october)
        for _ in range(3):
            await vacuum(conn, shelf, october)
        assert await rig.rows("SELECT count(*) FROM usage_hour_kettle") == [(2,)]


async def test_a_column_that_came_meanwhile_keeps_its_values(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig, await connect(plain_database_url) as conn:
        await tell_by_the_hour(rig, of_hours=24)
        known = await tables_of(conn)
        await conn.execute("ALTER TABLE usage_hour_kettle ADD COLUMN ph_n integer")
        await conn.execute("UPDATE usage_hour_kettle SET ph_n = 7")
        while await (order := InOrder()).advance(conn, known, NOW):
            order.forget()
        assert await rig.rows("SELECT DISTINCT ph_n FROM usage_hour_kettle") == [(7,)]


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.005, 0.01])
async def test_killed_at_any_moment_nothing_is_lost(database_url: str, after_s: float) -> None:
    async with Rig(database_url).running() as rig:
        await tell_by_the_hour(rig)
        async with await connect(database_url) as conn, await rig.connect() as other:
            work = asyncio.create_task(put_in_order(conn))
            await asyncio.wait({work}, timeout=after_s)
            await other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
            with suppress(psycopg.Error):
                await work
        await assert_true(rig)
        async with await connect(database_url) as again:
            await put_in_order(again)
        await assert_true(rig)


async def test_the_job_does_it_and_readers_see_every_row_meanwhile(database_url: str) -> None:
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        await tell_by_the_hour(rig)
        whole = await rig.rows("SELECT count(*) FROM usage_hour_kettle")
        job = Maintenance(await upkeep_of(rig, conn, rollups="own"))
        work = asyncio.create_task(job.work(conn, with_retention=True))
        while not work.done():
            assert await rig.rows("SELECT count(*) FROM usage_hour_kettle") == whole
        await work
        assert await rig.rows(MARKS) == [("2025-10-09", None)]


def test_a_month_ends_where_the_next_begins() -> None:
    shelf = Shelf(RollupTables("kettle", "r", "h", "d", ()), is_daily=True)
    for month, following in ((1, 2), (2, 3), (4, 5), (11, 12)):
        assert shelf.end_of(datetime(2024, month, 1, tzinfo=UTC)) == datetime(2024, following, 1, tzinfo=UTC)
    assert shelf.end_of(datetime(2024, 12, 1, tzinfo=UTC)) == datetime(2025, 1, 1, tzinfo=UTC)
