"""Whether a connection is being read, and why not."""

import asyncio
from enum import IntFlag


class Hold(IntFlag):
    """Why a connection is not being read."""

    LOGIN = 1  # a slow login is under way
    INTAKE = 2  # the pipeline is full
    WINDOW = 4  # too much of this connection is not settled
    WRITING = 8  # the device does not read its acknowledgements
    STOPPING = 16  # the door is being closed


class Reading:
    """Pauses a transport while there is a reason to, and reads on when the last one is gone."""

    __slots__ = ("_ended", "_holds", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holds = Hold(0)
        self._ended = False

    def __contains__(self, reason: Hold) -> bool:
        return reason in self._holds

    @property
    def is_held(self) -> bool:
        """Whether there is any reason not to read."""
        return bool(self._holds)

    def hold(self, reason: Hold) -> bool:
        """Add a reason; whether that stopped the reading."""
        was_read, self._holds = not self._holds, self._holds | reason
        if not was_read or self._is_over():
            return False
        self._transport.pause_reading()
        return True

    def release(self, reason: Hold) -> bool:
        """Take a reason away; whether that let the reading go on."""
        if reason not in self._holds:
            return False
        self._holds &= ~reason
        if self._holds or self._is_over():
            return False
        self._transport.resume_reading()
        return True

    def read_to_the_end(self) -> None:
        """Whatever the reasons: read on, so that the peer's end is seen; what comes is thrown away."""
        self._ended = True
        self._transport.resume_reading()

    def _is_over(self) -> bool:
        return self._ended or self._transport.is_closing()
