"""Workers die by kill -9 between and in the middle of their transactions; what they leave is as if they had not."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from psycopg.conninfo import make_conninfo

from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.patience import PATIENCE_S

MORTAL = "careloop mortal worker"
SESSIONS = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
ROOT = Path(__file__).resolve().parents[2]
DEVICES = 40
KILLED, BATCHES = 4, 10


async def start_worker(url: str) -> Process:
    named = make_conninfo(url, application_name=MORTAL)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.services.case_worker", named, str(BATCHES), cwd=ROOT, stdout=PIPE
    )


async def kill_after(worker: Process, batches: int, pause_s: float) -> None:
    """Let a worker finish some batches, give it a moment to begin another, and kill it."""
    assert worker.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(batches):
            assert b"worked" in await worker.stdout.readline()
    await asyncio.sleep(pause_s)
    worker.kill()
    await worker.wait()


async def test_each_fault_has_one_case_that_was_told_once(plain_database_url: str) -> None:
    chance = random.Random(7)
    async with open_world(plain_database_url) as world:
        for number in range(DEVICES):
            device = f"cm-{number}"
            await world.own(device, f"own-{number}")
            await world.put(
                notice(device_id=device),
                notice(device_id=device, watch="energy-high"),
                notice(
                    device_id=device, event="updated", severity="critical", at_s=NOON + HOUR, started_at_s=NOON - HOUR
                ),
            )
        for _ in range(KILLED):
            await kill_after(await start_worker(plain_database_url), 3, chance.uniform(0.0, 0.03))
            await end_of_sessions(world)
        await world.work()
        await check(world)


async def end_of_sessions(world: CaseWorld) -> None:
    """Wait until the server has noticed that a worker is dead: until then its transaction has the turn."""
    async with asyncio.timeout(PATIENCE_S):
        while await world.rows(SESSIONS, MORTAL):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


async def check(world: CaseWorld) -> None:
    cases = await world.cases()
    assert len(cases) == len({case["asset_id"] for case in cases}) == DEVICES
    assert {case["state"] for case in cases} == {"open"}
    told: dict[str, list[str]] = {}
    for message in await world.messages():
        told.setdefault(message["stream_key"], []).append(message["data"]["change"])
    assert len(told) == DEVICES
    assert {tuple(changes) for changes in told.values()} == {("opened", "alarm_attached", "severity_raised")}
    assert await world.rows("SELECT 1 FROM inbox WHERE state <> 'done'") == []
