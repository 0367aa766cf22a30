"""What was stored too long ago goes, whatever time its device gave it, and is counted."""

from collections.abc import Mapping
from typing import Literal

import psycopg
import pytest
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.database.edition import detect_edition
from gateway.intake import Route
from gateway.maintenance.job import Done, Maintenance, Upkeep
from gateway.maintenance.retention import find_due, retire
from gateway.maintenance.sessions import connect
from gateway.maintenance.settings import MaintenanceSettings, ModelRetention, RetentionSettings
from gateway.store.quarantine import Wanted, request_replay
from tests.ingest.rig import Rig, reading, small_batches

DAY_S = 86_400.0
COUNTERS = "SELECT name, value FROM pipeline_counter WHERE name LIKE 'retired%%' ORDER BY name"


Rollups = Literal["own", "off"]


async def maintenance_of(
    rig: Rig, conn: AsyncConnection[TupleRow], rollups: Rollups = "own", **kept: object
) -> Maintenance:
    settings = MaintenanceSettings(rollups=rollups)
    retention = RetentionSettings.model_validate(kept)
    edition = await detect_edition(conn)
    log = structlog.get_logger()
    return Maintenance(Upkeep(rig.url, "default", rig.profiles, settings, retention, edition, rig.clock, log))


async def maintain(rig: Rig, rollups: Rollups = "own", **kept: object) -> Done:
    """A round of maintenance with these terms of retention."""
    async with await connect(rig.url) as conn:
        return await (await maintenance_of(rig, conn, rollups, **kept)).work(conn, with_retention=True)


async def test_it_goes_by_when_readings_were_stored(database_url: str) -> None:
    rig = Rig(database_url, settings=small_batches(100))
    async with rig.running():
        await rig.tell("k1", *(reading(-at * DAY_S, celsius=at / 10) for at in (1, 40, 400)))
    await maintain(rig)
    rig.clock.at_s += 50 * DAY_S
    later = Rig(database_url, settings=small_batches(100), clock=rig.clock)
    async with later.running():
        await later.tell("k1", reading(-500 * DAY_S, celsius=50), reading(-40 * DAY_S + 1, celsius=60))
    assert (await maintain(later, readings=60 * DAY_S)).retired == {}
    done = await maintain(later, readings=30 * DAY_S)
    assert done.retired == {"readings": 3}
    assert await later.rows("SELECT celsius FROM reading_kettle ORDER BY celsius") == [(50.0,), (60.0,)]
    assert await later.rows("SELECT sum(celsius_n), max(celsius_max) FROM usage_day_kettle") == [(5, 60.0)]
    assert await later.rows(COUNTERS) == [("retired_readings", 3)]


async def test_what_lies_alone_in_its_partition_goes_with_it(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await rig.tell("k1", *(reading(-at * DAY_S, celsius=at / 10) for at in range(100, 900, 10)))
    await maintain(rig)
    parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'reading_kettle'::regclass"
    ((before,),) = await rig.rows(parts)
    rig.clock.at_s += 50 * DAY_S
    async with await connect(database_url) as conn:
        work = await maintenance_of(rig, conn, readings=DAY_S, hourly=2 * DAY_S)
        due = await find_due(conn, work.terms)
        assert await rig.rows("SELECT count(*) FROM reading_kettle") == [(80,)]
    assert {one.purpose for one in due} == {"readings", "hourly"}
    assert all(one.is_whole and one.model == "kettle" for one in due)
    assert sum(one.rows for one in due if one.purpose == "readings") == 80
    assert (await maintain(rig, readings=DAY_S, hourly=2 * DAY_S)).retired == {"readings": 80, "hourly": 80}
    assert before > 3
    assert await rig.rows(parts) == [(0,)]
    assert await rig.rows("SELECT sum(readings) FROM usage_day_kettle") == [(80,)]
    again = Rig(database_url, clock=rig.clock)
    async with again.running():  # its partitions are made anew
        verdicts = await again.tell("k1", reading(-100 * DAY_S, celsius=1))
    assert verdicts[0].stored == 1


async def test_late_readings_find_their_rollup_again(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await rig.tell("k1", reading(-300 * DAY_S, celsius=1))
    async with await connect(database_url) as conn:
        job = await maintenance_of(rig, conn, readings=DAY_S, hourly=DAY_S, daily=DAY_S)
        await job.work(conn, with_retention=True)
        rig.clock.at_s += 10 * DAY_S
        done = await job.work(conn, with_retention=True)
        assert done.retired == {"readings": 1, "hourly": 1, "daily": 1}
        later = Rig(database_url, clock=rig.clock)
        async with later.running():
            await later.tell("k1", reading(-300 * DAY_S + 60, celsius=2))
        await job.work(conn, with_retention=True)
    assert await rig.rows("SELECT readings, celsius_last FROM usage_hour_kettle") == [(1, 2.0)]


async def test_a_pipeline_at_work_finds_its_partition_again(database_url: str) -> None:
    rig = Rig(database_url, settings=small_batches(1))
    async with rig.running():
        await rig.tell("k1", reading(-300 * DAY_S, celsius=1))
        await rig.tell("k1", reading(0, celsius=1))
        async with await rig.connect() as conn:
            await conn.execute("UPDATE detector_checkpoint SET batch_seq = 1000")
        await maintain(rig)
        rig.clock.at_s += 10 * DAY_S
        async with await rig.connect() as conn:
            await conn.execute(
                "INSERT INTO detector_checkpoint VALUES ('default', 63, 0, 1000, 0, '') ON CONFLICT DO NOTHING"
            )
        assert (await maintain(rig, readings=DAY_S)).retired == {"readings": 2}
        verdicts = await rig.tell("k1", reading(-300 * DAY_S + 5, celsius=1))
    assert verdicts[0].stored == 1


async def test_a_long_reader_keeps_a_partition_until_the_next_time(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with rig.running():
        await rig.tell("k1", reading(-300 * DAY_S, celsius=1))
    await maintain(rig)
    rig.clock.at_s += 10 * DAY_S
    async with await psycopg.AsyncConnection.connect(plain_database_url) as reader:
        await reader.execute("SELECT * FROM reading_kettle")
        assert (await maintain(rig, readings=DAY_S)).retired == {}
    assert (await maintain(rig, readings=DAY_S)).retired == {"readings": 1}


async def test_a_partition_that_another_round_has_let_go_meanwhile_is_nothing_to_do(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with rig.running():
        await rig.tell("k1", reading(-300 * DAY_S, celsius=1))
    await maintain(rig)
    rig.clock.at_s += 10 * DAY_S
    async with await connect(plain_database_url) as conn:
        terms = (await maintenance_of(rig, conn, readings=DAY_S)).terms
        (due,) = await find_due(conn, terms)
        assert [await retire(conn, terms, due) for _ in range(2)] == [1, 0]


async def test_models_have_terms_of_their_own(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await rig.tell("k1", reading(0, celsius=1))
        await rig.tell("a1", reading(0, volts=1))
    await maintain(rig)
    rig.clock.at_s += 10 * DAY_S
    models = [{"model": "kettle", "readings": 0}]
    assert (await maintain(rig, readings=DAY_S, models=models)).retired == {"readings": 1}
    assert await rig.rows("SELECT count(*) FROM reading_kettle") == [(1,)]


async def test_events_and_quarantine_have_theirs(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await rig.send(
            rig.packet("k1", {"ts": reading(0)["ts"], "code": "e"}, Route.EVENTS),
            rig.packet("k1", b"online", Route.STATUS),
        )
        await rig.tell("k1", b"{", b"[", {"metrics": {"celsius": 999}})
    await maintain(rig)
    rig.clock.at_s += 10 * DAY_S
    async with await rig.connect() as conn:
        ids = await rig.rows("SELECT quarantine_id FROM quarantine WHERE reason = 'out_of_range'")
        await request_replay(conn, Wanted(ids=(ids[0][0],)))
    done = await maintain(rig, events=DAY_S, quarantine=9 * DAY_S)
    assert done.retired == {"events": 2, "quarantine": 2}
    assert await rig.rows("SELECT reason FROM quarantine") == [("out_of_range",)]
    assert await rig.rows(COUNTERS) == [
        ("retired_events", 2),
        ("retired_quarantine", 2),
        ("retired_quarantine_malformed", 2),
    ]
    assert await rig.rows("SELECT value FROM pipeline_counter WHERE name = 'quarantined'") == [(3,)]


DELIVERED = """
INSERT INTO outbox_stream (tenant_id, endpoint, stream_key) VALUES ('default', 'e', 'c');
INSERT INTO outbox_message (message_id, tenant_id, stream_id, seq, type, body, state, settled_at)
SELECT 'msg_' || state, 'default', 1, n, 't', '', state, at
FROM (VALUES (1, 'delivered', to_timestamp(1759000000)), (2, 'dead', to_timestamp(1759000000)),
             (3, 'pending', NULL), (4, 'withdrawn', now() + interval '9 years')) AS m (n, state, at);
INSERT INTO delivery_attempt (tenant_id, message_id, lease_token, started_at)
SELECT 'default', message_id, 1, now() FROM outbox_message;
INSERT INTO callback_received VALUES ('default', 'e', 'w', to_timestamp(0), to_timestamp(1759000000), 't', 'c', '', 'x')
"""


async def test_deliveries_go_once_they_have_been_made(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with await rig.connect() as conn:
        await conn.execute(DELIVERED)
    assert (await maintain(rig, deliveries=5 * DAY_S)).retired == {"deliveries": 2}
    assert await rig.rows("SELECT state FROM outbox_message ORDER BY seq") == [("dead",), ("pending",), ("withdrawn",)]
    assert await rig.rows("SELECT count(*) FROM delivery_attempt") == [(3,)]


SAID = """
INSERT INTO owner_contact (tenant_id, owner_ref, contacted_at, source, reference, by_human)
SELECT 'default', 'own-1', to_timestamp(at), 'crm', at::text, true FROM unnest(ARRAY[0, 1759000000]) at;
INSERT INTO human_case (tenant_id, endpoint, external_id, owner_ref, opened_at, closed_at, told_at)
VALUES ('default', 'crm', 'open', 'own-1', to_timestamp(0), NULL, to_timestamp(0)),
       ('default', 'crm', 'closed', 'own-1', to_timestamp(0), to_timestamp(1), to_timestamp(1));
INSERT INTO owner_hold (tenant_id, owner_ref, kind, actor, why, since, told_at, until_at, released_at)
VALUES ('default', 'own-1', 'complaint', 'crm:a', '', to_timestamp(0), to_timestamp(0), NULL, NULL),
       ('default', 'own-1', 'complaint', 'crm:b', '', to_timestamp(0), to_timestamp(0), to_timestamp(9), NULL),
       ('default', 'own-1', 'complaint', 'crm:c', '', to_timestamp(0), to_timestamp(0), NULL, to_timestamp(9))
"""


async def test_what_was_said_of_owners_goes_once_nothing_depends_on_it(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with await rig.connect() as conn:
        await conn.execute(SAID)
    assert (await maintain(rig, owners=40 * DAY_S)).retired == {"owners": 4}
    assert await rig.rows("SELECT reference FROM owner_contact") == [("1759000000",)]
    assert await rig.rows("SELECT external_id FROM human_case") == [("open",)]
    assert await rig.rows("SELECT actor FROM owner_hold") == [("crm:a",)]


CAPTURED = """
INSERT INTO raw_message (tenant_id, device_id, slot, number, received_at, topic, payload, payload_bytes, stored,
                         duplicates, quarantined)
VALUES ('default', 'k1', 0, 0, now(), 't', 'x', 1, 1, 0, 0)
"""


@pytest.mark.parametrize("rollups", ["own", "off"])  # off: since a moment ago
async def test_removed_devices_are_erased_after_their_time(database_url: str, rollups: Rollups) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await rig.tell("k1", reading(0, celsius=1), reading(1, celsius=2), b"{")
        await rig.tell("k2", reading(0, celsius=1))
        await rig.send(rig.packet("k1", b"online", Route.STATUS))
    await maintain(rig)
    async with await rig.connect() as conn:
        await conn.execute(CAPTURED)
        await conn.execute("UPDATE device SET revoked_at = now() WHERE device_id = 'k1'")
        assert (await maintain(rig, removed_devices=DAY_S)).retired == {}
        await conn.execute("UPDATE device SET revoked_at = revoked_at - interval '2 days' WHERE device_id = 'k1'")
    assert (await maintain(rig, rollups, removed_devices=DAY_S)).retired == {"removed_devices": 1}
    for table in (
        "reading_kettle",
        "usage_hour_kettle",
        "usage_day_kettle",
        "quarantine",
        "device_status",
        "raw_message",
    ):
        found = await rig.rows(f"SELECT device_id FROM {table}")  # noqa: S608 - names of ours
        assert ("k1",) not in found, table
    assert await rig.rows("SELECT device_id FROM usage_day_kettle") == [("k2",)]
    assert await rig.rows("SELECT device_id, readings FROM erased_device") == [("k1", 2)]
    assert (await maintain(rig, removed_devices=DAY_S)).retired == {}


@pytest.mark.parametrize(
    ("kept", "ok"),
    [
        ({"readings": 10, "hourly": 10}, True),
        ({"readings": 10, "daily": 5}, False),
        ({"hourly": 10}, False),
        ({"readings": 10, "hourly": 20, "models": [{"model": "m", "readings": 30}]}, False),
    ],
)
def test_rollups_are_kept_as_long_as_readings(kept: Mapping[str, object], *, ok: bool) -> None:
    if ok:
        assert RetentionSettings.model_validate(kept).of("m") == ModelRetention(
            model="m", readings=10, hourly=10, daily=0
        )
    else:
        with pytest.raises(ValueError, match="at least as long"):
            RetentionSettings.model_validate(kept)
