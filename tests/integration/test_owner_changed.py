"""A product that changes hands starts anew: habits are forgotten once and in order, alarms and cases are taken back."""

import asyncio
from collections.abc import Sequence

import pytest

from devices.clock import to_datetime
from devices.registry.entries import enter
from devices.registry.partings import Why, list_partings
from devices.registry.passwords import remove_device
from devices.registry.records import AssetRecord, DeviceRecord, OwnerRecord
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.intake import Route
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import NOW_S, PROFILES, Rig, crash, reading
from tests.services.case_world import HOUR, NOON, notice, open_world

FORGOTTEN = "SELECT device_id, why FROM forgotten_device ORDER BY batch_seq, device_id"
ALARMS = "SELECT device_id, state FROM alarm ORDER BY device_id"
BECAUSE = "SELECT device_id, notice ->> 'because' FROM inbox WHERE event = 'retracted' ORDER BY 1"
KINDS = "SELECT kind FROM batch ORDER BY batch_seq"


async def owned(rig: Rig, owner_ref: str | None, *device_ids: str, asset_id: str | None = None) -> None:
    """What an import with another owner does."""
    records = [
        DeviceRecord(
            device_id=name,
            asset=AssetRecord(asset_id=asset_id),
            owner=None if owner_ref is None else OwnerRecord(owner_ref=owner_ref),
        )
        for name in device_ids
    ]
    async with await rig.connect() as conn, conn.transaction():
        await enter(conn, records, tenant_id="default", source="import", at=to_datetime(NOW_S))


def rig_on(url: str, devices: Sequence[str] = ("k1", "k2")) -> Rig:
    return Rig(
        url,
        Engine(PROFILES, DetectSettings()),
        PipelineSettings(
            batch=BatchSettings(max_readings=10, max_age=0.0),
            ingest=IngestSettings(outage_grace=0.0, checkpoint_every=3600.0),
        ),
        devices=dict.fromkeys(devices),
    )


async def test_alarms_of_the_former_owner_are_taken_back_once_and_told(database_url: str) -> None:
    rig = Rig(database_url)
    async with rig.running():
        await owned(rig, "c-1", "k1", "k2")
        await rig.tell("k1", reading(0, celsius=95))
        await rig.tell("k2", reading(0, celsius=95))
        await owned(rig, "c-2", "k1")
        await rig.until_rows(ALARMS, [("k1", "retracted"), ("k2", "active")])
        assert await rig.rows(FORGOTTEN) == [("k1", "owner_changed")]
        assert await rig.rows(BECAUSE) == [("k1", "owner_changed")]
        assert "k1" not in rig.recorder.told()
        assert "k2" in rig.recorder.told()
        assert await rig.rows("SELECT count(*) FROM device_parting") == [(0,)]
        await rig.tell("k1", reading(1, celsius=20))
        assert [entry[0] for entry in rig.recorder.told()["k1"]] == ["reading"]
        texts = await rig.rows("SELECT explanation ->> 'text' FROM alarm_event WHERE event = 'retracted'")
        assert await rig.rows(KINDS) == [("ingest",), ("ingest",), ("forget",), ("ingest",)]
    assert "the product has another owner now" in texts[0][0]


async def test_only_another_owner_is_a_new_beginning(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    await rig.prepare()

    async def asked() -> list[str]:
        async with await rig.connect() as conn:
            return [parting.device_id for parting in await list_partings(conn, 10)]

    await owned(rig, None, "k1")
    await owned(rig, "c-1", "k1", "k2")
    await owned(rig, "c-1", "k1")
    await owned(rig, None, "k1")
    assert await asked() == []
    await owned(rig, "c-2", "k1")
    assert await asked() == ["k1"]
    await owned(rig, "c-3", "a1", asset_id="washer")
    await owned(rig, None, "k2", asset_id="washer")  # the module of somebody else's product is built into this one
    assert await asked() == ["k1", "k2"]


async def test_state_after_a_crash_is_that_of_a_run_without(plain_database_url: str) -> None:
    """Forgotten before the crash is forgotten after it, and what came before and after stays in its order."""
    rig = Rig(plain_database_url, settings=PipelineSettings(ingest=IngestSettings(checkpoint_every=3600.0)))
    await rig.prepare()
    await owned(rig, "c-1", "k1", "k2")
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    for minute in range(3):
        await rig.tell("k1", reading(60 * minute, celsius=20 + minute))
        await rig.tell("k2", reading(60 * minute, celsius=20 + minute))
    await owned(rig, "c-2", "k1")
    await rig.until_rows(FORGOTTEN, [("k1", "owner_changed")])
    await rig.tell("k1", reading(600, celsius=50))
    expected = rig.recorder.told()
    await crash(rig, task)
    later = Rig(plain_database_url)
    async with later.running():
        assert later.recorder.told() == expected
        assert len(expected["k1"]) == 1
        assert await later.rows(FORGOTTEN) == [("k1", "owner_changed")]


async def test_an_owner_changed_while_no_gateway_ran_is_found_at_the_next_start(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with rig.running():
        await owned(rig, "c-1", "k1")
        await rig.tell("k1", reading(0, celsius=95))
    await owned(rig, "c-2", "k1")
    for _ in range(2):
        later = Rig(plain_database_url)
        async with later.running():
            await later.until_rows(ALARMS, [("k1", "retracted")])
    assert await rig.rows(FORGOTTEN) == [("k1", "owner_changed")]
    assert await rig.rows("SELECT count(*) FROM inbox WHERE event = 'retracted'") == [(1,)]


@pytest.mark.parametrize("how", ["removed", "deleted"])
async def test_a_removed_device_without_an_alarm_does_not_stay_in_the_detectors(
    plain_database_url: str, how: str
) -> None:
    rig = rig_on(plain_database_url)
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    await rig.tell("k1", reading(0, celsius=20))
    await rig.tell("k2", reading(0, celsius=20))
    await crash(rig, task)
    async with await rig.connect() as conn:
        if how == "removed":
            assert await remove_device(conn, "default", "k1", to_datetime(NOW_S))
        else:  # as after a restore of a backup from before it was registered
            await conn.execute("UPDATE asset SET device_id = NULL WHERE device_id = 'k1'")
            await conn.execute("DELETE FROM device WHERE device_id = 'k1'")
    later = rig_on(plain_database_url, ["k2"])
    async with later.running():
        await later.until_rows(FORGOTTEN, [("k1", str(Why.REMOVED))])
        assert isinstance(later.engine, Engine)
        assert later.engine.device_ids() == ["k2"]


async def test_history_of_a_former_owner_is_not_judged_again(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with rig.running():
        await owned(rig, "c-1", "k1")
        await rig.tell("k1", reading(0, celsius=20))
        await rig.send(rig.packet("k1", {"ts": round(NOW_S * 1000), "code": "E17"}, Route.EVENTS))
        async with await rig.connect() as conn:
            await conn.execute(
                "INSERT INTO rejudge_queue (tenant_id, device_id, first_ts, behind_s, batch_seq, is_urgent, due_at) "
                "VALUES ('default', 'k1', now(), 1, 1, false, now() + interval '1 day')"
            )
        await owned(rig, "c-2", "k1")
        await rig.until_rows("SELECT device_id FROM rejudge_queue", [])


async def test_the_case_of_the_former_owner_is_withdrawn(plain_database_url: str) -> None:
    async with open_world(plain_database_url) as world:
        taken_back = notice(event="retracted", at_s=NOON + HOUR, started_at_s=NOON - HOUR, because="owner_changed")
        await world.happens(notice(), taken_back)
        (case,) = await world.rows("SELECT state, resolution FROM service_case")
        assert (case["state"], case["resolution"]) == ("retracted", "withdrawn")
        (last,) = await world.rows("SELECT reason FROM case_transition ORDER BY transition_id DESC LIMIT 1")
        assert last["reason"] == "owner_changed"
