"""Connections of a listen door without sockets: what they are given is a read, and what they write is kept."""

import asyncio
from typing import Any, cast

import structlog

from devices.clock import SystemClock
from gateway.doors.listen.connection import Connection
from gateway.doors.listen.context import DoorContext, Seated, Valve
from gateway.doors.listen.counters import ListenCounters
from gateway.doors.listen.login import Logins
from gateway.doors.listen.reach import Reach
from gateway.doors.routes import Routes
from gateway.doors.settings import ListenSettings
from gateway.doors.sparing import SparingLog
from gateway.failed_logins import FailedLogins
from gateway.intake import Intake
from tests.doors import raw
from tests.doors.door import OnePassword


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_read = True

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def get_extra_info(self, name: str) -> None:
        """There is nothing to know."""

    def is_closing(self) -> bool:
        """Never by itself."""
        return False

    def can_write_eof(self) -> bool:
        """It ends at once."""
        return False

    def close(self) -> None:
        """Nobody is at the other end."""

    def abort(self) -> None:
        """Nobody is at the other end."""

    def pause_reading(self) -> None:
        """The connection wants nothing more."""
        self.is_read = False

    def resume_reading(self) -> None:
        """The connection reads on."""
        self.is_read = True

    @property
    def pubacks(self) -> list[int]:
        """The packet identifiers that were acknowledged."""
        written = bytes(self.written).replace(b"\xd0\0", b"")
        assert len(written) % 4 == 0
        words = [written[at : at + 4] for at in range(0, len(written), 4)]
        assert all(word[:2] == b"\x40\x02" for word in words)
        return [int.from_bytes(word[2:]) for word in words]


def door_of(intake: Intake, **settings: Any) -> DoorContext:
    """What the connections of a door share."""
    connections: set[Seated] = set()
    found = ListenSettings(port=0, **settings)
    return DoorContext(
        settings=found,
        intake=intake,
        reach=Reach(Routes(), found.authority()),
        clock=SystemClock(),
        log=SparingLog(structlog.get_logger()),
        counters=ListenCounters(),
        failed_logins=FailedLogins(10, 10, lambda: 0.0),
        valve=Valve(intake, connections),
        connections=connections,
        logins=Logins(OnePassword()),
    )


def connected(door: DoorContext, device_id: str, version: int = 4, **connect: Any) -> tuple[Connection, Wire]:
    """A device that is in."""
    connection, wire = Connection(door, "127.0.0.1", "127.0.0.1", lambda: None), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    connection.data_received(raw.connect(version, username=device_id, client_id=device_id, **connect))
    assert connection.is_open
    wire.written.clear()
    return connection, wire
