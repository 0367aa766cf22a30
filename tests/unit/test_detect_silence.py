"""Who is silent, since when, and who is only away as often before."""

import numpy as np
import pytest

from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange
from gateway.detect.settings import DetectSettings
from tests.detect.stories import DAY_S, HOUR_S, START_S, engine_for, hours, profile_of, samples_of

QUIET: dict[str, object] = {"name": "quiet", "detector": "silence", "parameters": {"after": "2h", "grace": 0}}
PROFILE = profile_of(QUIET, {"name": "hot", "detector": "threshold", "parameters": {"above": 10}})
LEARNT = profile_of({"name": "quiet", "detector": "silence", "parameters": {"grace": 0}})


def hear(
    engine: Engine, hour: float, value: float = 1.0, device: str = "a", alive: float | None = None
) -> list[AlarmChange]:
    """One reading, of `hour`, received at `alive` (hours since the start, both)."""
    at_s = START_S + hour * HOUR_S
    samples = samples_of(PROFILE, [device], np.array([at_s]), np.array([value]))
    received_s = START_S + (hour if alive is None else alive) * HOUR_S
    return engine.judge(
        [
            type(samples)(
                PROFILE, samples.device_ids, samples.device, samples.ts_s, received_s, ("metric",), samples.values
            )
        ]
    )


def due(engine: Engine, hour: float, now: float | None = None) -> list[AlarmChange]:
    return engine.due(START_S + hour * HOUR_S, START_S + (hour if now is None else now) * HOUR_S)


def said(changes: list[AlarmChange]) -> list[tuple[str, str]]:
    return [(change.watch, change.event) for change in changes]


def test_a_device_is_silent_after_its_deadline_and_not_at_it() -> None:
    engine = engine_for(PROFILE)
    hear(engine, 0)
    assert due(engine, 2.0) == []
    [silent] = due(engine, 2.5)
    assert (silent.event, silent.started_at_s, silent.ts_s) == ("raised", START_S, START_S + 2.5 * HOUR_S)
    assert silent.explanation.text == "No sign of life for 2.5 hours, since 00:00; its limit is 2 hours"
    assert due(engine, 100) == []


def test_every_sign_of_life_moves_the_deadline() -> None:
    engine = engine_for(PROFILE)
    for hour in range(20):
        hear(engine, float(hour))
        assert due(engine, hour + 0.5) == []
    assert engine.alive(["a"], START_S + 20.5 * HOUR_S) == []
    assert due(engine, 22.4) == []
    assert said(due(engine, 22.6)) == [("quiet", "raised")]


def test_who_was_never_heard_is_not_silent() -> None:
    engine = engine_for(PROFILE)
    assert engine.alive(["a"], START_S) == []
    assert due(engine, 1e6) == []
    assert engine.next_due_s() == float("inf")


def test_a_turn_undone_leaves_nobody_waited_for() -> None:
    engine = engine_for(PROFILE)
    engine.begin()
    hear(engine, 0)
    engine.rollback()
    assert engine.alive(["a"], START_S + HOUR_S) == []
    assert due(engine, 1e6) == []


def test_a_return_ends_the_silence_and_a_second_one_has_its_own_beginning() -> None:
    engine = engine_for(PROFILE)
    hear(engine, 0)
    [first] = due(engine, 3)
    [back] = hear(engine, 5)
    assert (back.event, back.started_at_s, back.ts_s) == ("cleared", first.started_at_s, START_S + 5 * HOUR_S)
    [second] = due(engine, 8)
    assert (second.event, second.started_at_s) == ("raised", START_S + 5 * HOUR_S)


def test_old_readings_are_a_sign_of_life_too_and_nothing_is_dated_back() -> None:
    engine = engine_for(PROFILE)
    hear(engine, 10)
    [silent] = due(engine, 13)
    [back] = hear(engine, 4, alive=14)
    assert back.event == "cleared"
    assert back.ts_s == silent.ts_s
    [again] = due(engine, 17)
    assert again.event == "raised"
    assert again.started_at_s > silent.started_at_s


def test_an_active_alarm_is_unknown_in_the_silence_and_active_after_it() -> None:
    engine = engine_for(PROFILE)
    assert said(hear(engine, 0, value=11)) == [("hot", "raised")]
    assert said(due(engine, 3)) == [("quiet", "raised"), ("hot", "unknown")]
    assert said(hear(engine, 5, value=11)) == [("quiet", "cleared"), ("hot", "updated")]
    assert said(due(engine, 8)) == [("quiet", "raised"), ("hot", "unknown")]
    assert said(hear(engine, 9, value=1)) == [("quiet", "cleared"), ("hot", "cleared")]


def test_a_sign_of_life_without_a_reading_does_not_tell_whether_the_trouble_is_over() -> None:
    engine = engine_for(PROFILE)
    hear(engine, 0, value=11)
    due(engine, 3)
    assert said(engine.alive(["a"], START_S + 4 * HOUR_S)) == [("quiet", "cleared")]
    assert said(hear(engine, 4.5, value=1)) == [("hot", "cleared")]


def test_a_wait_does_not_go_on_over_a_silence() -> None:
    profile = profile_of(QUIET, {"name": "hot", "detector": "threshold", "parameters": {"above": 10}, "for": "4h"})
    engine = engine_for(profile)
    for hour, value in ((0.0, 11.0), (5.0, 11.0), (6.0, 11.0)):
        due(engine, hour)
        ts_s = np.array([START_S + hour * HOUR_S])
        changes = engine.judge([samples_of(profile, ["a"], ts_s, np.array([value]))])
        assert "hot" not in [change.watch for change in changes]


def test_our_own_outage_is_nobodys_silence() -> None:
    """Healthy time stood still for a day: the device has its full deadline still before it."""
    engine = engine_for(PROFILE)
    hear(engine, 0)
    assert due(engine, 1.0, now=25) == []
    [silent] = due(engine, 2.5, now=26.5)
    assert silent.ts_s == START_S + 26.5 * HOUR_S


def test_the_wheel_names_the_next_moment_that_matters() -> None:
    engine = engine_for(PROFILE)
    hear(engine, 0)
    hear(engine, 1, device="b")
    assert engine.next_due_s() == START_S + 2 * HOUR_S
    hear(engine, 1.5)
    assert engine.next_due_s() == START_S + 3 * HOUR_S


def learnt_engine(gaps_h: list[float]) -> tuple[Engine, float]:
    engine = engine_for(LEARNT)
    at_s = START_S
    for gap in [0.0, *gaps_h]:
        at_s += gap * HOUR_S
        assert engine.due(at_s, at_s) == []
        engine.judge([samples_of(LEARNT, ["a"], np.array([at_s]), np.array([1.0]))])
    return engine, at_s


def test_a_cadence_is_learnt_before_it_is_used() -> None:
    engine, at_s = learnt_engine([1.0] * 48)
    assert engine.due(at_s + 30 * DAY_S, at_s + 30 * DAY_S) == []
    engine, at_s = learnt_engine([1.0] * 24 * 10)
    [silent] = engine.due(at_s + DAY_S, at_s + DAY_S)
    assert "its longest usual silence is 1 hour" in silent.explanation.text


def test_who_is_away_every_night_is_not_silent_at_night() -> None:
    engine, at_s = learnt_engine(([1.0] * 15 + [9.0]) * 10)
    assert engine.due(at_s + 12 * HOUR_S, at_s + 12 * HOUR_S) == []
    assert len(engine.due(at_s + 36 * HOUR_S, at_s + 36 * HOUR_S)) == 1


def test_what_arrives_together_is_one_sign_of_life() -> None:
    engine = engine_for(LEARNT)
    ts_s = hours(500)
    backlog = samples_of(LEARNT, ["a"] * 500, ts_s, np.ones(500))
    engine.judge([type(backlog)(LEARNT, ("a",), backlog.device, ts_s, float(ts_s[-1]), ("metric",), backlog.values)])
    assert engine.next_due_s() == float("inf")


@pytest.mark.parametrize("devices", [3, 700])
def test_many_silences_come_in_the_order_of_their_deadlines(devices: int) -> None:
    engine = engine_for(PROFILE)
    rng = np.random.default_rng(1)
    heard = np.sort(rng.uniform(0, 1, devices))
    names = [f"d{number}" for number in rng.permutation(devices)]
    for name, hour in zip(names, heard, strict=True):
        hear(engine, float(hour), device=name)
    assert [change.device_id for change in due(engine, 10)] == names


def test_a_forgotten_device_is_not_waited_for() -> None:
    engine = Engine({PROFILE.model: PROFILE}, DetectSettings())
    hear(engine, 0)
    engine.forget("a")
    assert due(engine, 100) == []
    assert hear(engine, 200) == []
    assert said(due(engine, 300)) == [("quiet", "raised")]


PATIENT = profile_of(
    {
        "name": "quiet",
        "detector": "silence",
        "parameters": {"grace": 0, "factor": 4, "typical": 24, "longest": "60h", "warm_up": "3d"},
    }
)


def patience_h(gaps_h: list[float]) -> float:
    """How long a device with these gaps may be silent, in hours."""
    engine = engine_for(PATIENT)
    ts_s = START_S + HOUR_S * np.cumsum([0.0, *gaps_h])
    for at_s in ts_s:
        engine.judge([samples_of(PATIENT, ["a"], np.array([at_s]), np.ones(1))])
    return (engine.next_due_s() - float(ts_s[-1])) / HOUR_S


def test_a_device_that_hardly_pauses_is_waited_for_as_many_times_as_it_reports_in_a_day() -> None:
    assert patience_h([1.0] * 24 * 30) == pytest.approx(24, abs=1)


def test_a_minute_wise_device_is_waited_for_no_longer_than_it_needs() -> None:
    assert patience_h([1 / 6] * 6 * 24 * 5) == pytest.approx(4, abs=0.5)


def test_who_is_off_at_night_is_waited_for_longer_but_not_for_ever() -> None:
    assert patience_h([*[1.0] * 14, 10.0] * 30) == pytest.approx(4 * 10 * (1 + 3 / 30), abs=2)
    assert patience_h([*[1.0] * 40, 20.0] * 12) == pytest.approx(60)
    assert patience_h([*[1.0] * 40, 59.0] * 6) == pytest.approx(1.3 * 59, abs=2)
