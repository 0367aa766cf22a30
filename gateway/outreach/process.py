"""The CRM process: the `main` of this module, started by a gateway and by nobody else.

It lives no longer than the gateway: a thread reads what the gateway says, and when the pipe ends, as it does when the
gateway is killed, so does the process, whatever it is doing. What it was sending is then unsettled, and is sent again
under the same id when its lease has ended, as after any crash.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Mapping
from io import FileIO
from typing import Final

import structlog
import uvloop

from crm_sync.cases.desk import Desk
from crm_sync.owner_link import link_keys
from crm_sync.service import CrmSync
from crm_sync.wording.catalogue import load_wordings
from devices.clock import ScaledClock
from gateway.child_process import read_first, take_input, take_output
from gateway.database.hold import build_pool
from gateway.heads import find_heads_anywhere
from gateway.logs import configure_logs
from gateway.loop_lag import LoopLag
from gateway.outreach.words import (
    Answer,
    ClockIsSet,
    Order,
    Pulse,
    SetClock,
    Start,
    Stop,
    Wake,
    decode_order,
    encode,
)

PULSE_S: Final = 1.0
READ_BYTES: Final = 65_536


def main() -> None:
    """Read what to do from standard input, and do it until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the gateway's, which then says what to do
    said, answers = take_input(), take_output()
    start = read_first(said, Start)
    configure_logs(start.log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Process(start, answers).run(said))


class _Process:
    """CrmSync, and the ear that it has for the gateway."""

    def __init__(self, start: Start, answers: FileIO) -> None:
        self._start = start
        self._answers = answers
        self._stop = asyncio.Event()
        self._lag = LoopLag()

    async def run(self, said: FileIO) -> None:
        """Work until told to stop."""
        start, log = self._start, structlog.get_logger()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        async with build_pool(start.url, start.pool_size, "careloop-crm") as pool:
            words = load_wordings(start.crm.language, start.crm.wording_folder)
            desk = Desk(start.crm, start.profiles, start.trust, words, link_keys(start.crm.voice))
            crm = CrmSync(desk, pool, start.clock, log, tenant_id=start.tenant_id, heads=find_heads_anywhere)
            listener = threading.Thread(target=_listen, args=(said, loop, self._obey(crm)), daemon=True)
            listener.start()
            async with asyncio.TaskGroup() as tasks:
                work = tasks.create_task(crm.run(), name="crm")
                beside = [
                    tasks.create_task(self._lag.watch(), name="loop lag"),
                    tasks.create_task(self._pulse(crm, pool.get_stats), name="pulse"),
                ]
                log.info("crm.started", endpoints=len(start.crm.endpoints))
                await self._stop.wait()
                for task in (work, *beside):
                    task.cancel()
        log.info("crm.stopped")

    def _obey(self, crm: CrmSync) -> Callable[[Order], None]:
        def obey(order: Order) -> None:
            match order:
                case Wake():
                    crm.wake()
                case SetClock():
                    if isinstance(self._start.clock, ScaledClock):
                        self._start.clock.follow(order.setting)
                    self._say(ClockIsSet(order.number))
                case Stop():
                    self._stop.set()

        return obey

    async def _pulse(self, crm: CrmSync, pool_stats: Callable[[], dict[str, int]]) -> None:
        while True:
            self._say(Pulse(crm.stats, self._lag.longest_s, _numbers(pool_stats())))
            await asyncio.sleep(PULSE_S)

    def _say(self, answer: Answer) -> None:
        # A pipe holds thousands of pulses, and nobody but a gateway that hangs leaves them unread.
        self._answers.write(encode(answer))


def _numbers(stats: Mapping[str, int]) -> dict[str, int]:
    return {name: int(stats.get(name, 0)) for name in ("pool_size", "pool_available", "requests_waiting")}


def _listen(said: FileIO, loop: asyncio.AbstractEventLoop, obey: Callable[[Order], None]) -> None:
    rest = b""
    while more := said.read(READ_BYTES):
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            loop.call_soon_threadsafe(obey, decode_order(line))
    os._exit(1)  # the gateway is gone
