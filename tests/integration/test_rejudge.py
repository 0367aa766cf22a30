"""Late readings correct alarms: taken back, moved, cleared, or raised after all."""

import asyncio
from collections.abc import Sequence

import pytest

from devices.clock import to_datetime
from devices.profiles import AUTOMATIC
from devices.profiles.model import Metric, MetricKind, Profile, Watch
from devices.registry.entries import enter
from devices.registry.records import DeviceRecord, OwnerRecord
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.order.settings import OrderSettings
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import NOW_S, Rig, crash

HOUR_S = 3600.0
OVEN = Profile(
    model="oven",
    title="Oven",
    metrics={"celsius": Metric(kind=MetricKind.GAUGE, unit="Cel"), "steps": Metric(kind=MetricKind.DELTA)},
    watches=(
        Watch.model_validate(
            {"name": "hot", "detector": "threshold", "metric": "celsius", "severity": "critical",
             "parameters": {"above": 100.0}, "for": "3h"}
        ),
    ),
)  # fmt: skip
PROFILES = {AUTOMATIC.model: AUTOMATIC, OVEN.model: OVEN}
ALARMS = """
SELECT state, extract(epoch FROM started_at)::float8, extract(epoch FROM ended_at)::float8
FROM alarm WHERE kind <> 'silence' ORDER BY started_at
"""
EVENTS = "SELECT e.event FROM alarm_event e JOIN alarm a USING (alarm_id) ORDER BY a.started_at, e.n"


def rig_on(url: str, *, checkpoint_every: float = 3600.0, quiet_after: str = "900d") -> Rig:
    quiet = Watch.model_validate(
        {"name": "quiet", "detector": "silence", "severity": "minor", "parameters": {"after": quiet_after}}
    )
    profiles = PROFILES | {OVEN.model: OVEN.model_copy(update={"watches": (*OVEN.watches, quiet)})}

    def engine() -> Engine:
        return Engine(profiles, DetectSettings())

    settings = PipelineSettings(
        batch=BatchSettings(max_readings=20, max_age=0.0),
        ingest=IngestSettings(checkpoint_every=checkpoint_every, outage_grace=0.0),
        order=OrderSettings(rejudge_after=60.0, rejudge_share=0.5),
    )
    return Rig(url, engine(), settings, profiles=profiles, devices={"o1": "oven"}, make_engine=engine)


async def tell(rig: Rig, hours: Sequence[float], celsius: float) -> None:
    """Readings of some hours, received as the clock stands."""
    payload = [{"ts": round((NOW_S + hour * HOUR_S) * 1000), "metrics": {"celsius": celsius}} for hour in hours]
    await rig.send(rig.packet("o1", payload))


async def settle(rig: Rig) -> None:
    """Let the time pass after which late readings are judged, and wait until they have been."""
    await rig.until(lambda: not rig.pipeline.order.has_news)
    rig.clock.at_s += 90_000.0
    await rig.until_rows("SELECT count(*) FROM rejudge_queue", [(0,)])
    looks = rig.pipeline.stats.housekeepings
    await rig.until(lambda: rig.pipeline.stats.housekeepings > looks + 1)
    await rig.until_rows("SELECT count(*) FROM rejudge_queue", [(0,)])


def at(hour: float) -> float:
    return NOW_S + hour * HOUR_S


async def test_an_alarm_that_late_readings_refute_is_taken_back(database_url: str) -> None:
    rig = rig_on(database_url)
    async with rig.running():
        rig.clock.at_s = at(10)
        await tell(rig, [1, 2], 20.0)
        await tell(rig, [3, 4, 6, 7], 120.0)
        assert await rig.rows(ALARMS) == [("active", at(3), None)]
        rig.clock.at_s = at(11)
        await tell(rig, [3.5, 5, 6.5], 20.0)  # it was never hot for three hours
        await settle(rig)
        assert await rig.rows(EVENTS) == [("raised",), ("retracted",)]
        ((text, state),) = await rig.rows("SELECT explanation ->> 'text', state FROM alarm")
        assert state == "retracted"
        assert str(text).startswith(
            "Taken back. 2 readings of that time that came up to 7 h 30 min late leave no cause"
        )
        assert rig.told_crm == 2
        notices = await rig.rows("SELECT event FROM inbox ORDER BY inbox_id")
        assert notices == [("raised",), ("retracted",)]
        # The detectors go on from there.
        await tell(rig, [8, 9, 10, 11.5], 120.0)
        assert (await rig.rows(ALARMS))[-1] == ("active", at(7), None)


async def test_what_was_said_to_a_former_owner_stays_said(database_url: str) -> None:
    rig = rig_on(database_url)
    async with rig.running():
        await own(rig, "c-1")
        rig.clock.at_s = at(10)
        await tell(rig, [1, 2], 20.0)
        await tell(rig, [3, 4, 6, 7], 120.0)
        await tell(rig, [8], 20.0)
        rig.clock.at_s = at(11)
        await own(rig, "c-2")
        await rig.until_rows("SELECT device_id FROM forgotten_device", [("o1",)])
        rig.clock.at_s = at(12)
        await tell(rig, [11.5], 20.0)
        await tell(rig, [2.5], 20.0)  # of the former owner, whose history is not judged again
        await settle(rig)
        assert await rig.rows("SELECT device_id FROM rejudge_done") == [("o1",)]
        assert await rig.rows(ALARMS) == [("cleared", at(3), at(8))]
        assert await rig.rows(EVENTS) == [("raised",), ("cleared",)]


async def own(rig: Rig, owner_ref: str) -> None:
    """Have an owner of the oven entered."""
    records = [DeviceRecord(device_id="o1", model="oven", owner=OwnerRecord(owner_ref=owner_ref))]
    async with await rig.connect() as conn, conn.transaction():
        await enter(conn, records, tenant_id="default", source="import", at=to_datetime(rig.clock.now_s()))


async def test_an_alarm_begins_when_it_began(database_url: str) -> None:
    rig = rig_on(database_url)
    async with rig.running():
        rig.clock.at_s = at(12)
        await tell(rig, [1], 20.0)
        await tell(rig, [5, 6, 8], 120.0)
        assert await rig.rows(ALARMS) == [("active", at(5), None)]
        ((alarm_id,),) = await rig.rows("SELECT alarm_id FROM alarm")
        await tell(rig, [2, 3, 4], 120.0)
        await settle(rig)
        assert await rig.rows(ALARMS) == [("active", at(2), None)]
        assert await rig.rows(EVENTS) == [("raised",), ("updated",)]
        await tell(rig, [13], 20.0)
        assert await rig.rows(ALARMS) == [("cleared", at(2), at(13))]
        assert await rig.rows("SELECT alarm_id FROM alarm") == [(alarm_id,)]  # one alarm all the time
        assert await rig.rows("SELECT DISTINCT alarm_id FROM inbox") == [(alarm_id,)]


async def test_an_alarm_that_was_over_earlier_is_cleared_and_a_hidden_one_is_recorded(database_url: str) -> None:
    rig = rig_on(database_url)
    async with rig.running():
        rig.clock.at_s = at(30)
        await tell(rig, [1, 20], 20.0)
        await tell(rig, [21, 22, 24], 120.0)
        await tell(rig, [3, 4, 6.5], 120.0)  # while it was away
        await tell(rig, [7], 20.0)
        await settle(rig)
        assert await rig.rows(ALARMS) == [("cleared", at(3), at(7)), ("active", at(21), None)]
        assert await rig.rows(EVENTS) == [("raised",), ("cleared",), ("raised",)]


@pytest.mark.parametrize("checkpoint_every", [0.01, 3600.0])
async def test_a_crash_after_the_correction_changes_nothing(plain_database_url: str, checkpoint_every: float) -> None:
    rig = rig_on(plain_database_url)
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    rig.clock.at_s = at(10)
    await tell(rig, [1, 3, 4, 6, 7], 120.0)
    await tell(rig, [3.5, 6.5], 20.0)
    await settle(rig)
    assert [row[0] for row in await rig.rows(ALARMS)] == ["retracted"]
    await crash(rig, task)
    again = rig_on(plain_database_url, checkpoint_every=checkpoint_every)
    again.clock.at_s = rig.clock.at_s
    async with again.running():
        await tell(again, [9, 10.5], 120.0)
        assert [row[:2] for row in await again.rows(ALARMS)] == [("retracted", at(1)), ("active", at(7))]


async def test_a_queue_survives_a_crash(plain_database_url: str) -> None:
    rig = rig_on(plain_database_url)
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    rig.clock.at_s = at(10)
    await tell(rig, [1, 3, 4, 6, 7], 120.0)
    await tell(rig, [3.5, 6.5], 20.0)
    await crash(rig, task)
    again = rig_on(plain_database_url)
    again.clock.at_s = rig.clock.at_s
    async with again.running():
        await again.until_rows("SELECT count(*) FROM rejudge_queue", [(1,)])
        await settle(again)
        assert [row[0] for row in await again.rows(ALARMS)] == ["retracted"]


async def test_what_a_silent_device_told_late_is_judged_and_what_goes_on_stays_unknown(plain_database_url: str) -> None:
    rig = rig_on(plain_database_url, quiet_after="1h")
    async with rig.running():
        rig.clock.at_s = at(10)
        await tell(rig, [1, 2, 3, 5], 120.0)
        await tell(rig, [1.5], 20.0)  # so it began at two, if at all
        await rig.until(lambda: not rig.pipeline.order.has_news)
        rig.clock.at_s += 7200.0
        await rig.until_rows("SELECT state FROM alarm WHERE kind = 'silence'", [("active",)])
        await settle(rig)
        assert await rig.rows(ALARMS) == [("unknown", at(2), None)]
        await tell(rig, [40], 120.0)
        assert await rig.rows(ALARMS) == [("active", at(2), None)]
        assert await rig.rows("SELECT state FROM alarm WHERE kind = 'silence'") == [("cleared",)]


async def test_nothing_is_judged_anew_for_what_comes_in_order(plain_database_url: str) -> None:
    rig = rig_on(plain_database_url)
    async with rig.running():
        rig.clock.at_s = at(200)
        await tell(rig, range(1, 100), 20.0)  # days of backlog, told in its order
        rig.clock.at_s += 3600.0
        looks = rig.pipeline.stats.housekeepings
        await rig.until(lambda: rig.pipeline.stats.housekeepings > looks + 2)
        assert await rig.rows("SELECT count(*) FROM rejudge_done") == [(0,)]
