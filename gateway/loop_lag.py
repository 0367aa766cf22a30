"""How long an event loop keeps those waiting whose time has come."""

import asyncio
from typing import Final

_LOOK_S: Final = 0.05


class LoopLag:
    """Sleeps again and again, and notes how much too late it wakes."""

    def __init__(self) -> None:
        self._longest_s = 0.0

    async def watch(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            self._longest_s = max(self._longest_s, loop.time() - due_s)

    def take(self) -> float:
        """The longest delay since this was last asked, in seconds."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s
