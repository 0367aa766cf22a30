"""A listen door on a free port."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from devices.clock import SystemClock
from gateway.doors.authenticate import Authenticator
from gateway.doors.listen.server import ListenDoor
from gateway.doors.routes import Routes
from gateway.doors.settings import ListenSettings
from gateway.intake import Intake

PASSWORD = "correct horse"


class OnePassword:
    """Lets any device in that knows the one password, or bears a certificate in its name."""

    def __init__(self, *, slow: bool = False) -> None:
        self.asked: list[tuple[str | None, bytes | None, str, Sequence[str]]] = []
        self._slow = slow

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, certificate_names: Sequence[str]
    ) -> str | None:
        """The device of this user name or certificate."""
        self.asked.append((username, password, client_id, certificate_names))
        if password == PASSWORD.encode():
            return username
        return certificate_names[0] if certificate_names and not username else None

    def is_slow(self, username: str | None, password: bytes | None) -> bool:
        """As the test has said."""
        return self._slow

    def credential_of(self, username: str | None, password: bytes | None) -> int | None:
        """The one that there is."""
        return None if password is None else 1

    def stands(self, device_id: str, credential_id: int) -> bool:
        """It is gone."""
        return False


@asynccontextmanager
async def listening(
    intake: Intake, authenticator: Authenticator | None = None, routes: Routes | None = None, **settings: Any
) -> AsyncGenerator[ListenDoor]:
    """A door that is open for the length of a `with`."""
    free: dict[str, Any] = {"port": 0, **settings}
    door = ListenDoor(
        ListenSettings(**free),
        intake,
        authenticator or OnePassword(),
        routes or Routes(),
        SystemClock(),
        structlog.get_logger(),
    )
    await door.start()
    try:
        yield door
    finally:
        await door.stop()
