"""The budget's fleet: what leaves a device leaves once, as packets or as lines of a rehearsal; and its service team."""

import io
import json

import numpy as np

from devices.clock import to_datetime
from gateway.rehearsal.lines import parse_line
from simulators.budget.agents import Agents
from simulators.budget.fleet import Device
from simulators.budget.in_process import Rehearsal
from simulators.fleet.habits import Person, Span, make_person
from simulators.fleet.packets import Happening

SPAN = Span(1_756_684_800.0, 30.0)


def person() -> Person:
    return make_person(1, SPAN, np.random.default_rng(1))


def device() -> Device:
    """Six readings that leave in two shares, and an event with each."""
    return Device(
        device_id="cm-1",
        model="coffee-machine",
        person=person(),
        labels=(),
        ts_ms=np.arange(6, dtype=np.int64) * 1000,
        leaves_s=np.array([10.0, 10.0, 10.0, 20.0, 20.0, 20.0]),
        metrics={"shots": np.array([0, 1, np.nan, 3, 4, 5], np.float32)},
        happenings=((10.0, Happening(0.5, "brew_aborted", {})), (20.0, Happening(3.5, "brew_aborted", {}))),
    )


def test_readings_and_events_leave_once_and_absent_values_are_left_out() -> None:
    one = device()
    (share,) = one.take(15.0)
    assert json.loads(share.payload()) == [
        {"ts": 0, "metrics": {"shots": 0.0}},
        {"ts": 1000, "metrics": {"shots": 1.0}},
        {"ts": 2000, "metrics": {}},
    ]
    assert [each.ts_s for each in one.take_events(15.0)] == [0.5]
    assert list(one.take(15.0)) == []
    assert one.take_events(15.0) == []
    (rest,) = one.take(30.0)
    assert (rest.ts_ms, rest.leaves_s) == ([3000, 4000, 5000], 20.0)
    assert [each.ts_s for each in one.take_events(30.0)] == [3.5]


def test_the_lines_of_a_rehearsal_are_those_that_the_gateway_reads() -> None:
    given, told = io.BytesIO(), io.BytesIO(b'{"case": {"case_id": "c"}}\n{"until": 15.0}\n')
    rehearsal = Rehearsal(given, told)
    rehearsal.send(device(), 15.0)
    assert rehearsal.go_on(15.0) == [{"case_id": "c"}]
    first, until = map(parse_line, given.getvalue().splitlines())
    assert (first.device, first.received, list(first.ts)) == ("cm-1", 10.0, [0, 1000, 2000])
    assert first.metrics == {"shots": [0.0, 1.0, None]}
    assert [(each.ts, each.code) for each in first.events] == [(500.0, "brew_aborted")]
    assert until.until == 15.0


def test_most_cases_are_answered_within_three_days_and_by_what_is_true() -> None:
    agents = Agents(np.random.default_rng(3), lambda case: str(case["case_id"]) < "c500")
    for number in range(1000):
        agents.see({"case_id": f"c{number:03}", "opened_at": to_datetime(SPAN.start_s).isoformat()})
    assert list(agents.due(SPAN.start_s + 8 * 3600 - 1)) == []
    words = list(agents.due(SPAN.start_s + 72 * 3600))
    assert 750 < len(words) < 850
    assert sum(word.outcome == "unclear" for word in words) < 130
    assert all(word.outcome in {"unclear", "true" if word.case_id < "c500" else "false"} for word in words)
    assert [word.at_s for word in words] == sorted(word.at_s for word in words)
