"""How long an event loop keeps those waiting whose time has come."""

import asyncio
from typing import Final

_LOOK_S: Final = 0.05
_WINDOW_S: Final = 15.0


class LoopLag:
    """Sleeps again and again, and notes how much too late it wakes."""

    def __init__(self) -> None:
        self._longest_s = 0.0  # in this window…
        self._before_s = 0.0  # …and in the one before

    async def watch(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        window_ends_s = loop.time() + _WINDOW_S
        while True:
            due_s = loop.time() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            now_s = loop.time()
            if now_s > window_ends_s:
                window_ends_s = now_s + _WINDOW_S
                self._before_s, self._longest_s = self._longest_s, 0.0
            self._longest_s = max(self._longest_s, now_s - due_s)

    @property
    def longest_s(self) -> float:
        """The longest delay within the last half minute or quarter, in seconds, whoever asks and however often."""
        return max(self._longest_s, self._before_s)
