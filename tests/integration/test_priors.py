"""What is known of new devices beforehand is a numbered batch: in force for those after it, also across a crash."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

from devices.clock import to_datetime
from devices.profiles import AUTOMATIC
from devices.profiles.model import Metric, MetricKind, Profile, Watch
from gateway.api.device_habits import Born, find_habits
from gateway.detect.cohort import NOBODY, Habits
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.order.settings import OrderSettings
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import NOW_S, Rig, crash

DAY_S = 86_400.0
LAMP = Profile(
    model="lamp",
    title="Lamp",
    metrics={"lit": Metric(kind=MetricKind.DELTA)},
    watches=(Watch.model_validate({"name": "unlit", "detector": "usage_drop", "metric": "lit", "severity": "minor"}),),
)
PROFILES = {AUTOMATIC.model: AUTOMATIC, LAMP.model: LAMP}
KNOWN = Habits("lamp", "usage_drop", "unlit", 40, scalars={"record": 3.5, "longest": 20.0})


class Acquainted(Engine):
    """Detectors that have found out what lamps have in common, once they were told to."""

    knows = False

    def survey(self) -> Iterator[Sequence[Habits]]:
        """One watch."""
        yield [KNOWN] if self.knows else []


class Newer(Engine):
    """Detectors whose state of before is of no use to them."""

    version = Engine.version + 1


def rig_on(url: str, engine: Engine) -> Rig:
    settings = PipelineSettings(
        batch=BatchSettings(max_readings=20, max_age=0.0),
        ingest=IngestSettings(outage_grace=0.0),
        order=OrderSettings(rejudge_after=60.0, rejudge_share=0.5),
    )
    devices = {"first": "lamp", "second": "lamp", "third": "lamp"}
    return Rig(
        url,
        engine,
        settings,
        profiles=PROFILES,
        devices=devices,
        make_engine=lambda: Engine(PROFILES, DetectSettings()),
    )


async def lit(rig: Rig, device_id: str, *hours: float) -> None:
    await rig.send(
        *(rig.packet(device_id, {"ts": round((NOW_S + hour * 3600) * 1000), "metrics": {"lit": 5.0}}) for hour in hours)
    )


async def test_devices_keep_what_they_were_born_with_through_late_readings_and_a_crash(plain_database_url: str) -> None:
    engine = Acquainted(PROFILES, DetectSettings())
    rig = rig_on(plain_database_url, engine)
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    await lit(rig, "first", 1, 2)
    engine.knows = True
    rig.clock.at_s = NOW_S + 2 * DAY_S
    await rig.until_rows("SELECT count(*) FROM cohort_prior", [(1,)])
    ((number,),) = await rig.rows("SELECT batch_seq FROM batch WHERE kind = 'prior'")
    await rig.until(lambda: rig.pipeline.stats.housekeepings > 0)
    await lit(rig, "second", 36, 40)
    await lit(rig, "second", 38)  # late
    await rig.until(lambda: not rig.pipeline.order.has_news)
    engine.knows = False
    rig.clock.at_s += 90_000.0
    await rig.until_rows("SELECT count(*) FROM rejudged_state", [(1,)])
    assert (engine.prior_of("first"), engine.prior_of("second")) == (NOBODY, number)
    lived = engine.take_out("second")
    async with await rig.connect() as conn:
        await conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('elsewhere', 'Elsewhere')")
        await conn.execute(
            "INSERT INTO device (tenant_id, device_id, partition, model, source)"
            " VALUES ('elsewhere', 'fourth', 3, 'lamp', 'add')"
        )
        born_s = to_datetime(NOW_S - 300 * DAY_S)  # with what it had kept until it was new here
        second = Born("default", "second", "lamp", engine.prior_of("second"))
        habits = await find_habits(conn, second, born_s, born_s + timedelta(days=2))
        first = Born("default", "first", "lamp", engine.prior_of("first"))
        before = await find_habits(conn, first, to_datetime(NOW_S), to_datetime(rig.clock.at_s))
    assert habits is not None
    assert before is not None
    assert (habits.leans, habits.others) == (True, 2)  # of the forty only two are its own tenant's
    assert (before.leans, before.others) == (False, 0)
    await crash(rig, task)
    again = Engine(PROFILES, DetectSettings())
    async with rig_on(plain_database_url, again).running():
        assert (again.prior_of("first"), again.prior_of("second")) == (NOBODY, number)
        assert again.take_out("second") == lived


async def test_what_is_known_of_new_devices_outlives_its_batch_and_a_new_version(plain_database_url: str) -> None:
    engine = Acquainted(PROFILES, DetectSettings())
    engine.knows = True
    async with rig_on(plain_database_url, engine).running() as rig:
        await rig.until_rows("SELECT count(*) FROM cohort_prior", [(1,)])
        ((number,),) = await rig.rows("SELECT max(batch_seq) FROM cohort_prior")
        await lit(rig, "second", 1)
    assert engine.prior_of("second") == number
    newer = Newer(PROFILES, DetectSettings())
    async with rig_on(plain_database_url, newer).running() as rig:
        assert await rig.rows("SELECT count(*) FROM batch WHERE kind = 'prior'") == [(0,)]
        await lit(rig, "third", 2)
        assert newer.prior_of("third") == number
