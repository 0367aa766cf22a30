"""Logins, those with a slow password check beside the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gateway.doors.authenticate import Authenticator
from gateway.doors.mqtt.packets import Connect

_THREADS: Final = 2
_MOST_WAITING: Final = 64


class Logins:
    """Asks the authenticator, in a thread where that takes milliseconds; few threads, and not too many waiting."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._threads = ThreadPoolExecutor(_THREADS, "careloop-login")
        self._waiting = 0

    def is_slow(self, connect: Connect) -> bool:
        """Whether this login belongs into a thread."""
        return self._authenticator.is_slow(connect.username, connect.password)

    def decide(self, connect: Connect, names: Sequence[str]) -> str | None:
        """The device that logs in, or None; `names` are those of its certificate."""
        return self._authenticator.authenticate(connect.username, connect.password, connect.client_id, names)

    def decide_later(self, connect: Connect, names: Sequence[str], decided: Callable[[str | None], None]) -> bool:
        """Call `decided` in the event loop with the device; False when too many are waiting already."""
        if self._waiting >= _MOST_WAITING:
            return False
        self._waiting += 1

        def done(answer: asyncio.Future[str | None]) -> None:
            self._waiting -= 1
            if not answer.cancelled():  # asked again, which is quick now: it may have been revoked meanwhile
                decided(self.decide(connect, names) if answer.result() is not None else None)

        asyncio.get_running_loop().run_in_executor(self._threads, self.decide, connect, names).add_done_callback(done)
        return True

    def credential_of(self, connect: Connect) -> int | None:
        """By which credential a device has just been let in; None where it was a certificate."""
        return self._authenticator.credential_of(connect.username, connect.password)

    def stands(self, device_id: str, credential_id: int | None) -> bool:
        """Whether what a device was let in by is still good; of a certificate nobody knows."""
        return credential_id is not None and self._authenticator.stands(device_id, credential_id)

    def close(self) -> None:
        """Let no more logins begin."""
        self._threads.shutdown(wait=False, cancel_futures=True)
