"""Any bytes over a real socket: the door stands, forgets who has gone, and serves the others."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.database.postmaster import wait_until
from gateway.doors.listen.server import ListenDoor
from tests.doors import raw
from tests.doors.door import listening
from tests.doors.hostile import conversations
from tests.doors.intake import HeldIntake
from tests.services.patience import PATIENCE_S


@dataclass
class Open:
    """A door in a thread of its own, and an honest device that stays."""

    door: ListenDoor
    honest: socket.socket
    faults: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    packet_id: int = 0

    def serve_the_honest(self) -> None:
        """It publishes, and is acknowledged; nothing else was said to it."""
        self.packet_id = self.packet_id % 65_535 + 1
        self.honest.sendall(raw.publish("devices/honest/telemetry", b"{}", self.packet_id))
        assert _read(self.honest, 4) == b"\x40\x02" + self.packet_id.to_bytes(2, "big")


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    new_loop: Callable[[], asyncio.AbstractEventLoop] = request.param
    made: list[ListenDoor] = []
    faults: list[dict[str, Any]] = []
    ready, done = threading.Event(), asyncio.Event()
    loop = new_loop()

    async def serve() -> None:
        loop.set_exception_handler(lambda _, context: faults.append(context))
        limits: dict[str, Any] = {"connections_per_s": 1e6, "failed_logins_burst": 0, "receive_maximum": 5}
        async with listening(HeldIntake(at_once=True), max_packet_bytes=4096, connect_timeout=60, **limits) as door:
            made.append(door)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(PATIENCE_S)
    with _connected(made[0]) as honest:
        honest.sendall(raw.connect(username="honest", client_id="honest"))
        _read(honest, 2 + _read(honest, 2)[1] - 2)
        yield Open(made[0], honest, faults)
    loop.call_soon_threadsafe(done.set)
    thread.join(PATIENCE_S)
    loop.close()


def _connected(door: ListenDoor) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", door.port), PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        assert more, "the door has closed"
        found += more
    return found


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversations(), st.lists(st.integers(0, 2_000), max_size=4), st.booleans())
def test_the_door_serves_others_whatever_one_says(opened: Open, data: bytes, cuts: list[int], is_rude: bool) -> None:
    with _connected(opened.door) as hostile, suppress(ConnectionError):  # cut off
        at = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
        for start, stop in pairwise(at):
            hostile.sendall(data[start:stop])
        if is_rude:
            hostile.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
        else:
            with suppress(OSError):  # it may be cut off by now
                hostile.shutdown(socket.SHUT_WR)
            while hostile.recv(4096):  # the door ends it too
                pass
    opened.serve_the_honest()
    assert opened.faults == []


def test_nobody_is_remembered_who_has_gone(opened: Open) -> None:
    with _connected(opened.door) as hostile, suppress(ConnectionError):
        hostile.sendall(raw.connect() + b"\xff")
        while hostile.recv(4096):
            pass
    stays = opened.door._door.connections  # pyright: ignore[reportPrivateUsage] - what must not grow
    assert wait_until(lambda: len(stays) == opened.door.stats.connections == 1, PATIENCE_S)
    stats = opened.door.stats
    assert (stats.waiting, stats.half_open) == (0, 0)
    assert stats.violations
