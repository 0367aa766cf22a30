"""Reading tables are made from profiles, and grow with them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

import numpy as np
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.profiles.model import Metric, MetricKind, Profile
from gateway.pipeline.columns import Columns
from gateway.store.readings import copy_readings, read_batches
from gateway.store.rows import NO_SEQ, Readings, ReadingTable
from gateway.store.store import Store
from tests.ingest.rig import KETTLE, PROFILES, Rig, reading

GAUGE = Metric(kind=MetricKind.GAUGE)


def profile(model: str, *metrics: str) -> Profile:
    return Profile(model=model, title=model, metrics=dict.fromkeys(metrics, GAUGE))


async def opened(url: str, *profiles: Profile) -> Store:
    store = Store(url, {each.model: each for each in profiles}, structlog.get_logger())
    await store.open()
    return store


async def test_a_new_metric_adds_a_column_and_keeps_what_is_stored(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20, ph=7))
    wider = KETTLE.model_copy(update={"metrics": {**KETTLE.metrics, "ph": GAUGE}})
    later = Rig(database_url, profiles={**PROFILES, "kettle": wider})
    async with later.running():
        verdicts = await later.tell("k1", reading(0, ph=7), reading(0, ph=8), reading(0, boils=3), reading(1, ph=6))
    rows = await later.rows("SELECT celsius, boils, ph, extra FROM reading_kettle ORDER BY ts")
    assert [(one.duplicates, one.quarantined, one.filled, one.stored) for one in verdicts] == [
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
    ]
    assert rows == [(20.0, 3.0, None, {"ph": 7.0}), (None, None, 6.0, None)]


async def test_any_name_of_a_metric_can_be_stored(database_url: str) -> None:
    names = ["ts", "Extra", "extra", "ctid", "Water °C", 'a"b', "x" * 100, "batch_seq", "%s", "{}"]
    odd = profile("odd", *names)
    rig = Rig(database_url, profiles={**PROFILES, "odd": odd}, devices={"k1": "odd"})
    async with rig.running():
        told = reading(0, **{name: float(number) for number, name in enumerate(names)})
        verdicts = await rig.tell("k1", told, told, reading(1, ts=1.0), reading(1, **{"Water °C": 5.0, "%s": 1}))
    assert [(one.stored, one.duplicates, one.filled) for one in verdicts] == [
        (1, 0, 0),
        (0, 1, 0),
        (1, 0, 0),
        (0, 0, 1),
    ]
    assert rig.recorder.told()["k1"][0][2] == {name: float(number) for number, name in enumerate(names)}


async def test_models_whose_names_differ_in_a_dash_have_tables_of_their_own(database_url: str) -> None:
    store = await opened(database_url, profile("a-b", "x"), profile("a_b", "x"))
    names = {table.name for table in store.tables.all()}
    await store.close()
    assert len(names) == 2
    again = await opened(database_url, profile("a_b", "x"), profile("a-b", "x", "y"))
    assert {table.name for table in again.tables.all()} == names
    assert again.tables["a-b"].metrics == ("x", "y")
    await again.close()


async def test_two_gateways_may_make_tables_and_partitions_at_once(plain_database_url: str) -> None:
    stores = [Store(plain_database_url, PROFILES, structlog.get_logger()) for _ in range(2)]
    first = await stores[0].open()
    waiting = asyncio.create_task(stores[1].open())
    for year in range(2010, 2014):
        ts_us = np.array([np.datetime64(f"{year}-03-01", "us").astype(np.int64)])
        await stores[0].divider.make_room(first, "reading_kettle", ts_us)
    await stores[0].close()
    second = await waiting
    await stores[1].divider.make_room(
        second, "reading_kettle", np.array([np.datetime64("2010-03-05", "us").astype(np.int64)])
    )
    await stores[1].close()


async def test_frequent_metrics_of_unprofiled_devices_get_columns(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        backlog = [reading(at_s, volts=1.0) for at_s in range(1000)]
        await rig.tell("a1", backlog)
        await rig.until(lambda: "volts" in rig.store.tables["automatic"].metrics)
        verdicts = await rig.tell(
            "a1", reading(0, volts=1.0), reading(1, volts=2.0), reading(2, amps=1), reading(5000, volts=3.0)
        )
        rows = await rig.rows("SELECT volts, extra FROM reading_automatic ORDER BY ts DESC LIMIT 1")
        old = await rig.rows("SELECT volts, extra FROM reading_automatic ORDER BY ts LIMIT 1")
    assert [(one.stored, one.duplicates, one.filled, one.quarantined) for one in verdicts] == [
        (0, 1, 0, 0),
        (0, 0, 0, 1),
        (0, 0, 1, 0),
        (1, 0, 0, 0),
    ]
    assert (rows, old) == ([(3.0, None)], [(None, {"volts": 1.0})])


@pytest.fixture
async def store(plain_database_url: str) -> AsyncGenerator[Store]:
    found = Store(plain_database_url, PROFILES, structlog.get_logger())
    await found.open()
    yield found
    await found.close()


numbers = st.floats(allow_nan=False, allow_infinity=False)
told_readings = st.lists(
    st.tuples(
        st.text("abcXYZ019_-", min_size=1, max_size=64),
        st.integers(0, 253_402_300_799_999_999),
        st.one_of(st.just(NO_SEQ), st.integers(0, 2**63 - 1)),
        st.dictionaries(st.sampled_from(["celsius", "boils", "ph", "°"]), numbers, max_size=4),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one[:2],
)


def as_readings(table: ReadingTable, told: list[tuple[str, int, int, Mapping[str, float]]]) -> Readings:
    columns = Columns(table)
    for row, (device_id, ts_us, seq, metrics) in enumerate(told):
        columns.put_values(metrics)
        columns.device.append(columns.index_of.setdefault(device_id, len(columns.index_of)))
        columns.ts_us.append(ts_us)
        columns.received_us.append(ts_us)
        columns.seq.append(seq)
        columns.packet.append(row)
        columns.element.append(0)
    found, _ = columns.finish()
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=told_readings)
async def test_what_is_copied_in_reads_back_the_same(
    store: Store, told: list[tuple[str, int, int, Mapping[str, float]]]
) -> None:
    conn, table = await store.connection(), store.tables["kettle"]
    await conn.execute("TRUNCATE reading_kettle")
    sent = as_readings(table, told)
    await store.divider.make_room(conn, table.name, sent.ts_us)
    await copy_readings(conn, sent, 7)
    back = await read_batches(conn, table, 6, 7)
    seqs = await (await conn.execute("SELECT coalesce(seq, -1) FROM reading_kettle ORDER BY batch_row")).fetchall()
    found = back.readings
    assert [found.device_id(row) for row in range(len(found))] == [one[0] for one in told]
    assert found.ts_us.tolist() == sent.ts_us.tolist()
    assert [row[0] for row in seqs] == [one[2] for one in told]
    np.testing.assert_array_equal(found.values, sent.values)
    assert found.extra == sent.extra
