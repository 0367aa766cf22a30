"""What a connection keeps while the pipeline has no room, and what becomes of it when the connection ends."""

from types import SimpleNamespace
from typing import Any, cast

from gateway.doors.listen.counters import ListenCounters
from gateway.doors.listen.flow import Flow
from gateway.doors.reading import Reading
from gateway.intake import NO_ANSWER, Bunch, Route


class Shut:
    """A valve while the pipeline has no room."""

    is_shut = True

    def wait(self, *_: object) -> None:
        """Nobody opens it."""

    def leave(self, _: object) -> int:
        """Nothing is reckoned here."""
        return 0


class Held(Flow):
    """A connection whose device is in."""

    def __init__(self, door: Any) -> None:
        super().__init__(door)
        self._reading = Reading(
            cast("Any", SimpleNamespace(pause_reading=lambda: None, resume_reading=lambda: None, is_closing=bool))
        )

    @property
    def is_open(self) -> bool:
        """It is."""
        return True


async def test_what_is_lost_at_qos_0_with_a_connection_is_counted() -> None:
    counters = ListenCounters()
    flow = Held(SimpleNamespace(valve=Shut(), counters=counters))
    tokens = [NO_ANSWER, 7, NO_ANSWER]
    flow.hand_on([Bunch(cast("Any", flow), Route.TELEMETRY, "d-1", "t", "json", 0.0, tokens, [b"1", b"2", b"3"])])
    assert counters.lost_at_qos_0 == 0  # they may still be taken
    flow.forget_kept()
    flow.forget_kept()  # what is gone is counted once
    assert counters.snapshot(0, 0, 0).lost_at_qos_0 == 2
