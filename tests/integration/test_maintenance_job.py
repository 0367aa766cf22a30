"""The maintenance job on whatever edition there is: usage with the same columns everywhere, and nobody in the way."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

import psycopg
import pytest
import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow
from structlog.testing import capture_logs

from gateway.database.edition import detect_edition
from gateway.maintenance.community import Community, Generation, aggregate_statement, leave_rollup, view_statement
from gateway.maintenance.job import Maintenance, Upkeep
from gateway.maintenance.rollup_columns import rollup_tables_of
from gateway.maintenance.rollups import OwnRollups, put_rollup
from gateway.maintenance.sessions import connect
from gateway.maintenance.settings import MaintenanceSettings, RetentionSettings
from gateway.maintenance.usage import find_usage
from gateway.store.tables import read_tables
from tests.ingest.rig import PROFILES, Rig, reading
from tests.integration.test_rollups import assert_true, roll_up

COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""


async def upkeep_of(rig: Rig, conn: AsyncConnection[TupleRow], **settings: object) -> Upkeep:
    edition = await detect_edition(conn)
    chosen = MaintenanceSettings.model_validate(settings)
    return Upkeep(
        rig.url, "default", rig.profiles, chosen, RetentionSettings(), edition, rig.clock, structlog.get_logger()
    )


async def refresh(conn: AsyncConnection[TupleRow]) -> None:
    """Do at once what a Community edition's policies do in time."""
    found = await conn.execute("SELECT view_name FROM timescaledb_information.continuous_aggregates")
    for (view,) in await found.fetchall():
        await conn.execute("CALL refresh_continuous_aggregate(%s, NULL, NULL)", (view,), prepare=False)


async def test_usage_is_the_same_on_every_edition(database_url: str) -> None:
    """Where there is a Community edition, this is about its continuous aggregates."""
    async with Rig(database_url).running() as rig:
        async with await connect(database_url) as conn:
            upkeep = await upkeep_of(rig, conn)
            job = Maintenance(upkeep)
            for told in (
                [reading(at * 900.0 - 90_000, celsius=at % 50, boils=at) for at in range(100)],
                [reading(-400 * 86_400.0, celsius=1), reading(-90_500.0, boils=1), reading(-7000.0, celsius=9)],
            ):
                await rig.tell("k1", *told)
                await job.work(conn, with_retention=True)
                if upkeep.edition.is_community:
                    await refresh(conn)
                await assert_true(rig)
        (hours,), (days,) = [(await rig.rows(COLUMNS, name))[0] for name in ("usage_hour_kettle", "usage_day_kettle")]
    statistics = ("n", "sum", "min", "max", "first", "last", "rise")
    fixed = ["device_id", "bucket", "readings", "first_ts", "last_ts", "through_seq"]
    assert hours == days == fixed + [f"{metric}_{each}" for metric in ("celsius", "boils") for each in statistics]


async def test_metrics_that_get_a_column_later_are_rolled_up_on_every_edition(database_url: str) -> None:
    """Devices without a profile begin with no metric that has a column."""
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        upkeep = await upkeep_of(rig, conn)
        job = Maintenance(upkeep)
        await rig.tell("a1", reading(-200_000.0, ohms=1))
        await job.work(conn, with_retention=True)
        for metric, since_s in (("volts", -190_000.0), ("amps", -150_000.0)):
            await rig.tell("a1", *(reading(since_s + at, **{metric: 4}) for at in range(1000)))
            await rig.until(lambda metric=metric: metric in rig.store.tables["automatic"].metrics)
            await Maintenance(upkeep).work(conn, with_retention=True)
        await job.work(conn, with_retention=True)
        rolled = "SELECT sum(readings), sum(volts_n), sum(amps_n), sum(amps_sum) FROM "
        for name in ("usage_hour_automatic", "usage_day_automatic"):
            assert await rig.rows(rolled + name) == [(2001, 1000, 1000, 4000.0)]


async def test_a_refusal_is_told_and_done_without(timescale_database_url: str) -> None:
    """The Apache edition has the functions of the Community edition, and refuses each."""
    async with Rig(timescale_database_url).running() as rig, await connect(timescale_database_url) as conn:
        await rig.tell("k1", reading(0, celsius=20, boils=1))
        community = Community(MaintenanceSettings(), RetentionSettings(), PROFILES, structlog.get_logger())
        with capture_logs() as told:
            assert await community.keep_up(conn) == set()
            assert await community.keep_up(conn) == set()
        await roll_up(rig)
        await assert_true(rig)
    refused = [entry["what"] for entry in told if entry["event"] == "community.refused"]
    assert sorted(refused) == sorted(
        f"{what} of {table}"
        for what in ("columnstore", "continuous aggregates")
        for table in ("reading_automatic", "reading_kettle")
    )


async def test_a_continuous_aggregate_says_what_careloops_own_rollup_says(timescale_database_url: str) -> None:
    """Its very query, as a plain view: metrics that came later have an aggregate of their own beside the first."""
    async with Rig(timescale_database_url).running() as rig, await connect(timescale_database_url) as conn:
        await rig.tell("k1", *(reading(at * 700.0 - 90_000, celsius=at % 50, boils=at % 30) for at in range(120)))
        await rig.tell("k2", reading(0, celsius=20), reading(1, boils=1))
        tables = rollup_tables_of(next(one for one in await read_tables(conn) if one.model == "kettle"), PROFILES)
        for name, width in ((tables.hour, "1 hour"), (tables.day, "1 day")):
            generations: list[Generation] = []
            for number, metric in enumerate(tables.metrics):
                create = aggregate_statement(tables.source, f"{name}_{number}", [metric], width)
                _, _, query = create.as_string(conn).partition(" AS\n")
                view = sql.Identifier(f"{name}_{number}").as_string(conn)
                await conn.execute(f"CREATE VIEW {view} AS {query.replace('WITH NO DATA', '')}".encode())
                generations.append(Generation(f"{name}_{number}", (await rig.rows(COLUMNS, f"{name}_{number}"))[0][0]))
            await conn.execute(view_statement(name, generations))
        await put_rollup(conn, tables)
        await leave_rollup(conn, "kettle")  # careloop's own job has no part in it
        assert [one.model for one in await find_usage(conn, (), only_kept=True)] == ["kettle"]
        await assert_true(rig)


async def test_a_standby_does_nothing_and_the_owner_works(database_url: str) -> None:
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        await rig.tell("k1", reading(0, celsius=20))
        upkeep = await upkeep_of(rig, conn, every=0.01, rollups="own")
        fence: Mapping[str, int | None]
        for fence in ({"is": None}, {"is": rig.store.fence - 1}, {"is": rig.store.fence}):
            job = Maintenance(upkeep, fence=lambda fence=fence: fence["is"])
            task = asyncio.create_task(job.run())
            rolled = "SELECT count(*) FROM rollup WHERE batch_seq > 0"
            if fence["is"] == rig.store.fence:
                await rig.until_rows(rolled, [(2,)])
            else:
                await asyncio.sleep(0.3)
                assert await rig.rows(rolled) == [(0,)]
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_it_waits_while_ingest_is_behind(database_url: str) -> None:
    async with Rig(database_url).running() as rig, await connect(database_url) as conn:
        await rig.tell("k1", reading(0, celsius=20))
        behind = True
        job = Maintenance(await upkeep_of(rig, conn, rollups="own"), is_behind=lambda: behind)
        work = asyncio.create_task(job.work(conn, with_retention=True))
        done, _ = await asyncio.wait({work}, timeout=0.2)
        assert not done
        behind = False
        assert (await work).slices > 0


@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_any_moment_it_leaves_neither_gap_nor_double(database_url: str, seed: int) -> None:
    async with Rig(database_url).running() as rig:
        for step in range(4):
            at = (step * 7 + seed) % 11
            await rig.tell(
                "k1", *(reading((at + turn) * 600.0 - 9000, celsius=turn, boils=turn + at) for turn in range(9))
            )
            await interrupted(rig, 0.002 * (seed + 3 * step))
        await roll_up(rig)
        await assert_true(rig)


async def interrupted(rig: Rig, after_s: float) -> None:
    """Roll up on a connection whose server process ends after a while."""
    async with await connect(rig.url) as conn, await rig.connect() as other:
        rollups = OwnRollups(rig.profiles, time.perf_counter)
        work = asyncio.create_task(rollups.advance(conn))
        await asyncio.wait({work}, timeout=after_s)
        await other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        with suppress(psycopg.Error):
            await work
