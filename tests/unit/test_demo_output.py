"""What the demo prints where nobody watches a screen."""

import re
from io import StringIO
from unittest.mock import MagicMock

import numpy as np
from rich.console import Console
from rich.table import Table

from simulators.api_client import Json, epoch_s
from simulators.crm.records import Book
from simulators.demo.plain import make_console
from simulators.demo.replay_story import print_alarms
from simulators.demo.story import Thread, tell
from simulators.demo.verdict import kinds
from simulators.fleet.faults import FaultKind, Label, Trace
from simulators.scorecard import DetectionScore, KindScore
from simulators.words import count


def test_lines_in_a_file_end_where_their_words_end() -> None:
    file = StringIO()
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(ratio=1)
    table.add_row("readings", "few")
    console = make_console(file)
    console.print(table)
    console.print("a b ", end="")
    console.print(" c")

    lines = file.getvalue().splitlines()
    assert lines == ["readings  few", "a b  c"]


def test_a_terminal_of_eighty_columns_cuts_no_figure_of_the_faults_short() -> None:
    """The note on a firmware took all the room: `foun…`, `42.4…`, and no word of how many faults there were."""
    found = {kind: KindScore(17, 17, 13, 13, 142.4) for kind in FaultKind}
    unwatched = {FaultKind.BAD_FIRMWARE: KindScore(19, 0, 0, 0, None)}
    console = Console(file=(file := StringIO()), width=80)
    console.print(kinds(DetectionScore({**found, **unwatched}, None, None, None, 0, None)))

    told = file.getvalue()
    assert "…" not in told
    assert all(title in told for title in ("fault", "injected", "found", "found after"))
    assert [told.count(figure) for figure in (" 17 ", " 13 ", "142.4 h", " 19 ")] == [*[len(FaultKind) - 1] * 3, 1]
    assert "many devices at once: careloop simulate rollout" in " ".join(told.split())
    assert all(kind.value.replace("_", " ") in told for kind in FaultKind)


def test_one_is_counted_in_the_singular() -> None:
    assert [count(1, "device"), count(0, "device"), count(2000, "device")] == ["1 device", "0 devices", "2,000 devices"]


def test_played_data_is_told_by_its_alarms_with_words_and_case() -> None:
    file = StringIO()
    print_alarms(make_console(file), [_alarm("alm_1", "2026-01-11T08:55:00Z")], [_case("alm_1")])

    told = file.getvalue()
    assert "11 Jan 2026 08:55" in told
    assert "no word for 3 days" in told
    assert "case open" in told


def test_an_alarm_without_a_case_says_so_and_the_oldest_comes_first() -> None:
    file = StringIO()
    alarms = [_alarm("alm_2", "2026-01-12T00:00:00Z"), _alarm("alm_1", "2026-01-11T00:00:00Z")]
    print_alarms(make_console(file), alarms, [])

    told = file.getvalue()
    assert told.index("11 Jan") < told.index("12 Jan")
    assert "no case" in told


def test_data_without_alarms_is_told_in_a_sentence() -> None:
    file = StringIO()
    print_alarms(make_console(file), [], [])

    assert "Nothing in this data looked like a fault." in file.getvalue()


def test_a_silent_fix_is_told_after_the_alarm_that_it_is_of() -> None:
    """The gateway's clock is behind that of a device which is ahead: the fix stood at 08:00, its alarm at 08:06."""
    raised, noted = "2026-01-11T08:06:00Z", "2026-01-11T08:00:00Z"
    alarm = {
        **_alarm("alm_1", raised),
        "events": [{"event": "raised", "ts": raised}, {"event": "cleared", "ts": "2026-01-11T15:00:00Z"}],
    }
    moves = [
        ("proposed", "telemetry", "alarm_raised", noted),
        ("open", "policy", "auto", noted),
        ("waiting", "playbook", "silent_fix", noted),
        ("resolved", "telemetry", "fixed_silently", "2026-01-11T14:00:00Z"),
    ]
    case = {
        **_case("alm_1"),
        "opened_at": noted,
        "resolution": "fixed_silently",
        "transitions": [
            {"to_state": state, "actor": actor, "reason": reason, "at": at} for state, actor, reason, at in moves
        ],
    }
    device = MagicMock()
    device.encoder.ts_ms = np.array([0.0])
    file = StringIO()
    label = Label("rds", FaultKind.STUCK, epoch_s(noted) - 3600, None, Trace(frozenset()), watched=True)
    make_console(file).print(tell(Thread(label, device, alarm, case), Book(), None))

    assert re.findall(r"^ +Sun 11 Jan (\d\d:\d\d) +\w+ +([^:]+):", file.getvalue(), re.MULTILINE) == [
        ("08:06", "silence (minor)"),
        ("08:06", "proposed"),
        ("08:06", "open"),
        ("08:06", "waiting"),
        ("15:00", "silence (minor) cleared"),
        ("15:00", "resolved"),
    ]


def _alarm(alarm_id: str, started_at: str) -> Json:
    return {
        "alarm_id": alarm_id,
        "device_id": "rds",
        "watch": "silence",
        "severity": "minor",
        "state": "active",
        "started_at": started_at,
        "explanation": {"text": "no word for 3 days"},
    }


def _case(alarm_id: str) -> Json:
    return {"case_id": "case_1", "state": "open", "alarms": [{"alarm_id": alarm_id}]}
