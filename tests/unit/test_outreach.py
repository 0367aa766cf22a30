"""What the gateway makes of its CRM process's pulse."""

import asyncio
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass

import pytest
import structlog
import uvloop

from crm_sync.settings import CrmSettings
from crm_sync.stats import CrmStats
from crm_sync.trust.rules import TrustRules
from devices.clock import ScaledClock, SystemClock
from gateway.outreach.supervisor import Outreach
from gateway.outreach.words import (
    ClockIsSet,
    Pulse,
    SetClock,
    Start,
    Stop,
    Wake,
    decode_answer,
    decode_order,
    encode,
)
from gateway.settings import LogSettings


@dataclass
class Time:
    """The machine's monotonic clock."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        """The present moment."""
        return self.now_s


def outreach(time: Time, **crm: object) -> Outreach:
    """One whose process is never started."""
    start = Start("", 2, "default", CrmSettings.model_validate(crm), TrustRules(), LogSettings(), {}, SystemClock())
    return Outreach(start, structlog.get_logger(), time)


def pulse(inbox_at_s: float, outbox_at_s: float) -> Pulse:
    """The process got through them at these times."""
    return Pulse(CrmStats(inbox_at_s=inbox_at_s, outbox_at_s=outbox_at_s), 0.0, {})


def test_one_that_works_is_no_trouble() -> None:
    time = Time()
    side = outreach(time)
    assert side.trouble is None  # it has just been started
    side.take(pulse(999, 1000))
    time.now_s += 1
    assert side.trouble is None


@pytest.mark.parametrize(("poll_interval", "is_stuck"), [(1.0, True), (60.0, False)])
def test_one_that_does_not_get_through_its_inbox_is_told(poll_interval: float, *, is_stuck: bool) -> None:
    side = outreach(Time(), poll_interval=poll_interval)
    side.take(pulse(900, 1000))
    assert (side.trouble == "it has not got through its inbox for 100 s") is is_stuck
    assert (side.trouble is None) is not is_stuck


def test_one_that_is_silent_or_never_came_up_is_told() -> None:
    time = Time()
    side = outreach(time)
    time.now_s += 45
    assert side.trouble == "its process has not come up for 45 s"
    side.take(pulse(1044, 1044))
    assert side.trouble is None
    time.now_s += 12
    assert side.trouble == "its process has said nothing for 12 s"


def test_words_come_through_as_they_were_said() -> None:
    clock = ScaledClock(1e9, 60.0, 2e9)
    for order in (Wake(), SetClock(7, clock.setting), Stop()):
        assert decode_order(encode(order)) == order
    stats = CrmStats(notices=3, deliveries={"helpdesk": {"ok": 2}})
    for answer in (ClockIsSet(7), Pulse(stats, 0.1, {"pool_size": 2})):
        assert decode_answer(encode(answer)) == answer
    assert b"\n" not in encode(Wake())[:-1]


def test_a_clock_follows_its_twin() -> None:
    clock, twin = ScaledClock(1e9, 1e6), ScaledClock(0.0, 1e6)
    clock.hold_at(1e9 + 500)
    twin.follow(clock.setting)
    while clock.now_s() < 1e9 + 500:
        pass
    assert twin.now_s() == clock.now_s() == 1e9 + 500
    clock.hold_at(None)
    twin.follow(clock.setting)
    before, there, after = clock.now_s(), twin.now_s(), clock.now_s()
    assert before - 1000 <= there <= after + 1000  # a thousandth of a real second


def test_one_that_dies_before_it_was_told_anything_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start = asyncio.create_subprocess_exec

    async def still_born(*_: object, **pipes: int) -> Process:
        process = await start(sys.executable, "-c", "", stdin=pipes["stdin"], stdout=pipes["stdout"])
        assert process.stdin is not None
        process.stdin.close()
        await process.stdin.wait_closed()
        return process

    async def live() -> int:
        side = outreach(Time())
        task = asyncio.create_task(side.run())
        for _ in range(3000):
            if side.restarts or task.done():
                break
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return side.restarts

    monkeypatch.setattr(asyncio, "create_subprocess_exec", still_born)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # asyncio's own would only log it
        assert runner.run(live()) >= 1
