"""The real detectors, over weeks of readings and events: alarms are the same with and without crashes."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from devices.profiles import load_profiles
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.intake import Route
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import NOW_S, Rig, crash, reading
from tests.services.postgres import DatabaseServer

HOUR_S = 3600
DAYS = 30
SILENT_FROM_DAY = 26


@pytest.fixture
def two_urls(plain_server: DatabaseServer) -> Iterator[tuple[str, str]]:
    """Two fresh databases: one for a run without a crash, one for the run with it."""
    with plain_server.fresh_database() as quiet, plain_server.fresh_database() as crashing:
        yield quiet, crashing


def day_of(rng: random.Random, device: str, day: int) -> list[object]:
    """A coffee machine's day: c1 overheats for a while, c2 falls silent."""
    if device == "c2" and day >= SILENT_FROM_DAY:
        return []
    told: list[object] = []
    for hour in range(24):
        is_hot = device == "c1" and day == 20 and hour < 12
        brewed = hour in {7, 8, 13, 17}
        metrics = {
            "shots": float(rng.randint(1, 3) if brewed else 0),
            "boiler_temperature": 170.0 if is_hot else rng.uniform(92, 96) if brewed else rng.uniform(20, 26),
            "energy": rng.uniform(20, 60) if brewed else 2.0,
        }
        told.append(reading((day * 24 + hour) * HOUR_S, **metrics))
    return told


def events_of(device: str, day: int) -> list[object]:
    """What a coffee machine says happened: c3 breaks off its brews for a day."""
    if device != "c3":
        return []
    hours = range(4, 20) if day == 21 else [9] if day % 5 == 0 else []
    return [{"ts": round((NOW_S + (day * 24 + hour) * HOUR_S) * 1000) + 1, "code": "brew_aborted"} for hour in hours]


def rig_on(url: str, now_s: float | None) -> Rig:
    profiles = load_profiles()
    rig = Rig(
        url,
        Engine(profiles, DetectSettings()),
        PipelineSettings(
            batch=BatchSettings(max_readings=10, max_age=0.0),
            ingest=IngestSettings(outage_grace=0.0, checkpoint_every=0.5),
        ),
        profiles=profiles,
        devices={"c1": "coffee-machine", "c2": "coffee-machine", "c3": "coffee-machine"},
    )
    rig.clock.at_s = rig.clock.at_s if now_s is None else now_s
    return rig


async def live(url: str, crash_after: set[int]) -> Rig:
    """Let the machines live for some weeks; the gateway crashes after some of the days."""
    rng = random.Random(1)
    rig = rig_on(url, None)
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    for day in range(DAYS):
        rig.clock.at_s += 86_400
        told = [rig.packet(device, told) for device in rig.devices if (told := day_of(rng, device, day))]
        told += [rig.packet(device, told, Route.EVENTS) for device in rig.devices if (told := events_of(device, day))]
        await rig.send(*told)
        batches = rig.pipeline.stats.housekeepings
        await rig.until(lambda rig=rig, batches=batches: rig.pipeline.stats.housekeepings > batches + 1)
        if day in crash_after:
            await crash(rig, task)
            rig = rig_on(url, rig.clock.at_s)
            task = asyncio.create_task(rig.pipeline.run())
            await rig.until(lambda rig=rig: rig.pipeline.healthy, task)
    await crash(rig, task)
    return rig


EVENTS = """
SELECT a.device_id, a.watch, a.kind, e.n, e.event, e.ts, e.score, e.explanation
FROM alarm_event e JOIN alarm a USING (alarm_id) ORDER BY a.device_id, a.watch, a.started_at, e.n
"""


async def test_the_same_alarms_with_and_without_crashes(two_urls: tuple[str, str]) -> None:
    quiet = await live(two_urls[0], set())
    crashing = await live(two_urls[1], {2, 19, 20, 21, 25, 27, 28})
    told = await quiet.rows(EVENTS)
    seen = {(row[0], row[2], row[4]) for row in told}
    assert seen >= {("c1", "threshold", "raised"), ("c2", "silence", "raised"), ("c3", "event_burst", "raised")}
    assert ("c3", "event_burst", "cleared") in seen
    assert await crashing.rows(EVENTS) == told
