"""A door that may open fewer sockets than it would take devices says so, and warns where that is very few."""

import pytest
from structlog.testing import capture_logs

from tests.doors.door import listening
from tests.doors.intake import HeldIntake


@pytest.mark.parametrize(
    ("allowed", "told"),
    [(100_000, []), (4096, [("info", 3896)]), (512, [("warning", 312)]), (100, [("warning", 0)])],
)
async def test_few_descriptors_are_told(
    monkeypatch: pytest.MonkeyPatch, allowed: int, told: list[tuple[str, int]]
) -> None:
    def raised(wanted: int) -> int:
        return min(wanted, allowed)

    monkeypatch.setattr("gateway.doors.listen.server.raise_file_limit", raised)
    with capture_logs() as logs:
        async with listening(HeldIntake()):
            pass
    few = [line for line in logs if line["event"] == "listen.few_descriptors"]
    assert [(line["log_level"], line["devices"]) for line in few] == told
