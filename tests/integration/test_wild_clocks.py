"""A device whose clock runs wild costs the others nothing, and the catalogue little."""

import random
import time
from datetime import UTC, datetime

import pytest

from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import NOW_S, HandClock, Rig, reading
from tests.integration.test_rollups import roll_up

EPOCH_S = 0.0
END_S = datetime(9999, 12, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(("until_s", "most"), [(NOW_S, 130), (END_S, 500)], ids=["past", "any"])
async def test_a_thousand_random_years_make_few_partitions(database_url: str, until_s: float, most: int) -> None:
    ingest = IngestSettings.model_validate({"far_future": "4000000d"})
    rig = Rig(
        database_url, settings=PipelineSettings(batch=BatchSettings(max_readings=200, max_age=0.01), ingest=ingest)
    )
    dice = random.Random(7)
    async with rig.running():
        lies = [reading(dice.uniform(EPOCH_S, until_s) - NOW_S, celsius=1, boils=2) for _ in range(1000)]
        told = [reading(-60.0 * number, celsius=20) for number in range(1000)]
        packets = [
            packet
            for lie, true in zip(lies, told, strict=True)
            for packet in (rig.packet("k1", lie), rig.packet("k2", true))
        ]
        verdicts = await rig.send(*packets)
        again = await rig.send(*(rig.packet("k1", lie) for lie in lies))
        parts = await rig.rows("SELECT count(*) FROM pg_inherits WHERE inhparent = 'reading_kettle'::regclass")
        await roll_up(rig)
        stored = await rig.rows(
            "SELECT device_id, count(*), count(DISTINCT ts) FROM reading_kettle GROUP BY 1 ORDER BY 1"
        )
        rolled = await rig.rows("SELECT device_id, sum(readings) FROM usage_day_kettle GROUP BY 1 ORDER BY 1")
    assert all(verdict.stored == 1 for verdict in verdicts)
    assert all(verdict.duplicates == 1 for verdict in again)
    assert stored == [("k1", 1000, 1000), ("k2", 1000, 1000)]
    assert rolled == [("k1", 1000), ("k2", 1000)]
    assert parts[0][0] <= most


async def test_wide_chunks_leave_those_of_the_present_as_they_are(timescale_database_url: str) -> None:
    rig = Rig(timescale_database_url, clock=HandClock(time.time()))  # chunks go by the world's clock
    ahead_s = rig.clock.at_s - NOW_S
    days = [-3.0, -700.0, -720.0, -3000.0, -3001.0, -9000.0, -9500.0]
    async with rig.running():
        for day in days:
            await rig.tell("k1", reading(ahead_s + day * 86_400, celsius=1))
        await rig.tell("k1", reading(ahead_s, celsius=1))
        chunks = await rig.rows(
            "SELECT extract(day FROM range_end - range_start)::int FROM timescaledb_information.chunks"
            " WHERE hypertable_name = 'reading_kettle' ORDER BY range_start"
        )
        width = await rig.rows(
            "SELECT time_interval FROM timescaledb_information.dimensions WHERE hypertable_name = 'reading_kettle'"
        )
        left = await rig.rows("SELECT count(*) FROM reading_kettle WHERE device_id = ''")
    assert [row[0] for row in chunks[-1:]] == [7]
    assert max(row[0] for row in chunks) == 3640
    assert len(chunks) < len(days) + 1
    assert (width[0][0].days, left) == (7, [(0,)])
