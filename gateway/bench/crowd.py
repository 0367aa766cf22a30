"""The crowd: many devices that connect and then say nothing, in a process of their own.

`python -m gateway.bench.crowd PLAN`, where PLAN is a CrowdPlan as JSON, takes a word a line: `connect` brings every
device in that is away, `storm` cuts all connections and brings every device in again, the end of the input ends it.
Each word is answered with an Arrival as a line of JSON. A device that is not let in tries again, as devices do: after
a second at first, then after twice as long each time, with jitter.
"""

import asyncio
import json
import random
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

from gateway.bench.packets import connect
from gateway.bench.rows import device_id
from gateway.doors.descriptors import raise_file_limit

KEEP_ALIVE_S: Final = 600
_SEED: Final = 3
_PATIENCE_S: Final = 30.0  # for the socket, the TLS handshake and CONNACK together
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_PORTS: Final = 20_000  # connections from one source address, of some 28,000 that Linux has ports for
_CONNACK_BYTES: Final = 4
_BIND_ADDRESS_NO_PORT: Final = 24  # Linux: the port is chosen by connect, which finds a free one at once
_SPARE_FILES: Final = 100


@dataclass(frozen=True, slots=True)
class CrowdPlan:
    """Who connects, and where to."""

    port: int
    devices: int
    is_tls: bool = False

    @property
    def device_ids(self) -> Sequence[str]:
        """The devices, as the registry has to know them."""
        return [device_id(number, _SEED) for number in range(self.devices)]

    def source(self, number: int) -> str:
        """The address that a device connects from; all of 127.0.0.0/8 is this machine."""
        return f"127.0.0.{2 + number // _PORTS}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a crowd came in."""

    connected: int
    took_s: float  # until the last one was in
    p50_s: float  # until a device was in, of those that had to come
    p99_s: float
    attempts: int
    cut: int  # attempts that ended without a CONNACK
    refused: dict[str, int]  # CONNACKs that said no, by return code


class _Device(asyncio.Protocol):
    """One connection that introduces itself, and then is idle."""

    __slots__ = ("_buffer", "_greeting", "answer", "transport")

    def __init__(self, greeting: bytes, answer: "asyncio.Future[int]") -> None:
        self._greeting = greeting
        self._buffer = b""
        self.answer = answer
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _CONNACK_BYTES and not self.answer.done():
            self.answer.set_result(self._buffer[_CONNACK_BYTES - 1])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError())


class Crowd:
    """All devices of a plan."""

    def __init__(self, plan: CrowdPlan, chance: random.Random) -> None:
        self._plan = plan
        self._chance = chance
        self._greetings = [connect(name, KEEP_ALIVE_S) for name in plan.device_ids]
        self._here: dict[int, asyncio.Transport] = {}
        self._tls: ssl.SSLContext | None = None
        if plan.is_tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._tls.check_hostname = False  # what a handshake costs is measured, not whom it convinces
            self._tls.verify_mode = ssl.CERT_NONE

    async def arrive(self) -> Arrival:
        """Bring in every device that is away."""
        away = [number for number in range(self._plan.devices) if number not in self._here]
        tally = _Tally()
        start_s = time.perf_counter()
        await asyncio.gather(*(self._bring(number, tally) for number in away))
        return tally.arrival(start_s, len(self._here))

    def scatter(self) -> None:
        """Cut every connection without a word."""
        for transport in self._here.values():
            transport.abort()
        self._here.clear()

    async def _bring(self, number: int, tally: "_Tally") -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            tally.attempts += 1
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    transport, code = await self._try(number)
            except OSError:  # a timeout among them
                tally.cut += 1
            else:
                if code == 0:
                    self._here[number] = transport
                    tally.in_at_s.append(time.perf_counter())
                    return
                tally.refused[str(code)] += 1
                transport.abort()
            await asyncio.sleep(pause_s * self._chance.uniform(0.5, 1.5))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _try(self, number: int) -> tuple[asyncio.Transport, int]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        own = socket.socket()
        try:
            own.setblocking(False)  # noqa: FBT003 - its name
            own.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            own.bind((self._plan.source(number), 0))
            await loop.sock_connect(own, ("127.0.0.1", self._plan.port))
            transport, _ = await loop.create_connection(
                lambda: _Device(self._greetings[number], answer),
                sock=own,
                ssl=self._tls,
                server_hostname="gateway" if self._tls else None,
            )
        except BaseException:
            own.close()
            raise
        try:
            return transport, await answer
        except BaseException:
            transport.abort()
            raise


class _Tally:
    """What is counted while a crowd comes in."""

    def __init__(self) -> None:
        self.attempts = 0
        self.cut = 0
        self.refused: Counter[str] = Counter()
        self.in_at_s: list[float] = []

    def arrival(self, start_s: float, connected: int) -> Arrival:
        """The tally in figures."""
        waits_s = sorted(at_s - start_s for at_s in self.in_at_s) or [0.0]
        at = [waits_s[min(int(len(waits_s) * share), len(waits_s) - 1)] for share in (0.5, 0.99)]
        p50_s, p99_s, took_s = (round(wait_s, 3) for wait_s in (*at, waits_s[-1]))
        return Arrival(connected, took_s, p50_s, p99_s, self.attempts, self.cut, dict(self.refused))


async def _obey(plan: CrowdPlan, read_line: Callable[[], str]) -> None:
    raise_file_limit(plan.devices + _SPARE_FILES)
    crowd = Crowd(plan, random.Random(_SEED))  # noqa: S311 - jitter
    while word := (await asyncio.to_thread(read_line)).strip():
        if word == "storm":
            crowd.scatter()
        sys.stdout.write(json.dumps(asdict(await crowd.arrive())) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_obey(CrowdPlan(**json.loads(sys.argv[1])), sys.stdin.readline))
