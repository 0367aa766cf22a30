"""Comparing what happened with what would have, reading proposals, and the history's clock."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from devices.errors import ConfigError
from devices.profiles import AUTOMATIC, load_profiles
from devices.profiles.model import Metric, MetricKind, Profile, Severity, Watch
from gateway.backtest import summary
from gateway.backtest.compare import compare, match
from gateway.backtest.outcomes import Alarm, AlarmLog, Case, Contact, Outcome, Refusal, by_watch
from gateway.backtest.picture import span_of
from gateway.backtest.proposal import propose_profile, propose_watches
from gateway.backtest.replay import MANY, Decided, Replay
from gateway.backtest.run import Report
from gateway.backtest.windows import Window
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.store.history import Part, TimeBase, Wanted
from gateway.store.rows import Readings, ReadingTable

DAY_S = 86_400.0
HOUR_S = 3600.0
BEGIN_S = 1_760_000_000.0


def alarm(device: str = "d", began: float = 0.0, ended: float | None = 1.0, **changes: str) -> Alarm:
    """An alarm that lasted from one day to another."""
    plain = Alarm(
        device_id=device,
        watch="hot",
        kind="threshold",
        metric="celsius",
        problem="heat",
        severity="major",
        state="active" if ended is None else "cleared",
        raised_at_s=BEGIN_S + began * DAY_S,
        started_at_s=BEGIN_S + began * DAY_S,
        ended_at_s=None if ended is None else BEGIN_S + ended * DAY_S,
        text="too hot",
        expected="at most 90",
    )
    return replace(plain, **changes)


def case(asset: str, opened: float, closed: float | None = None, outcome: str | None = None) -> Case:
    """A case that was open from one day to another."""
    opened_s, closed_s = BEGIN_S + opened * DAY_S, None if closed is None else BEGIN_S + closed * DAY_S
    state = "open" if closed is None else "resolved"
    return Case(f"case-{asset}", asset, asset, "heat", "major", state, opened_s, closed_s, None, outcome, 0)


def test_what_overlaps_on_one_device_and_watch_is_the_same_and_each_is_paired_once() -> None:
    before = [alarm("a", 0, 2), alarm("a", 5, 6), alarm("b", 0, None), alarm("c", 0, 1)]
    after = [alarm("a", 1, 7), alarm("b", 9, 10), alarm("c", 2, 3), alarm("c", 0.5, 0.6, watch="cold")]
    found = match(before, after, lambda each: (each.device_id, each.watch))
    assert found.same == [(before[0], after[0]), (before[2], after[1])]
    assert found.new == [after[2], after[3]]
    assert found.gone == [before[1], before[3]]


def test_cases_are_the_same_for_one_product_and_problem_and_proposals_are_no_cases() -> None:
    before = Outcome(cases=[case("a", 0, 2), case("b", 0, 1)])
    after = Outcome(cases=[case("a", 1), case("b", 2, 3), replace(case("c", 0), state="expired")])
    found = compare(before, after).cases
    assert [(old.asset_id, new.asset_id) for old, new in found.same] == [("a", "a")]
    assert ([each.asset_id for each in found.new], [each.asset_id for each in found.gone]) == (["b"], ["b"])
    assert len(after.proposed) == 1


def test_alarms_are_told_by_watch_with_the_median_of_those_that_are_over() -> None:
    told = by_watch([alarm("a", 0, 1), alarm("b", 0, 3), alarm("c", 0, None), alarm("a", 0, 1, watch="cold")])
    assert [(each.watch, each.raised, each.cleared, each.devices) for each in told] == [
        ("hot", 3, 2, 3),
        ("cold", 1, 1, 1),
    ]
    assert told[0].median_duration_s == 2 * DAY_S


def report(**changes: Outcome | None) -> Report:
    """A report on nothing."""
    wanted = Wanted(round(BEGIN_S * 1e6), round((BEGIN_S + 9 * DAY_S) * 1e6))
    return replace(Report(wanted, 10, 2, [], Outcome(), Outcome(), None), **changes)


def test_the_summary_counts_what_stands_side_by_side() -> None:
    refusals = [
        Refusal("case", "budget", "refuse", "budget", "cap", 3, 2),
        Refusal("step", "quiet_hours", "hold", "quiet_hours", "", 1, 1),
    ]
    found = report(
        happened=Outcome([alarm("a")], [case("a", 0, 1, "true")], [], [Contact("email", 1, 1)]),
        installed=Outcome([alarm("a"), alarm("b")], [case("a", 0, 1), case("b", 0)], refusals),
        proposed=Outcome([alarm("b")], [case("b", 0)]),
    )
    lines = {row.name.strip(): list(row.cells) for row in summary.rows(found)}
    assert lines["alarms raised"] == ["1", "2", "1"]
    assert lines["hot (threshold)"] == ["1 (1 cleared, 24 hours)", "2 (2 cleared, 24 hours)", "1 (1 cleared, 24 hours)"]
    assert lines["cases opened"] == ["1", "2", "1"]
    assert lines["by email"] == ["1", "0", "0"]
    assert lines["no case: budget (cap)"] == ["0", "2", "0"]
    assert lines["no message yet: quiet hours"] == ["0", "1", "0"]
    says = " ".join(summary.sentences(found))
    assert "alarms 1 the same, 1 new, 0 gone; cases 1 the same, 1 new, 0 gone" in says
    assert "as installed 1 true, 0 false and 0 unclear ones would have opened, as proposed 0 true" in says
    assert [line.split()[0] for line in summary.examples(found)] == ["gone"]
    told = summary.as_json(found, ["a watch is gone"])
    assert told["since"] == "2025-10-09T08:53:20Z"
    assert told["proposal"] == ["a watch is gone"]


# -- proposals -------------------------------------------------------------------------------------------------------


def proposal_file(folder: Path, text: str) -> Path:
    path = folder / "proposal.toml"
    path.write_text(text)
    return path


HOTTER = """
[[watches]]
name = "boiler-too-hot"
detector = "threshold"
metric = "boiler_temperature"
parameters = { above = 140.0 }
"""


def test_a_watch_takes_the_place_of_the_one_of_its_name(tmp_path: Path) -> None:
    profiles = load_profiles()
    proposal = propose_watches(profiles, proposal_file(tmp_path, HOTTER))
    (changed,) = [model for model in profiles if profiles[model] is not proposal.profiles[model]]
    names = [watch.name for watch in profiles[changed].watches]
    assert [watch.name for watch in proposal.profiles[changed].watches] == names
    assert any("boiler-too-hot" in words and "above = 140.0" in words for words in proposal.says)


def test_watches_may_be_new_and_may_go(tmp_path: Path) -> None:
    text = 'model = "coffee-machine"\nremove = ["boiler-too-hot"]\n' + HOTTER.replace("boiler-too-hot", "boiler-hot")
    proposal = propose_watches(load_profiles(), proposal_file(tmp_path, text))
    assert set(proposal.says) == {
        "coffee-machine: watch boiler-hot is new",
        "coffee-machine: watch boiler-too-hot is gone",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = ", "TOML"),
        ("watch = 1", "Extra inputs"),
        ('model = "toaster"\n', "a product model with a profile"),
        ('model = "automatic"\n', "try a profile with --profile"),
        ('model = "coffee-machine"\nremove = ["nothing-such"]', "some of"),
        (HOTTER.replace("boiler-too-hot", "brand-new"), "the product model that new watches are for"),
        ('model = "coffee-machine"\n' + HOTTER.replace('"boiler_temperature"', '"nonsense"'), "no metric named"),
        ('model = "coffee-machine"\n', "at least one watch that differs"),
    ],
)
def test_what_is_no_proposal_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        propose_watches(load_profiles(), proposal_file(tmp_path, text))
    assert words in " ".join(fault.allowed for fault in caught.value.faults)


def test_a_profile_takes_the_place_of_its_models_and_of_no_other(tmp_path: Path) -> None:
    profiles = load_profiles()
    path = proposal_file(tmp_path, 'model = "coffee-machine"\ntitle = "Another"\n')
    proposal = propose_profile(profiles, path)
    assert proposal.profiles["coffee-machine"].title == "Another"
    assert sum(words.endswith("is gone") for words in proposal.says) == len(profiles["coffee-machine"].watches)
    with pytest.raises(ConfigError):
        propose_profile(profiles, proposal_file(tmp_path, 'model = "toaster"\ntitle = "Toaster"\n'))


# -- the history's clock ---------------------------------------------------------------------------------------------

PROBE = Profile(
    model="probe",
    title="Probe",
    metrics={"celsius": Metric(kind=MetricKind.GAUGE)},
    watches=(
        Watch(name="hot", detector="threshold", metric="celsius", severity=Severity.MAJOR, parameters={"above": 90.0}),
        Watch(name="silence", detector="silence", parameters={"after": "6h"}),
    ),
)
TABLE = ReadingTable("probe", "reading_probe", ("celsius",), ("celsius",))


def window(told: Sequence[tuple[str, float, float, float]]) -> Window:
    """Readings of device, hour measured, hour received and value, in the order of receipt."""
    devices = sorted({device for device, *_ in told})
    count = len(told)
    at_us = np.array([round((BEGIN_S + received * HOUR_S) * 1e6) for _, _, received, _ in told], np.int64)
    nothing = np.zeros(count, np.int32)
    readings = Readings(
        table=TABLE,
        device_ids=tuple(devices),
        device=np.array([devices.index(device) for device, *_ in told], np.int32),
        ts_us=np.array([round((BEGIN_S + hour * HOUR_S) * 1e6) for _, hour, _, _ in told], np.int64),
        received_us=at_us,
        seq=np.full(count, -1, np.int64),
        values=np.array([[value] for *_, value in told]),
        extra={},
        packet=nothing,
        element=nothing,
        row=np.arange(count, dtype=np.int32),
    )
    return Window([Part(readings, at_us)], [])


def replay() -> Replay:
    profiles = {AUTOMATIC.model: AUTOMATIC, "probe": PROBE}
    return Replay(Engine(profiles, DetectSettings(silence_grace=0.0)), profiles, TimeBase.RECEIVED)


def told(decided: Sequence[Decided]) -> list[tuple[str, str, str, float]]:
    """Who, which watch, what, and at which hour it was decided."""
    return [
        (each.change.device_id, each.change.watch, each.change.event, round((each.at_s - BEGIN_S) / HOUR_S, 1))
        for each in decided
    ]


def hourly(devices: Sequence[str], hours: Sequence[int]) -> list[tuple[str, float, float, float]]:
    return [(device, float(hour), float(hour), 60.0) for hour in hours for device in devices]


def test_what_comes_late_is_decided_when_it_comes() -> None:
    late = [("a", 0.0, 0.0, 60.0), ("a", 1.0, 5.0, 95.0), ("a", 2.0, 5.0, 60.0)]
    assert told(list(replay().take(window(late)))) == [("a", "hot", "raised", 5.0), ("a", "hot", "cleared", 5.0)]


def test_a_silence_is_told_when_it_is_due_and_ends_with_the_next_sign() -> None:
    some = [*hourly(["a"], range(3)), ("a", 30.0, 30.0, 60.0)]
    assert told(list(replay().take(window(some)))) == [
        ("a", "silence", "raised", 8.0),
        ("a", "silence", "cleared", 30.0),
    ]


def test_a_history_cut_into_windows_anywhere_comes_to_the_same() -> None:
    readings = hourly(["a", "b"], range(10)) + hourly(["b"], range(10, 40))
    readings[12] = ("a", 6.0, 6.0, 99.0)
    whole = told([*(one := replay()).take(window(readings)), *one.pass_time(BEGIN_S + 50 * HOUR_S)])
    for cut in (1, 7, 13, 20, 35, len(readings) - 1):
        parts = replay()
        found = [*parts.take(window(readings[:cut])), *parts.take(window(readings[cut:]))]
        found += parts.pass_time(BEGIN_S + 50 * HOUR_S)
        assert told(found) == whole
    assert ("a", "silence", "raised", 15.0) in whole
    assert ("b", "silence", "raised", 45.0) in whole


def steady(devices: Sequence[str], hours: Sequence[int]) -> list[tuple[str, float, float, float]]:
    """One device after the other, a few minutes apart."""
    apart = 1.0 / len(devices)
    return [(device, at := hour + apart * place, at, 60.0) for hour in hours for place, device in enumerate(devices)]


def test_an_outage_of_our_own_is_nobodys_silence() -> None:
    fleet = [f"d{number}" for number in range(MANY)]
    with_gap = [*range(5), *range(30, 35)]
    assert list(replay().take(window(steady(fleet, with_gap)))) == []
    few = replay().take(window(steady(fleet[:2], with_gap)))
    assert [each.change.event for each in few].count("raised") == 2


def test_a_fleet_that_speaks_once_an_hour_is_heard_all_the_time() -> None:
    fleet = [f"d{number}" for number in range(MANY)]
    one_is_quiet = [*hourly(fleet, range(10)), *hourly(fleet[1:], range(10, 40))]
    found = told(list(replay().take(window(one_is_quiet))))
    assert [(device, watch, event) for device, watch, event, _ in found] == [("d0", "silence", "raised")]


def test_the_log_keeps_why_an_alarm_was_raised_and_when_it_was_over() -> None:
    log = AlarmLog()
    for each in replay().take(window([("a", 0.0, 0.0, 95.0), ("a", 1.0, 1.0, 60.0), ("a", 2.0, 2.0, 99.0)])):
        log.take(each)
    first, second = log.raised_between(BEGIN_S, BEGIN_S + DAY_S)
    assert (first.state, first.lasted_s, second.state, second.lasted_s) == ("cleared", HOUR_S, "active", None)
    assert "95" in first.text
    assert first.expected == "at most 90"
    assert log.raised_between(BEGIN_S + HOUR_S, BEGIN_S + DAY_S) == [second]


def test_an_alarm_that_goes_on_is_listed_and_drawn_as_it_was_when_it_was_raised() -> None:
    log = AlarmLog()
    for each in replay().take(window([("a", hour, hour, 95.0 + hour / 10) for hour in range(50)])):
        log.take(each)
    (only,) = log.raised_between(BEGIN_S, BEGIN_S + 3 * DAY_S)
    assert only.text.startswith("Celsius 95,")
    span = span_of("as installed", replace(alarm(began=0.0, ended=4.0), raised_at_s=BEGIN_S + 2 * DAY_S))
    assert [(mark.event, mark.ts_s - BEGIN_S) for mark in span.marks] == [("raised", 2 * DAY_S), ("cleared", 4 * DAY_S)]
    assert span.began_s == BEGIN_S
