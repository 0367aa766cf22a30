"""Missing messages and clocks through the pipeline, with and without crashes."""

import asyncio
import random

from gateway.intake import Route
from gateway.order.settings import OrderSettings
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import NOW_S, Rig, crash

ORDER = "SELECT missing, restarts, clock FROM device_order WHERE device_id = %s"
HOUR_S = 3600.0


def told(seq: int, at_s: float, **metrics: float) -> dict[str, object]:
    """A numbered reading."""
    return {"ts": round((NOW_S + at_s) * 1000), "seq": seq, "metrics": metrics or {"celsius": 20.0}}


def settings(checkpoint_every_s: float = 3600.0) -> PipelineSettings:
    """Settings under which checkpoints are seldom."""
    return PipelineSettings(
        batch=BatchSettings(max_readings=5, max_age=0.0),
        ingest=IngestSettings(checkpoint_every=checkpoint_every_s),
        order=OrderSettings(rejudge=False),
    )


async def missing(rig: Rig, expected: int) -> None:
    """Wait until so many messages of k1 are missing."""
    await rig.until_rows("SELECT missing FROM device_order WHERE device_id = 'k1'", [(expected,)])


async def test_gaps_are_counted_and_filled(plain_database_url: str) -> None:
    rig = Rig(plain_database_url, settings=settings())
    async with rig.running():
        await rig.tell("k1", told(1, 1), told(2, 2), told(6, 6))
        await missing(rig, 3)
        await rig.tell("k1", told(4, 4))  # late
        await missing(rig, 2)
        await rig.tell("k1", told(2, 2), told(6, 6))  # again
        await rig.send(rig.packet("k1", told(3, 3, celsius=900.0)))  # refused, but it did reach us
        await missing(rig, 1)
        await rig.send(
            rig.packet("k1", {"ts": round((NOW_S + 5) * 1000), "seq": 5, "code": "boiled"}, route=Route.EVENTS)
        )
        await missing(rig, 0)
        await rig.tell("k1", told(1, 101), told(2, 102), told(9, 103))  # it was switched off and on
        await missing(rig, 6)
        assert await rig.rows(ORDER, "k1") == [(6, 1, "right")]


async def test_completing_and_contradicting_messages_did_reach_us(plain_database_url: str) -> None:
    rig = Rig(plain_database_url, settings=settings())
    async with rig.running():
        await rig.tell("k1", told(1, 1), told(2, 2, celsius=20.0), told(3, 2, boils=1.0), told(4, 2, celsius=21.0))
        await rig.tell("k1", told(5, 5), told(7, 7))
        await missing(rig, 1)


def life(rng: random.Random) -> tuple[list[dict[str, object]], int]:
    """A device's messages with losses, repetitions, refusals and disorder; and how many were lost."""
    numbers = [n for n in range(200) if rng.random() > 0.1 or n in {0, 199}]
    messages: list[dict[str, object]] = []
    for n in numbers:
        message = told(n, float(n), celsius=900.0 if rng.random() < 0.05 else 20.0)
        messages += [message] * rng.choice([1, 1, 1, 2])
    for n in range(0, len(messages) - 8, 8):
        if rng.random() < 0.3:
            part = messages[n : n + 8]
            rng.shuffle(part)
            messages[n : n + 8] = part
    return messages, 200 - len(numbers)


async def test_the_count_is_exact_after_crashes(database_url: str) -> None:
    rng = random.Random(7)
    messages, lost = life(rng)
    rig: Rig | None = None
    for start in range(0, len(messages), 45):
        before = rig
        rig = Rig(database_url, settings=settings(0.01 if start == 90 else 3600.0))
        if before is not None:
            rig.clock.at_s = before.clock.at_s
        await rig.prepare()
        task = asyncio.create_task(rig.pipeline.run())
        await rig.until(lambda rig=rig: rig.pipeline.healthy, task)
        for first in range(start, min(start + 45, len(messages)), 9):
            rig.clock.at_s += 60.0
            part = messages[first : min(first + 9, start + 45)]
            await rig.send(*(rig.packet("k1", message) for message in part))
        if start == 90:
            rig.clock.at_s += 1
            await rig.until_rows("SELECT count(*) > 0 FROM order_checkpoint", [(True,)])
        await crash(rig, task)
    rig = Rig(database_url, settings=settings())
    async with rig.running():
        await rig.tell("k1", told(200, 200))
        await missing(rig, lost)


async def test_a_clock_that_is_ahead_is_shown_and_told_with_its_refusals(plain_database_url: str) -> None:
    rig = Rig(plain_database_url, settings=settings())
    async with rig.running():
        for n in range(6):
            rig.clock.at_s = NOW_S + n * 1000.0
            await rig.tell("k1", told(n, n * 1000.0 + 3 * HOUR_S + 120))
            await rig.tell("k2", told(n, n * 1000.0 + 50 * HOUR_S))  # so far ahead that all of it is refused
            await rig.tell("a1", {"metrics": {"volts": 3.0}})
        await rig.until_rows("SELECT clock FROM device_order ORDER BY device_id", [("none",), ("ahead",), ("ahead",)])
        says = "SELECT says FROM device_order WHERE device_id = 'k1'"
        assert (await rig.rows(says))[0][0] == "nothing is missing; clock 3 h 02 min ahead"
        details = await rig.rows("SELECT detail FROM quarantine WHERE device_id = 'k2' ORDER BY quarantine_id")
        assert str(details[-1][0]).endswith("clock 2 days ahead")


async def test_a_clock_set_back_by_an_hour_is_noticed(plain_database_url: str) -> None:
    rig = Rig(plain_database_url, settings=settings())
    async with rig.running():
        for n in range(12):
            rig.clock.at_s = NOW_S + n * 1000.0
            await rig.tell("k1", told(n, n * 1000.0 + (HOUR_S if n < 6 else 0.0)))
        await rig.until_rows("SELECT clock, round(moved_by_s) FROM device_order", [("right", -3600.0)])
        says = str((await rig.rows("SELECT says FROM device_order"))[0][0])
        assert "it went 1 h 00 min back on 09 October 2025, as for daylight saving" in says
