"""Usage rollups say what the stored readings say, however late those came, and whatever was interrupted."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from devices.profiles.model import Metric, MetricKind
from gateway.maintenance.rollups import OwnRollups, restart_rollups
from gateway.maintenance.sessions import connect
from tests.ingest.rig import KETTLE, PROFILES, Rig, reading

HOUR_S = 3600.0
DAY_S = 86_400.0
Row = dict[str, object]


async def roll_up(rig: Rig) -> None:
    """What the maintenance job does."""
    rollups = OwnRollups(rig.profiles, time.perf_counter)
    async with await connect(rig.url) as conn:
        while await rollups.advance(conn):
            pass


async def rows_of(rig: Rig, query: str) -> list[Row]:
    async with await rig.connect() as conn, conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(query.encode())).fetchall()


def rise_of(values: Sequence[float]) -> float:
    """What a counter rose by: a fall to less than half is a reset."""
    rise = 0.0
    for before, value in pairwise(values):
        rise += value - before if value >= before else value if value < before / 2 else 0.0
    return rise


def expected(rows: Iterable[Row], width: timedelta, metrics: Sequence[str], counters: Sequence[str]) -> list[Row]:
    """The rollup of stored readings, computed the slow way."""
    buckets: dict[tuple[str, datetime], list[Row]] = defaultdict(list)
    for row in rows:
        ts = row["ts"]
        assert isinstance(ts, datetime)
        start = ts.replace(minute=0, second=0, microsecond=0)
        buckets[str(row["device_id"]), start if width < timedelta(days=1) else start.replace(hour=0)].append(row)
    return [
        _expected(key, sorted(buckets[key], key=lambda row: str(row["ts"])), metrics, counters)
        for key in sorted(buckets)
    ]


def _expected(key: tuple[str, datetime], rows: list[Row], metrics: Sequence[str], counters: Sequence[str]) -> Row:
    found: Row = {
        "device_id": key[0],
        "bucket": key[1],
        "readings": len(rows),
        "first_ts": rows[0]["ts"],
        "last_ts": rows[-1]["ts"],
    }
    for metric in metrics:
        values = [float(str(row[metric])) for row in rows if row[metric] is not None]
        found[f"{metric}_n"] = len(values)
        found[f"{metric}_sum"] = pytest.approx(math.fsum(values)) if values else None
        found[f"{metric}_min"] = min(values, default=None)
        found[f"{metric}_max"] = max(values, default=None)
        found[f"{metric}_first"] = values[0] if values else None
        found[f"{metric}_last"] = values[-1] if values else None
        found[f"{metric}_rise"] = pytest.approx(rise_of(values)) if values and metric in counters else None
    return found


async def assert_true(rig: Rig, metrics: Sequence[str] = ("celsius", "boils")) -> None:
    """Compare both rollups of the kettles with the readings."""
    rows = await rows_of(rig, "SELECT * FROM reading_kettle")
    for table, width in (("usage_hour_kettle", timedelta(hours=1)), ("usage_day_kettle", timedelta(days=1))):
        found = await rows_of(rig, f'TABLE {table} ORDER BY device_id COLLATE "C", bucket')
        for row in found:
            del row["through_seq"]
        assert found == expected(rows, width, metrics, ("boils",)), table


async def test_hours_and_days_say_what_the_readings_say(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", *(reading(at * 1000.0 - 3 * DAY_S, celsius=20 + at % 7, boils=at) for at in range(200)))
        await rig.tell("k2", reading(5, celsius=1), reading(6, boils=9), reading(7, boils=2), reading(8, boils=1))
        await roll_up(rig)
        await assert_true(rig)
        assert await rig.rows("SELECT count(*) > 50, sum(readings) FROM usage_hour_kettle") == [(True, 204)]


async def test_later_readings_go_on_where_the_hour_ends(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        for at in range(6):
            await rig.tell(
                "k1", reading(at * 1500.0, celsius=at, boils=10 - 3 * at % 7), reading(at * 1500.0 + 9, celsius=-at)
            )
            await roll_up(rig)
        await assert_true(rig)


async def test_late_readings_and_fills_correct_their_hour_years_back(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        for at in range(48):
            await rig.tell("k1", reading((at - 40) * HOUR_S / 2 + 60, celsius=20, boils=at))
        await roll_up(rig)
        before = await rig.rows("SELECT * FROM usage_hour_kettle")
        years = 9 * 365 * DAY_S
        await rig.tell(
            "k1", reading(30, celsius=99), reading(HOUR_S + 70, boils=1), reading(-years, celsius=5, boils=1)
        )
        await rig.tell("k1", reading(-years - 60, celsius=4, boils=7))
        await roll_up(rig)
        await assert_true(rig)
        await rig.tell("k1", reading(-years, celsius=5), {"ts": reading(70)["ts"], "metrics": {"celsius": 1}})
        await rig.tell("k1", {"ts": reading(HOUR_S + 70)["ts"], "metrics": {"celsius": 3}})  # completes a stored one
        await roll_up(rig)
        await assert_true(rig)
        assert await rig.rows("SELECT count(*) FROM reading_fill") == [(1,)]
        after = await rig.rows("SELECT * FROM usage_hour_kettle")
    assert len(after) == len(before) + 1


async def test_a_checkpoint_forgets_no_fill_before_it_is_rolled_up(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await rig.tell("k1", reading(0, celsius=1))
        await roll_up(rig)
        await rig.tell("k1", reading(0, boils=2))
    async with Rig(database_url).running() as later:  # stopping has written a checkpoint
        await roll_up(later)
        await assert_true(later)


async def test_starting_anew_changes_nothing(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", *(reading(at * 500.0, celsius=at, boils=at) for at in range(50)), reading(60, celsius=7))
        await roll_up(rig)
        before = await rows_of(rig, "SELECT * FROM usage_day_kettle ORDER BY bucket")
        async with await rig.connect() as conn:
            await restart_rollups(conn, None)
        await roll_up(rig)
        await assert_true(rig)
        assert await rows_of(rig, "SELECT * FROM usage_day_kettle ORDER BY bucket") == before


async def test_a_new_metric_is_rolled_up_from_then_on(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20))
        await roll_up(rig)
    ph = Metric(kind=MetricKind.GAUGE)
    wider = KETTLE.model_copy(update={"metrics": {**KETTLE.metrics, "ph": ph}})
    async with Rig(database_url, profiles={**PROFILES, "kettle": wider}).running() as later:
        await later.tell("k1", reading(60, celsius=20, ph=7), reading(-DAY_S, ph=8))
        await roll_up(later)
        await assert_true(later, ("celsius", "boils", "ph"))


async def test_values_near_the_end_of_the_range_do_not_stop_it(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("a1", [reading(at, volts=1.7e308) for at in range(1000)], reading(5000, amps=-1.7e308))
        await rig.until(lambda: "volts" in rig.store.tables["automatic"].metrics)
        await rig.tell("a1", reading(2000, volts=1.7e308), reading(2001, volts=-1.7e308))
        await roll_up(rig)
        rows = await rig.rows("SELECT sum(volts_n), max(volts_max), min(volts_min) FROM usage_day_automatic")
    assert rows == [(1002, 1e290, -1e290)]


async def test_what_was_retired_is_remembered_by_its_rollup(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", *(reading(at * 600.0, celsius=10 + at, boils=at) for at in range(6)))
        await roll_up(rig)
        await rig.rows("DELETE FROM reading_kettle RETURNING 1")
        await rig.tell("k1", reading(300, celsius=100))
        await roll_up(rig)
        day = await rig.rows(
            "SELECT readings, celsius_n, celsius_min, celsius_max, celsius_first, boils_rise FROM usage_day_kettle"
        )
        hours = await rig.rows("SELECT sum(readings), max(celsius_max) FROM usage_hour_kettle")
        async with await rig.connect() as conn:
            await restart_rollups(conn, None)
        await roll_up(rig)
        assert await rig.rows("SELECT sum(readings), max(celsius_max) FROM usage_hour_kettle") == hours
    assert (day, hours) == ([(7, 7, 10.0, 100.0, 10.0, 5.0)], [(7, 100.0)])


Step = tuple[str, int, dict[str, int]] | None  # what a device tells, or that it is rolled up
told_steps: st.SearchStrategy[list[Step]] = st.lists(
    st.none()
    | st.tuples(
        st.sampled_from(["k1", "k2"]),
        st.integers(0, 40),
        st.dictionaries(st.sampled_from(["celsius", "boils"]), st.integers(0, 50), max_size=2),
    ),
    max_size=25,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=told_steps)
async def test_any_order_of_telling_and_rolling_up_comes_to_the_same(plain_database_url: str, told: list[Step]) -> None:
    await begin_anew(plain_database_url)
    async with Rig(plain_database_url).running() as rig:
        for step in told:
            if step is None:
                await roll_up(rig)
            else:
                await rig.tell(step[0], reading(step[1] * 1200.0, **step[2]))
        await roll_up(rig)
        await assert_true(rig)


async def begin_anew(url: str) -> None:
    """Leave nothing of the example before."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute("TRUNCATE device, detector_checkpoint, batch, reading_fill, quarantine CASCADE")
        found = await (await conn.execute("SELECT table_name FROM reading_table")).fetchall()
        found += await (await conn.execute("SELECT unnest(ARRAY[hour_table, day_table]) FROM rollup")).fetchall()
        for (table,) in found:
            await conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))
        await conn.execute("TRUNCATE reading_table, rollup")
