"""Who goes on when the pipeline has some room, and who is not read while all keep too much."""

from collections.abc import Callable, Sequence
from typing import cast

import pytest

from gateway.doors.listen.context import Seated, Valve
from gateway.doors.reading import Hold
from gateway.intake import Bunch, Piece, Route
from tests.ingest.rig import Door


class Intake:
    """Has no room until it is told so."""

    def __init__(self) -> None:
        self.for_little: list[Callable[[], None]] = []

    def submit(self, pieces: Sequence[Piece]) -> bool:
        """Take nothing."""
        raise NotImplementedError

    def when_ready(self, resume: Callable[[], None], *, little: bool = False) -> None:
        """Remember who wants a little."""
        if little:
            self.for_little.append(resume)

    def has_some_room(self) -> None:
        """A batch has left."""
        asking, self.for_little = self.for_little, []
        for resume in asking:
            resume()


class Device:
    """A connection of which only the reading matters."""

    def __init__(self) -> None:
        self.is_read = True

    def hold(self, reason: Hold) -> None:
        """Is not read."""
        assert reason is Hold.INTAKE
        self.is_read = False

    def go_on(self) -> None:
        """Is read."""
        self.is_read = True


def brings(valve: Valve, device: Device, size: int) -> None:
    device.hold(Hold.INTAKE)
    bunch = Bunch(Door(), Route.TELEMETRY, "d", "t", "json", 0.0, [1], [bytes(size)])
    valve.wait(cast("Seated", device), [bunch])


def test_while_all_keep_too_much_a_batch_that_leaves_lets_what_is_little_on_and_has_nobody_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.doors.listen.context._MOST_KEPT", 20_000)
    little, storm, idle, other = [Device() for _ in range(4)]
    intake, everybody = Intake(), (little, storm, idle, other)
    valve = Valve(intake, [cast("Seated", device) for device in everybody])
    brings(valve, little, 100)
    brings(valve, storm, 21_000)
    assert not any(device.is_read for device in everybody)
    intake.has_some_room()
    assert not any(device.is_read for device in everybody), "else each would keep one more read"
    assert not intake.for_little, "and nobody asks for what is of no use"
    valve.leave(cast("Seated", storm))
    brings(valve, other, 100)
    intake.has_some_room()
    assert [device.is_read for device in everybody] == [True, False, True, True]
