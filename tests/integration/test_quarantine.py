"""What cannot be stored goes into quarantine with a reason and its bytes, and comes out again when asked."""

import hashlib
import json

import pytest

from devices.errors import QuarantineReason
from devices.ids import partition_of
from devices.payloads import Bad, DecodedEvent, DecodedReading
from devices.registry.model import Device
from devices.registry.queries import register_device
from gateway.doors.routes import RoutePattern, RouteRule, Routes
from gateway.intake import Bunch, Route, Verdict
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from gateway.store.quarantine import Stage, Wanted, list_entries, request_replay
from tests.ingest.rig import NOW_S, Rig, reading

FUTURE = {"ts": round((NOW_S + 2 * 86_400) * 1000), "metrics": {"celsius": 20}}

REFUSED = [
    (b"{", QuarantineReason.MALFORMED),
    (b'{"metrics": {"celsius": "hot"}}', QuarantineReason.WRONG_TYPE),
    (b'{"metrics": {"celsius": NaN}}', QuarantineReason.NOT_A_NUMBER),
    (b'{"metrics": {"celsius": 131}}', QuarantineReason.OUT_OF_RANGE),
    (b'{"metrics": {"celsius": -21}}', QuarantineReason.OUT_OF_RANGE),
    (b'{"ts": "yesterday", "metrics": {"celsius": 20}}', QuarantineReason.BAD_TIMESTAMP),
    (json.dumps(FUTURE).encode(), QuarantineReason.FAR_FUTURE),
    (b'{"metrics": {"celsius": 20}}' + b" " * 2000, QuarantineReason.OVERSIZED),
]


def settings(*, unknown_device: str = "quarantine") -> PipelineSettings:
    ingest = IngestSettings.model_validate({"unknown_device": unknown_device, "max_payload_bytes": 2000})
    return PipelineSettings(batch=BatchSettings(max_readings=100, max_age=0.01), ingest=ingest)


@pytest.mark.parametrize(("payload", "reason"), REFUSED, ids=[reason.value for _, reason in REFUSED])
async def test_each_reason_keeps_the_bytes(plain_database_url: str, payload: bytes, reason: QuarantineReason) -> None:
    async with Rig(plain_database_url, settings=settings()).running() as rig:
        verdicts = await rig.send(rig.packet("k1", payload), rig.packet("k1", reading(0, celsius=20)))
        rows = await rig.rows("SELECT device_id, topic, codec, reason, raw, digest, seen FROM quarantine")
        counters = await rig.rows("SELECT device_id, name, value FROM device_counter")
    assert (verdicts[0].quarantined, verdicts[0].reason) == (1, reason)
    assert verdicts[1] == Verdict(stored=1)
    digest = hashlib.sha256(payload).digest()
    assert rows == [("k1", "devices/k1/telemetry", "json", reason, payload, digest, 1)]
    assert counters == [("k1", "quarantined", 1)]
    assert rig.pipeline.stats.quarantined == {reason: 1}


async def test_one_bad_reading_of_a_backlog_costs_itself(database_url: str) -> None:
    backlog = [reading(0, celsius=20), reading(1, celsius=500), reading(2, celsius=21), reading(1, celsius=501)]
    async with Rig(database_url, settings=settings()).running() as rig:
        verdicts = await rig.tell("k1", backlog)
        rows = await rig.rows("SELECT raw FROM quarantine ORDER BY quarantine_id")
    assert (verdicts[0].stored, verdicts[0].quarantined) == (2, 2)
    assert sorted(json.loads(row[0])["metrics"]["celsius"] for row in rows) == [500, 501]


async def test_the_same_bytes_are_kept_once_and_counted(database_url: str) -> None:
    async with Rig(database_url, settings=settings()).running() as rig:
        await rig.tell("k1", b"{", b"{", b"[")
        await rig.tell("k1", b"{")
        rows = await rig.rows("SELECT raw, seen FROM quarantine ORDER BY raw")
    assert rows == [(b"[", 1), (b"{", 3)]


async def test_unknown_topics_and_devices_are_kept_too(database_url: str) -> None:
    async with Rig(database_url, settings=settings()).running() as rig:
        verdicts = await rig.send(rig.packet("k1", b"x", Route.UNKNOWN), rig.packet("stranger", reading(0, celsius=20)))
    assert [verdict.reason for verdict in verdicts] == [
        QuarantineReason.UNKNOWN_TOPIC,
        QuarantineReason.UNKNOWN_DEVICE,
    ]


async def test_a_topic_with_another_partition_says_which_it_should_have(plain_database_url: str) -> None:
    pattern = RoutePattern.parse("devices/{partition}/{device_id}/telemetry")
    routes = Routes([RouteRule(pattern, Route.TELEMETRY, "json", checks_partition=True)])
    topic = "devices/x/k1/telemetry"
    async with Rig(plain_database_url, settings=PipelineSettings(misplaced=routes.misplaced)).running() as rig:
        (verdict,) = await rig.send(rig.packet("k1", reading(0, celsius=20), Route.UNKNOWN)._replace(topic=topic))
    assert verdict.reason == QuarantineReason.UNKNOWN_TOPIC
    assert verdict.detail == f"the level {{partition}} of this topic must be {partition_of('k1')} for k1"


async def test_unknown_devices_are_registered_where_the_policy_says_so(database_url: str) -> None:
    async with Rig(database_url, settings=settings(unknown_device="register")).running() as rig:
        verdicts = await rig.tell("stranger", reading(0, celsius=20, volts=3))
        stored = await rig.rows("SELECT device_id, extra FROM reading_automatic")
        known = await rig.rows("SELECT source, model FROM device WHERE device_id = 'stranger'")
    assert verdicts[0].stored == 1
    assert stored == [("stranger", {"celsius": 20.0, "volts": 3.0})]
    assert known == [("auto", None)]


async def test_a_device_registered_behind_our_back_is_found(database_url: str) -> None:
    rig = Rig(database_url, settings=settings())
    async with rig.running():
        rig.directory.remove("k2")
        verdicts = await rig.tell("k2", reading(0, celsius=20))
    assert verdicts[0].stored == 1


async def test_a_replay_brings_in_what_can_be_stored_now(database_url: str) -> None:
    async with Rig(database_url, settings=settings()).running() as rig:
        await rig.tell("k1", FUTURE, b"{")
        rig.clock.at_s += 2 * 86_400
        async with await rig.connect() as conn:
            asked = await request_replay(conn, Wanted(stage=Stage.OPEN))
        assert len(asked) == 2
        replayed = "SELECT count(*) FROM quarantine WHERE replayed_at IS NOT NULL AND replay_requested_at IS NULL"
        await rig.until_rows(replayed, [(2,)])
        async with await rig.connect() as conn:
            entries = await list_entries(conn, Wanted())
            left = await list_entries(conn, Wanted(stage=Stage.OPEN))
        stored = await rig.rows("SELECT celsius FROM reading_kettle")
    assert {entry.reason: entry.outcome for entry in entries} == {"far_future": "stored", "malformed": "quarantined"}
    assert [entry.reason for entry in left] == ["malformed"]
    assert stored == [(20.0,)]


class CarelessCodec:
    """A codec that lets through what no database takes."""

    name = "json"

    def decode_readings(self, payload: bytes) -> list[DecodedReading | Bad]:
        """Whatever it says; it fails on `boom`."""
        if payload == b"boom":
            raise ValueError(payload)
        return [
            DecodedReading(json.loads(payload)["ts"] * 1000, None, None, {"a\0b" if b"nul" in payload else "c": 1.0})
        ]

    def decode_events(self, payload: bytes) -> list[DecodedEvent | Bad]:
        """One event, its data as it comes."""
        return [DecodedEvent(1_000_000, None, "x", payload)]


async def test_what_the_database_refuses_costs_nothing_but_itself(database_url: str) -> None:
    rig = Rig(database_url, settings=settings())
    rig.codecs["json"] = CarelessCodec()
    packets: list[Bunch] = [rig.packet("k1", {"ts": at, "nul" if at in {3, 7} else "ok": 1}) for at in range(10)]
    packets += [rig.packet("k1", b'{"a": "\\u0000"}', Route.EVENTS), rig.packet("k1", b'{"a": 1}', Route.EVENTS)]
    packets += [rig.packet("k1", b"boom")]
    async with rig.running():
        verdicts = await rig.send(*packets)
        rows = await rig.rows("SELECT count(*) FROM reading_kettle")
        reasons = await rig.rows("SELECT reason, count(*) FROM quarantine GROUP BY reason ORDER BY reason")
    bad = [index for index, verdict in enumerate(verdicts) if verdict.quarantined]
    assert bad == [3, 7, 10, 12]
    assert rows == [(8,)]
    assert reasons == [("malformed", 1), ("unstorable", 3)]
    judged = [str(entry[0]) for entry in rig.recorder.told()["k1"]]
    assert judged == ["reading"] * 8 + ["event", "alive"]  # the event that was stored, which is a sign of life, too


async def test_what_comes_in_again_after_a_replay_is_open_again(plain_database_url: str) -> None:
    async with Rig(plain_database_url, settings=settings()).running() as rig:
        await rig.tell("k1", b"{")
        async with await rig.connect() as conn:
            await request_replay(conn, Wanted())
        await rig.until_rows("SELECT outcome, seen FROM quarantine", [("quarantined", 1)])
        await rig.tell("k1", b"{")
        rows = await rig.rows("SELECT outcome, seen, replay_requested_at FROM quarantine")
    assert rows == [(None, 2, None)]


async def test_what_a_replay_brings_back_again_is_not_seen_again(plain_database_url: str) -> None:
    """Neither the message, nor the wrong part of it that the replay has brought to light."""
    async with Rig(plain_database_url, settings=settings()).running() as rig:
        whole = [reading(0, celsius=20), reading(1, celsius=500)]
        await rig.tell("stranger", whole, whole)
        async with await rig.connect() as conn:
            await register_device(conn, "default", "stranger", "kettle", "add")
        rig.directory.put(Device("stranger", "default", "kettle", None, partition_of("stranger")))
        for _ in range(2):
            async with await rig.connect() as conn:
                await request_replay(conn, Wanted())
            await rig.until_rows("SELECT count(*) FROM quarantine WHERE replay_requested_at IS NOT NULL", [(0,)])
        rows = await rig.rows("SELECT reason, seen, outcome FROM quarantine ORDER BY quarantine_id")
        stored = await rig.rows("SELECT celsius FROM reading_kettle")
    assert rows == [("unknown_device", 2, "quarantined"), ("out_of_range", 1, "quarantined")]
    assert stored == [(20.0,)]
