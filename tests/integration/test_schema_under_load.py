"""New metrics get their columns while devices send and people read, and nobody waits for anybody."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from psycopg import AsyncConnection, sql

from devices.profiles.model import Metric, MetricKind, Profile
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import KETTLE, PROFILES, Rig, reading
from tests.integration.test_rollups import roll_up

OFTEN = PipelineSettings(
    batch=BatchSettings(max_readings=200, max_age=0.01), ingest=IngestSettings.model_validate({"checkpoint_every": 0.2})
)


def wider(*metrics: str) -> dict[str, Profile]:
    """The profiles after the kettles have learnt something."""
    more = {name: Metric(kind=MetricKind.GAUGE, minimum=0.0, maximum=14.0) for name in metrics}
    return {**PROFILES, "kettle": KETTLE.model_copy(update={"metrics": {**KETTLE.metrics, **more}})}


@asynccontextmanager
async def long_reader(url: str, table: str) -> AsyncGenerator[None]:
    """Somebody who began to read and has not finished."""
    async with await AsyncConnection.connect(url) as reader:
        await reader.execute(sql.SQL("TABLE {}").format(sql.Identifier(table)))
        yield


async def test_a_long_reader_keeps_no_gateway_from_starting(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20))
    later = Rig(database_url, profiles=wider("ph"), settings=OFTEN)
    async with long_reader(database_url, "reading_kettle"), later.running():
        verdicts = await later.tell("k1", reading(1, celsius=20, ph=7), reading(1, ph=7), reading(1, ph=8))
        assert [(one.stored, one.duplicates, one.quarantined) for one in verdicts] == [
            (1, 0, 0),
            (0, 1, 0),
            (0, 0, 1),
        ]
        assert await later.rows("SELECT count(*) FROM reading_kettle") == [(2,)]  # another reader goes before none
        assert "ph" not in later.store.tables["kettle"].metrics
    again = Rig(database_url, profiles=wider("ph"), settings=OFTEN)
    async with again.running():
        assert "ph" in again.store.tables["kettle"].metrics


async def test_the_column_comes_as_soon_as_the_reader_has_gone(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20))
    later = Rig(database_url, profiles=wider("ph", "ec"), settings=OFTEN)
    reader = long_reader(database_url, "reading_kettle")
    await reader.__aenter__()
    async with later.running():
        await later.tell("k1", reading(1, ph=7, ec=1))
        await reader.__aexit__(None, None, None)
        await later.until(lambda: {"ph", "ec"} <= set(later.store.tables["kettle"].metrics))
        await later.tell("k1", reading(2, ph=8), reading(1, ph=7))
        await roll_up(later)
        rows = await later.rows("SELECT ph, extra FROM reading_kettle ORDER BY ts")
        usage = await later.rows("SELECT ph_n, ph_sum, ec_n FROM usage_day_kettle")
    assert rows == [(None, None), (None, {"ec": 1.0, "ph": 7.0}), (8.0, None)]
    assert usage == [(2, 15.0, 1)]


async def test_a_metric_that_waits_for_its_column_has_its_range_already(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20))
    later = Rig(database_url, profiles=wider("ph"), settings=OFTEN)
    async with long_reader(database_url, "reading_kettle"), later.running():
        verdicts = await later.tell("k1", reading(1, ph=7), reading(2, ph=15), reading(3, ph=-0.1), reading(4, odd=99))
        assert "ph" not in later.store.tables["kettle"].metrics
        rows = await later.rows("SELECT extra FROM reading_kettle ORDER BY ts")
        refused = await later.rows("SELECT reason, detail FROM quarantine ORDER BY quarantine_id")
    assert [(one.stored, one.quarantined) for one in verdicts] == [(1, 0), (0, 1), (0, 1), (1, 0)]
    assert rows == [(None,), ({"ph": 7.0},), ({"odd": 99.0},)]
    assert refused == [
        ("out_of_range", "ph is 15.0; physically it lies in [0.0, 14.0]"),
        ("out_of_range", "ph is -0.1; physically it lies in [0.0, 14.0]"),
    ]


async def test_promotion_waits_for_nobody(database_url: str) -> None:
    rig = Rig(database_url, settings=OFTEN)
    async with rig.running():
        await rig.tell("a1", reading(0, volts=1.0))
        async with long_reader(database_url, "reading_automatic"):
            await rig.tell("a1", [reading(at + 1, volts=1.0) for at in range(1200)])
            verdicts = await rig.tell("a1", reading(5000, volts=2.0))
            assert verdicts[0].stored == 1
            assert "volts" not in rig.store.tables["automatic"].metrics
        await rig.until(lambda: "volts" in rig.store.tables["automatic"].metrics)
        await rig.tell("a1", reading(5001, volts=3.0))
        rows = await rig.rows("SELECT volts, extra FROM reading_automatic ORDER BY ts DESC LIMIT 2")
    assert rows == [(3.0, None), (None, {"volts": 2.0})]


@pytest.mark.parametrize("rounds", [8])
async def test_columns_come_while_devices_send_and_people_read(database_url: str, rounds: int) -> None:
    rig = Rig(database_url, settings=OFTEN)
    is_over = asyncio.Event()

    async def read() -> int:
        reads = 0
        async with await rig.connect() as conn:
            while not is_over.is_set():
                await conn.execute("SELECT count(*), max(extra::text) FROM reading_automatic")
                await conn.execute("SELECT device_id, bucket FROM usage_hour_automatic")
                reads += 1
                await asyncio.sleep(0.002)
        return reads

    async with rig.running():
        await roll_up(rig)
        readers = [asyncio.create_task(read()) for _ in range(2)]
        for number in range(rounds):
            told = [reading(2000.0 * number + at, **{f"m{number}": 1.0}) for at in range(1000)]
            await rig.tell("a1", told, reading(2000.0 * number + 1500, **{f"m{number}": 2.0}))
            await roll_up(rig)
        await rig.until(lambda: len(rig.store.tables["automatic"].metrics) == rounds)
        is_over.set()
        reads = await asyncio.gather(*readers)
        await roll_up(rig)
        stored = await rig.rows("SELECT count(*) FROM reading_automatic")
        rolled = await rig.rows("SELECT sum(readings) FROM usage_hour_automatic")
    assert all(reads)
    assert stored == rolled == [(1001 * rounds,)]
