"""Readings go in through the pipeline and are stored once, judged once and acknowledged after that."""

import pytest

from devices.errors import QuarantineReason
from gateway.intake import Kept, Route, Verdict
from tests.ingest.rig import NOW_S, Rig, reading


async def test_a_reading_is_stored_and_settled(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        verdicts = await rig.tell("k1", reading(0, celsius=20.5, boils=3))
        rows = await rig.rows(
            "SELECT device_id, extract(epoch FROM ts), celsius, boils, extra, batch_seq FROM reading_kettle"
        )
    assert verdicts[0].stored == 1
    assert [(row[0], float(row[1]), *row[2:]) for row in rows] == [("k1", NOW_S, 20.5, 3.0, None, 1)]
    assert rig.recorder.told() == {"k1": [["reading", NOW_S, {"celsius": 20.5, "boils": 3.0}, 0.0]]}


async def test_what_is_told_again_is_a_duplicate(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20.5), reading(1, celsius=21))
        again = await rig.tell("k1", reading(0, celsius=20.5), reading(1, celsius=21), reading(2, celsius=22))
        rows = await rig.rows("SELECT count(*) FROM reading_kettle")
    assert [(verdict.stored, verdict.duplicates) for verdict in again] == [(0, 1), (0, 1), (1, 0)]
    assert rows == [(3,)]
    assert len(rig.recorder.told()["k1"]) == 3


async def test_absent_metrics_fill_in_and_different_values_are_a_conflict(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20.5))
        filled = await rig.tell("k1", reading(0, boils=3, ph=7))
        conflict = await rig.tell("k1", reading(0, celsius=99, boils=3))
        rows = await rig.rows("SELECT celsius, boils, extra FROM reading_kettle")
        quarantine = await rig.rows("SELECT device_id, reason, detail FROM quarantine")
    assert filled[0].filled == 1
    assert (conflict[0].quarantined, conflict[0].reason) == (1, QuarantineReason.CONFLICT)
    assert rows == [(20.5, 3.0, {"ph": 7.0})]
    assert quarantine == [("k1", "conflict", "celsius is stored as 20.5 for this time; told as 99.0")]
    assert [entry[2] for entry in rig.recorder.told()["k1"]] == [{"celsius": 20.5}, {"boils": 3.0}]


async def test_what_a_broker_had_kept_without_a_time_is_of_no_known_moment(database_url: str) -> None:
    verdicts: list[Verdict] = []
    async with Rig(database_url, devices={"k1": "kettle", "a1": None}).running() as rig:
        for _ in range(2):  # as at each start
            verdicts = await rig.send(
                *(
                    bunch._replace(origin=Kept(bunch.origin))
                    for bunch in (
                        rig.packet("k1", {"metrics": {"boils": 3}}),
                        rig.packet("k1", [reading(0, boils=3), {"metrics": {"boils": 4}}]),
                        rig.packet("a1", {"code": "boiled_dry"}, Route.EVENTS),
                        rig.packet("a1", b"online", Route.STATUS),
                    )
                )
            )
        rig.clock.at_s += 60
        await rig.tell("k1", {"metrics": {"boils": 3}})
        boils = await rig.rows("SELECT boils, ts = received_at FROM reading_kettle ORDER BY ts")
        kept = await rig.rows("SELECT device_id, reason, raw, seen FROM quarantine ORDER BY device_id, raw")
        events = await rig.rows("SELECT count(*) FROM device_event")
    assert [(verdict.quarantined, verdict.duplicates) for verdict in verdicts] == [(1, 0), (1, 1), (1, 0), (0, 0)]
    assert sorted(boils) == [(3.0, False), (3.0, True)], "with a time once, and what is of now"
    assert kept == [
        ("a1", "bad_timestamp", b'{"code": "boiled_dry"}', 2),
        ("k1", "bad_timestamp", b'{"metrics": {"boils": 3}}', 2),
        ("k1", "bad_timestamp", b'{"metrics": {"boils": 4}}', 2),
    ]
    assert events == [(0,)]


async def test_alarms_reach_the_crm_side_in_the_same_transaction(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20.5), reading(60, celsius=95))
        alarms = await rig.rows("SELECT device_id, watch, state, events, extract(epoch FROM started_at) FROM alarm")
        events = await rig.rows("SELECT n, event FROM alarm_event")
        inbox = await rig.rows("SELECT device_id, event FROM inbox")
    assert [(*row[:4], float(row[4])) for row in alarms] == [("k1", "celsius-high", "active", 1, NOW_S + 60)]
    assert events == [(1, "raised")]
    assert inbox == [("k1", "raised")]
    assert rig.told_crm == 1


async def test_events_births_and_wills_are_stored_once(database_url: str) -> None:
    event = {"ts": round(NOW_S * 1000), "code": "boiled_dry", "data": {"minutes": 3}}
    async with Rig(database_url).running() as rig:
        await rig.send(rig.packet("k1", event, Route.EVENTS), rig.packet("k1", b"online", Route.STATUS))
        again = await rig.send(rig.packet("k1", event, Route.EVENTS), rig.packet("k1", b"offline", Route.STATUS))
        events = await rig.rows("SELECT code, seq, data FROM device_event")
        statuses = await rig.rows("SELECT code FROM device_status ORDER BY batch_seq, batch_row")
    assert (again[0].duplicates, again[1].stored) == (1, 1)
    assert events == [("boiled_dry", None, {"minutes": 3})]
    assert statuses == [("online",), ("offline",)]


async def test_readings_of_any_time_can_be_stored(database_url: str) -> None:
    moments = ["1970-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z", "2010-01-01T00:00:00Z", "2025-02-28T12:00:00Z"]
    async with Rig(database_url).running() as rig:
        verdicts = await rig.tell("k1", *({"ts": moment, "metrics": {"celsius": 1}} for moment in moments))
        rows = await rig.rows("SELECT count(*) FROM reading_kettle")
    assert [verdict.stored for verdict in verdicts] == [1, 1, 1, 1]
    assert rows == [(4,)]


async def test_clockless_readings_received_in_one_microsecond_stay_apart(database_url: str) -> None:
    async with Rig(database_url).running() as rig:
        verdicts = await rig.tell("k1", {"metrics": {"celsius": 1}}, {"metrics": {"celsius": 2}})
        rows = await rig.rows("SELECT celsius, ts = received_at FROM reading_kettle ORDER BY ts")
    assert [verdict.stored for verdict in verdicts] == [1, 1]
    assert rows == [(1.0, True), (2.0, True)]


@pytest.mark.parametrize(
    "broken",
    [
        b"ALTER TABLE watch_trust RENAME TO gone",
        b"ALTER TABLE cohort_state RENAME TO gone",
        b"ALTER TABLE cohort_state ADD CHECK (state = '') NOT VALID",
    ],
    ids=["what it reads first", "what it reads then", "what it writes"],
)
async def test_what_looks_across_the_fleet_costs_no_reading_and_no_alarm_where_it_fails(
    database_url: str, broken: bytes
) -> None:
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20.5))
        async with await rig.connect() as conn:
            await conn.execute(broken)
        verdicts = await rig.tell("k1", reading(60, celsius=95))
        alarms = await rig.rows("SELECT device_id, watch, state FROM alarm")
        inbox = await rig.rows("SELECT device_id, event FROM inbox")
        counted = await rig.rows("SELECT value FROM pipeline_counter WHERE name = 'stored'")
        batches = await rig.rows("SELECT count(*) FROM batch")
    assert verdicts[0].stored == 1
    assert alarms == [("k1", "celsius-high", "active")]
    assert inbox == [("k1", "raised")]
    assert counted == [(2,)]
    assert batches == [(2,)]
