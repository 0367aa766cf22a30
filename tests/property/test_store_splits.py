"""However a stream of readings is cut into batches, the same table comes out, and each reading the same fate."""

from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.pipeline.columns import Columns
from gateway.store.readings import store_readings
from gateway.store.rows import NO_SEQ, Fate, Readings, ReadingTable
from gateway.store.store import Store
from tests.ingest.rig import PROFILES

Told = tuple[str, int, dict[str, float]]

METRICS = ("celsius", "boils", "ph")
told_reading = st.tuples(
    st.sampled_from(["k1", "kettle-number-2"]),
    st.sampled_from([0, 1_760_000_000_123_456, 253_402_300_799_999_999]),
    st.dictionaries(st.sampled_from(METRICS), st.sampled_from([0.0, 1.5, -2.25]), max_size=3),
)


def readings_of(table: ReadingTable, told: Sequence[Told]) -> Readings:
    columns = Columns(table)
    for row, (device_id, ts_us, metrics) in enumerate(told):
        columns.put_values(metrics)
        columns.device.append(columns.index_of.setdefault(device_id, len(columns.index_of)))
        columns.ts_us.append(ts_us)
        columns.received_us.append(1_760_000_000_000_000)
        columns.seq.append(row if row % 2 else NO_SEQ)
        columns.packet.append(row)
        columns.element.append(0)
    return columns.finish()[0]


def expected(told: Sequence[Told]) -> tuple[dict[tuple[str, int], dict[str, float]], list[Fate]]:
    """What one reading after the other makes of the table."""
    table: dict[tuple[str, int], dict[str, float]] = {}
    fates: list[Fate] = []
    for device_id, ts_us, metrics in told:
        known = table.get((device_id, ts_us))
        if known is None:
            table[device_id, ts_us] = dict(metrics)
            fates.append(Fate.NEW)
        elif any(known.get(name, value) != value for name, value in metrics.items()):
            fates.append(Fate.CONFLICT)
        else:
            fates.append(Fate.FILL if metrics.keys() - known.keys() else Fate.DUPLICATE)
            known.update(metrics)
    return table, fates


@pytest.fixture
async def store(database_url: str) -> AsyncGenerator[Store]:
    opened = Store(database_url, PROFILES, structlog.get_logger())
    await opened.open()
    yield opened
    await opened.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(told_reading, max_size=14), cuts=st.sets(st.integers(1, 13)), expect=st.booleans())
async def test_any_split_gives_the_same_table(store: Store, told: list[Told], cuts: set[int], *, expect: bool) -> None:
    conn = await store.connection()
    await conn.execute("TRUNCATE reading_kettle")
    table = store.tables["kettle"]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(told)), len(told)]
    fates: list[int] = []
    for batch_seq, (start, end) in enumerate(pairwise(bounds), 1):
        if start == end:
            continue
        readings = readings_of(table, told[start:end])
        await store.divider.make_room(conn, table.name, readings.ts_us)
        async with conn.transaction():
            stored = await store_readings(conn, readings, batch_seq, expect_duplicates=expect)
        fates += stored.fates.tolist()
    cursor = await conn.execute(
        "SELECT device_id, (extract(epoch FROM ts) * 1000000)::bigint, celsius, boils, extra FROM reading_kettle"
    )
    found: dict[tuple[str, int], dict[str, float]] = {
        (row[0], row[1]): {
            **{name: value for name, value in zip(METRICS, row[2:4], strict=False) if value is not None},
            **(row[4] or {}),
        }
        for row in await cursor.fetchall()
    }
    assert (found, fates) == expected(told)
