"""Keeps the CRM process running: starts it, tells it what it must know, and starts it again should it die."""

import asyncio
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from devices.clock import ScaledClock
from gateway.child_process import command_of, encode_first
from gateway.outreach.words import ClockIsSet, Pulse, SetClock, Start, Stop, Wake, decode_answer, encode

PROCESS: Final = "gateway.outreach.process"
RESTART_S: Final = 0.5
LONGEST_RESTART_S: Final = 30.0
STEADY_S: Final = 60.0  # who has lived this long and then dies is started again at once
STOP_TIMEOUT_S: Final = 8.0  # requests under way get five seconds
CLOCK_TIMEOUT_S: Final = 1.0
START_GRACE_S: Final = 30.0
PULSE_LATE_S: Final = 10.0
STUCK_S: Final = 30.0
STUCK_LOOKS: Final = 3  # where the settings let it look more seldom than that


class Outreach:
    """The CRM process of one gateway."""

    def __init__(
        self,
        start: Start,
        log: structlog.typing.FilteringBoundLogger,
        real_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._log = log
        self._process: Process | None = None
        self._clock_number = 0
        self._clock_is_set: dict[int, asyncio.Future[None]] = {}
        self._real_s = real_s
        self._changed_s = real_s()  # when it was started, or died
        self._pulse_s = 0.0
        self.pulse: Pulse | None = None  # the last word of the process that runs
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    @property
    def trouble(self) -> str | None:
        """What keeps alarms from becoming cases and messages, in words; None when nothing does."""
        now_s = self._real_s()
        if self.pulse is None:
            waits_s = now_s - self._changed_s
            return None if waits_s < START_GRACE_S else f"its process has not come up for {waits_s:.0f} s"
        if now_s - self._pulse_s > PULSE_LATE_S:
            return f"its process has said nothing for {now_s - self._pulse_s:.0f} s"
        for what, at_s in (("inbox", self.pulse.stats.inbox_at_s), ("outbox", self.pulse.stats.outbox_at_s)):
            if self._pulse_s - at_s > max(STUCK_S, STUCK_LOOKS * self._start.crm.poll_interval):
                return f"it has not got through its {what} for {self._pulse_s - at_s:.0f} s"
        return None

    def wake(self) -> None:
        """Alarms were committed."""
        self._say(Wake())

    async def follow_clock(self) -> None:
        """Return when the process's clock stands as ours does, or when it has died or does not answer in time."""
        if not isinstance(self._start.clock, ScaledClock):
            return
        self._clock_number += 1
        number = self._clock_number
        answered = self._clock_is_set[number] = asyncio.get_running_loop().create_future()
        if self._say(SetClock(number, self._start.clock.setting)):
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOCK_TIMEOUT_S):
                    await answered
        self._clock_is_set.pop(number, None)

    def _say(self, order: Wake | SetClock | Stop) -> bool:
        # What it must know it finds in the database, or is told at its start.
        return self._process is not None and _write(self._process, encode(order))

    async def run(self) -> None:
        """Keep it running until cancelled, then let it end in good order."""
        wait_s = RESTART_S
        while True:
            started_s = self._real_s()
            await self._live()
            lived_s = self._real_s() - started_s
            wait_s = RESTART_S if lived_s > STEADY_S else min(wait_s * 2, LONGEST_RESTART_S)
            self._log.error("crm.process_died", lived_s=round(lived_s, 1), starts_again_in_s=wait_s)
            self.restarts += 1
            await asyncio.sleep(wait_s)

    async def _live(self) -> None:
        """One life of the process; it is gone when this returns or raises."""
        self._changed_s = self._real_s()
        process = await asyncio.create_subprocess_exec(*command_of(PROCESS), stdin=PIPE, stdout=PIPE)
        try:
            if _write(process, encode_first(self._start)):  # the clock as it stands now
                self._process = process
                await self._hear(process)
        except asyncio.CancelledError:
            await self._stop(process)
            raise
        finally:
            self._process = self.pulse = None
            self._changed_s = self._real_s()
            self._forget_questions()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            await process.wait()

    async def _hear(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                answer = decode_answer(line)
            except msgspec.DecodeError:
                self._log.warning("crm.word_not_understood", length=len(line))
                continue
            match answer:
                case Pulse():
                    self.take(answer)
                case ClockIsSet(number):
                    asked = self._clock_is_set.get(number)
                    if asked is not None and not asked.done():
                        asked.set_result(None)

    def take(self, pulse: Pulse) -> None:
        """Note how the process is."""
        self.pulse, self._pulse_s = pulse, self._real_s()

    async def _stop(self, process: Process) -> None:
        """Ask it to end, and wait for the requests that it has under way."""
        if not self._say(Stop()):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()

    def _forget_questions(self) -> None:
        for asked in self._clock_is_set.values():
            if not asked.done():
                asked.set_result(None)


def _write(process: Process, words: bytes) -> bool:
    """Say something to a process; False where it can hear nothing any more, or died before it heard anything."""
    if process.stdin is None or process.stdin.is_closing():
        return False
    process.stdin.write(words)
    return True
