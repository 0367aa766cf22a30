"""How much has to have come before the kernel wakes us."""

import asyncio
import socket
from contextlib import suppress
from typing import Final, Protocol

BUSY_BYTES: Final = 65_536
CALM_S: Final = 0.005
"""A broker that has much to send does so again within this time."""


class Marked(Protocol):
    """A socket, as far as it matters here."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Set an option."""
        ...


class LowWater:
    """Has many messages read at once while they come fast, by the socket's low-water mark (socket(7), SO_RCVLOWAT).

    A broker writes its messages to the socket one by one. As long as we are slower than it, they pile up by themselves;
    when we are faster, each of them would wake this process, at the broker's cost too. While something comes every few
    milliseconds the kernel keeps it until it is worth a read; after a pause of that length, whatever came is read.
    """

    def __init__(self, opened: Marked, loop: asyncio.AbstractEventLoop) -> None:
        """`opened` is the connection's socket."""
        self._socket = opened
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._last_s = -CALM_S
        self.is_raised = False

    def heard(self) -> None:
        """Something was read."""
        now_s = self._loop.time()
        is_fast, self._last_s = now_s - self._last_s < CALM_S, now_s
        if is_fast and not self.is_raised:
            self._set(BUSY_BYTES, is_raised=True)
            self._timer = self._loop.call_later(CALM_S, self._look)

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        left_s = self._last_s + CALM_S - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._set(1, is_raised=False)

    def _set(self, least_bytes: int, *, is_raised: bool) -> None:
        self.is_raised = is_raised
        with suppress(OSError):  # where there is no such thing
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least_bytes)
