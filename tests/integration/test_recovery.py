"""After a crash the detectors are where they were, and tell nothing twice."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from gateway.intake import Route
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.recorder import RecordingEngine
from tests.ingest.rig import NOW_S, Rig, crash, reading
from tests.services.postgres import DatabaseServer


@pytest.fixture(params=["plain", "timescale"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    """A server on which a test makes several databases."""
    found: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def two_urls(server: DatabaseServer) -> Iterator[tuple[str, str]]:
    """Two fresh databases: one for a run without a crash, one for the run with it."""
    with server.fresh_database() as quiet, server.fresh_database() as crashing:
        yield quiet, crashing


def settings(checkpoint_every_s: float = 3600.0) -> PipelineSettings:
    return PipelineSettings(
        batch=BatchSettings(max_readings=4, max_age=0.0),
        ingest=IngestSettings(outage_grace=0.0, checkpoint_every=checkpoint_every_s),
    )


Message = tuple[str, object, Route]


def messages(seed: int, count: int) -> list[Message]:
    """A device's life: readings in parts, told again, out of order, contradicting; events, births and wills."""
    rng = random.Random(seed)
    told: list[Message] = []
    for _ in range(count):
        device = rng.choice(["k1", "k2", "a1"])
        at_s = rng.randrange(20) * 60
        kind = rng.random()
        if kind < 0.1:
            told.append((device, {"ts": round((NOW_S + at_s) * 1000), "code": rng.choice("xy")}, Route.EVENTS))
        elif kind < 0.15:
            told.append((device, rng.choice([b"online", b"offline"]), Route.STATUS))
        else:
            names = rng.sample(["celsius", "boils", "ph"], rng.randint(1, 3))
            told.append(
                (device, reading(at_s, **{name: rng.choice([at_s % 7, 95.0]) for name in names}), Route.TELEMETRY)
            )
    return told


async def play(rig: Rig, told: list[Message]) -> None:
    """Send messages in groups, each group settled before the next, so that every run makes the same batches."""
    for start in range(0, len(told), 4):
        rig.clock.at_s += 10
        await rig.send(*(rig.packet(*message) for message in told[start : start + 4]))


async def run_with_crashes(
    url: str, told: list[Message], after: list[int], checkpoint_every_s: float
) -> RecordingEngine:
    """Play messages; crash after some of the groups, and go on with a gateway that knows nothing."""
    now_s, engine, played = NOW_S, RecordingEngine(), 0
    for end in [*after, len(told)]:
        engine = RecordingEngine()
        rig = Rig(url, engine, settings(checkpoint_every_s))
        rig.clock.at_s = now_s
        await rig.prepare()
        task = asyncio.create_task(rig.pipeline.run())
        await rig.until(lambda rig=rig: rig.pipeline.healthy, task)
        await play(rig, told[played:end])
        now_s, played = rig.clock.at_s, end
        await crash(rig, task)
    return engine


@pytest.mark.parametrize("seed", range(4))
async def test_state_after_crashes_is_that_of_a_run_without(
    two_urls: tuple[str, str], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # what completed a reading is often in another window than the reading, before it was judged again
        monkeypatch.setattr("gateway.pipeline.recovery._WINDOW", 2)
    told = messages(seed, 60)
    without = await run_with_crashes(two_urls[0], told, [], 3600.0)
    after = [[12], [4, 24, 40], [32, 36], [56]][seed]
    with_crashes = await run_with_crashes(two_urls[1], told, after, 3600.0)
    assert with_crashes.told() == without.told()


@pytest.mark.parametrize("seed", range(4))
async def test_checkpoints_change_nothing_but_how_much_is_judged_again(two_urls: tuple[str, str], seed: int) -> None:
    told = messages(seed + 100, 60)
    without = await run_with_crashes(two_urls[0], told, [], 3600.0)
    with_crashes = await run_with_crashes(two_urls[1], told, [8, 24, 44], 0.0)
    assert with_crashes.told() == without.told()


async def test_an_alarm_is_not_raised_again_by_a_restart(database_url: str) -> None:
    for _ in range(2):
        async with Rig(database_url, settings=settings()).running() as rig:
            await rig.tell("k1", reading(0, celsius=95))
    rig = Rig(database_url)
    assert await rig.rows("SELECT count(*) FROM alarm_event") == [(1,)]
    assert await rig.rows("SELECT count(*) FROM inbox") == [(1,)]


async def test_a_silence_once_told_is_known_after_a_crash(database_url: str) -> None:
    for _ in range(2):
        engine = RecordingEngine()
        engine.silent_after_s = 50
        rig = Rig(database_url, engine, settings())
        await rig.prepare()
        task = asyncio.create_task(rig.pipeline.run())
        await rig.until(lambda rig=rig: rig.pipeline.healthy, task)
        await rig.tell("k1", reading(0, celsius=20))
        rig.clock.at_s += 100
        await rig.until(lambda engine=engine: engine.told()["k1"][-1][0] == "silent")
        await rig.until_rows("SELECT count(*) FROM alarm", [(1,)])
        await crash(rig, task)
    rig = Rig(database_url)
    assert await rig.rows("SELECT count(*), min(events) FROM alarm") == [(1, 1)]
    # None where the checkpoint that a start makes soon has included it, and let it go.
    assert await rig.rows("SELECT count(*) FROM timer_decision WHERE changes > 0") in ([(0,)], [(1,)])


async def test_our_own_outage_is_nobodys_silence(database_url: str) -> None:
    engine = RecordingEngine()
    engine.silent_after_s = 50
    is_healthy = True
    rig = Rig(database_url, engine, settings(), doors_healthy=lambda: is_healthy)
    async with rig.running():
        await rig.tell("k1", reading(0, celsius=20))
        is_healthy = False
        rig.clock.at_s += 1000
        await rig.tell("k2", reading(0, celsius=20))
        is_healthy = True
        rig.clock.at_s += 40
        await rig.tell("k2", reading(1, celsius=20))
        assert all(entry[0] != "silent" for entry in engine.told()["k1"])
        rig.clock.at_s += 20
        await rig.until(lambda: engine.told()["k1"][-1][0] == "silent")


async def test_batches_that_every_checkpoint_includes_are_pruned(database_url: str) -> None:
    async with Rig(database_url, settings=settings(checkpoint_every_s=0.0)).running() as rig:
        for at_s in range(5):
            await rig.tell("k1", reading(at_s, celsius=20))
    assert await rig.rows("SELECT batch_seq FROM batch") == [(5,)]
    assert await rig.rows("SELECT DISTINCT batch_seq FROM detector_checkpoint") == [(5,)]


async def test_what_a_start_has_judged_again_the_next_one_need_not(database_url: str) -> None:
    rig = Rig(database_url, settings=settings())
    for at_s in (0, 60):
        rig = Rig(database_url, settings=settings())
        await rig.prepare()
        task = asyncio.create_task(rig.pipeline.run())
        await rig.until(lambda rig=rig: rig.pipeline.healthy, task)
        if at_s:
            await rig.until_rows("SELECT DISTINCT batch_seq FROM detector_checkpoint", [(1,)])
        await rig.tell("k1", reading(at_s, celsius=20))
        await crash(rig, task)
    assert len(rig.recorder.told()["k1"]) == 2


async def test_the_last_moment_of_9999_is_judged_again_wherever_the_server_lives(plain_database_url: str) -> None:
    eternal = PipelineSettings(ingest=IngestSettings.model_validate({"far_future": "4000000d"}))
    rig = Rig(plain_database_url, settings=eternal)
    async with await rig.connect() as conn:
        await conn.execute(
            "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET TimeZone = ''Asia/Tokyo'''; END $$"
        )
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    await rig.tell("k1", {"ts": "9999-12-31T23:59:59.999999Z", "metrics": {"celsius": 20}})
    await crash(rig, task)
    later = Rig(plain_database_url, settings=eternal)
    async with later.running():
        assert later.recorder.told() == rig.recorder.told()
        assert len(later.recorder.told()["k1"]) == 1
