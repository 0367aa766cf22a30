"""Whether a connection is read, and what it keeps while the pipeline has no room."""

import asyncio
from collections.abc import Sequence
from typing import cast

from gateway.doors.listen.context import DoorContext, Seated
from gateway.doors.reading import Hold, Reading
from gateway.intake import NO_ANSWER, Bunch


class Flow(asyncio.Protocol):
    """The part of a connection that holds its device back."""

    __slots__ = ("_door", "_heard_s", "_kept", "_loop", "_reading")

    def __init__(self, door: DoorContext) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._heard_s = 0.0
        self._kept: tuple[Bunch, ...] = ()  # what the pipeline has no room for
        self._reading: Reading  # set by connection_made, which comes first

    @property
    def is_open(self) -> bool:
        """Whether its device is in."""
        raise NotImplementedError

    @property
    def _seated(self) -> Seated:
        return cast("Seated", self)  # which the whole connection is

    def pause_writing(self) -> None:
        """The device does not read its acknowledgements: read no more of its packets."""
        self.hold(Hold.WRITING)

    def resume_writing(self) -> None:
        """The device reads again."""
        self.release(Hold.WRITING)

    def hand_on(self, bunches: Sequence[Bunch]) -> None:
        """Hand PUBLISHes to the pipeline, or keep them while it has no room; a last will it takes at any time."""
        valve = self._door.valve
        if valve.is_shut and self.is_open:
            self._kept = (*self._kept, *bunches)
            self.hold(Hold.INTAKE)
            valve.wait(self._seated, bunches)
        elif not self._door.intake.submit(bunches):
            self.wait_for_room()

    def wait_for_room(self) -> None:
        """Read no more until the pipeline has room."""
        if self.is_open:
            self.hold(Hold.INTAKE)
            self._door.valve.wait(self._seated)

    def go_on(self) -> None:
        """The pipeline has room: hand on what was kept, and read on."""
        kept, self._kept = self._kept, ()
        if not kept or self._door.intake.submit(kept):
            self.release(Hold.INTAKE)
        else:
            self._door.valve.wait(self._seated)

    def forget_kept(self) -> None:
        """The connection ends: its device sends again what was not acknowledged; at QoS 0 it is lost, and counted."""
        self._door.valve.leave(self._seated)
        kept, self._kept = self._kept, ()
        self._door.counters.lost_at_qos_0 += sum([bunch.tokens.count(NO_ANSWER) for bunch in kept])

    def hold(self, reason: Hold) -> None:
        """Do not read for now."""
        if self._reading.hold(reason):
            self._door.counters.held += 1

    def release(self, reason: Hold) -> None:
        """Read on, unless there is another reason not to."""
        if self._reading.release(reason):
            self._heard_s = self._loop.time()
