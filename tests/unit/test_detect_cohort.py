"""What a new device is given beforehand: from many, only where they agree, and it says so."""

import msgspec
import numpy as np
import pytest

from devices.profiles import AUTOMATIC
from gateway.detect.checkpoint import SavedState
from gateway.detect.cohort import FEWEST, NOBODY, Habits, Prior, decode, encode
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange
from gateway.detect.settings import DetectSettings
from tests.detect.stories import DAY_S, START_S, Floats, events, habit, hours, profile_of, samples_of

STEPS = profile_of({"name": "watch", "detector": "usage_drop"}, kind="delta", unit="{steps}")
BORN_S = START_S + 21 * DAY_S
PEERS = FEWEST + 4


def fleet(levels: list[float], *, abandoned: int = 0) -> Engine:
    """Devices that have been used for three weeks, the last ones not for the latter half of it."""
    engine = Engine({STEPS.model: STEPS}, DetectSettings())
    ts_s = hours(21 * 24)
    for number, level in enumerate(levels):
        use = habit(21, 100 + number, level)
        if number >= len(levels) - abandoned:
            use[24 * 11 :] = 0
        engine.judge([samples_of(STEPS, [f"old-{number}"] * len(ts_s), ts_s, use)])
    return engine


def asked(engine: Engine) -> list[Habits]:
    return [found for some in engine.survey() for found in some]


@pytest.fixture(scope="module")
def prior() -> Prior:
    return Prior(7, asked(fleet([8000.0] * PEERS)))


def young(
    prior: Prior | None, use: Floats, *, compiled: bool = True, at_once: int = 0
) -> tuple[Engine, list[AlarmChange]]:
    """A device that is new on the day when the prior came into force."""
    engine = Engine({STEPS.model: STEPS}, DetectSettings(), compiled=compiled)
    if prior is not None:
        engine.adopt(prior)
    ts_s, changes = hours(len(use), BORN_S), list[AlarmChange]()
    for start in range(0, len(use), at_once or len(use)):
        part = slice(start, start + (at_once or len(use)))
        changes += engine.judge([samples_of(STEPS, ["new"] * len(ts_s[part]), ts_s[part], use[part])])
    return engine, changes


def stopped(after_days: int, days: int = 12) -> Floats:
    use = habit(days, 5)
    use[24 * after_days :] = 0
    return use


def test_use_that_stops_in_the_first_week_is_noticed_where_others_are_known_and_it_is_said(prior: Prior) -> None:
    _, alone = young(None, stopped(5))
    _, with_others = young(prior, stopped(5))
    first, later = events(with_others)[0], (events(alone) or [("raised", float("inf"))])[0]
    assert first[0] == "raised"
    assert first[1] - 21 * 24 < 24 * 7.5
    assert first[1] < later[1] - 12
    text = with_others[0].explanation.text
    assert "and from others of its model" in text
    assert "a habit known for 5 days" in text or "a habit known for 6 days" in text  # its own, not the borrowed ones


def test_a_new_device_that_is_used_as_others_are_raises_nothing(prior: Prior) -> None:
    for seed in range(8):
        assert events(young(prior, habit(21, 200 + seed))[1]) == []


def test_one_that_is_used_much_less_than_others_is_not_blamed_for_it(prior: Prior) -> None:
    for seed in range(4):
        assert events(young(prior, habit(21, 300 + seed, level=2000.0))[1]) == []


def test_where_levels_differ_only_pauses_are_borrowed() -> None:
    (found,) = asked(fleet([500.0 * 1.25**n for n in range(PEERS)]))
    assert found.borrowed == 0
    assert set(found.scalars) == {"record", "longest"}
    _, changes = young(Prior(7, [found]), stopped(12, 18))
    assert "with pauses as others of its model make them" in changes[0].explanation.text


def test_a_bad_devices_habit_does_not_spread() -> None:
    (healthy,), (some_ill,) = asked(fleet([8000.0] * PEERS)), asked(fleet([8000.0] * (PEERS + 4), abandoned=4))
    assert some_ill.devices == PEERS  # those with an alarm are not asked
    assert some_ill.scalars["per_day"] == pytest.approx(healthy.scalars["per_day"], rel=0.1)


def test_few_devices_are_no_cohort() -> None:
    assert asked(fleet([8000.0] * (FEWEST - 1))) == []


def test_a_kind_is_only_taken_from_others_where_all_agree() -> None:
    engine, ts_s = Engine({AUTOMATIC.model: AUTOMATIC}, DetectSettings()), hours(48)
    for number in range(FEWEST):
        engine.judge([samples_of(AUTOMATIC, [f"d{number}"] * 48, ts_s, np.cumsum(habit(2, number)), "count")])
    (agreed,) = [each for each in asked(engine) if each.detector == "usage_drop"]
    assert agreed.kind == 1.0
    engine.judge([samples_of(AUTOMATIC, ["other"] * 48, ts_s, habit(2, 9), "count")])
    assert [each for each in asked(engine) if each.detector == "usage_drop"] == []


@pytest.mark.parametrize(("compiled", "at_once"), [(True, 1), (True, 31), (False, 7), (False, 0)])
def test_however_its_readings_are_split_it_comes_to_the_same(prior: Prior, *, compiled: bool, at_once: int) -> None:
    whole, told = young(prior, stopped(5))
    split, told_split = young(prior, stopped(5), compiled=compiled, at_once=at_once)
    assert told_split == told
    assert split.take_out("new") == whole.take_out("new")


def test_what_a_device_was_born_with_goes_with_its_state_and_older_states_have_none(prior: Prior) -> None:
    engine, _ = young(decode(encode(prior)), habit(2))
    state = engine.take_out("new")
    assert state is not None
    assert engine.prior_of("new") == 7
    fresh = Engine({STEPS.model: STEPS}, DetectSettings())
    fresh.adopt(Prior(9, []))
    fresh.put_in("new", state)
    assert fresh.prior_of("new") == 7
    saved = msgspec.msgpack.decode(state, type=SavedState)
    before = Engine({STEPS.model: STEPS}, DetectSettings())
    before.put_in("new", msgspec.msgpack.encode(msgspec.structs.replace(saved, priors=b"")))
    assert (before.prior_of("new"), before.prior_of("nobody")) == (NOBODY, NOBODY)


def test_a_turn_that_is_undone_leaves_no_trace_of_others(prior: Prior) -> None:
    engine = Engine({STEPS.model: STEPS}, DetectSettings())
    engine.adopt(prior)
    use, ts_s = stopped(5), hours(24 * 12, BORN_S)
    engine.begin()
    engine.judge([samples_of(STEPS, ["new"] * 30, ts_s[:30], use[:30])])
    engine.rollback()
    engine.begin()
    told = engine.judge([samples_of(STEPS, ["new"] * len(use), ts_s, use)])
    engine.commit()
    whole, expected = young(prior, use)
    assert told == expected
    assert engine.take_out("new") == whole.take_out("new")
