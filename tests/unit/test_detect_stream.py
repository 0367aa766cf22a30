"""Reading many lines costs what the lines are, whatever they do to deadlines and to the number of metrics."""

from typing import ClassVar

import numpy as np

from devices.profiles import AUTOMATIC
from gateway.detect.detector import load_detectors
from gateway.detect.fleet import Fleet
from gateway.detect.lines import Line
from gateway.detect.settings import DetectSettings
from gateway.detect.station import Station
from gateway.detect.stream import Stream
from gateway.detect.table import Journal
from tests.detect.stories import HOUR_S, START_S, profile_of


class Name(str):
    """A device's id that counts how often it was looked up."""

    __slots__ = ()
    looked_up: ClassVar[list[int]] = [0]

    def __hash__(self) -> int:
        self.looked_up[0] += 1
        return super().__hash__()


def test_lines_that_pass_deadlines_are_looked_at_a_few_times_only() -> None:
    profile = profile_of({"name": "quiet", "detector": "silence", "parameters": {"after": "30m"}}, unit="Cel")
    names = (Name("a"), Name("b"))
    # Each line passes the deadline that the one before it has set.
    lines = [Line(names[i % 2], START_S + i * HOUR_S, {"heat": 1.0}) for i in range(400)]
    told = Stream(profile, DetectSettings(silence_grace=0.0)).take(lines)
    assert len(told) > 300
    assert Name.looked_up[0] < 50 * len(lines)


def test_hundreds_of_metrics_move_the_matrix_a_few_times_only() -> None:
    journal, settings = Journal(), DetectSettings()
    stations = {name: Station(name, detector, journal) for name, detector in load_detectors().items()}
    fleet = Fleet(stations, settings, journal)
    roster = fleet.rosters[fleet.roster(AUTOMATIC)]
    widths: list[int] = []
    for number in range(200):
        roster.layout((f"metric_{number}",))
        widths.append(roster.slots.shape[1])
    assert widths[-1] >= 1000  # five watches a metric
    assert len(set(widths)) < 20
    assert np.all(np.diff(widths) >= 0)
