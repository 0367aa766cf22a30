"""A detector that fails amid a turn costs that turn, and nothing of what was known or comes later."""

import numpy as np
import pytest

from gateway.detect.threshold import Threshold
from tests.detect.stories import HOUR_S, START_S, engine_for, judge, profile_of, samples_of

PROFILE = profile_of(
    {"name": "hot", "detector": "threshold", "parameters": {"above": 80}},
    {"name": "drop", "detector": "usage_drop"},
    kind="delta",
)


def fail(*_: object) -> None:
    raise LookupError


def test_a_turn_that_fails_leaves_no_trace_in_other_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, untroubled = engine_for(PROFILE), engine_for(PROFILE)
    hours, hot_at_last = np.arange(48), np.append(np.ones(3 * 48 - 1), 90.0)
    with monkeypatch.context() as broken:
        broken.setattr(Threshold, "explain", fail)
        engine.begin()
        ts_s = START_S + np.repeat(hours, 3) * HOUR_S
        with pytest.raises(LookupError):
            engine.judge([samples_of(PROFILE, ["a", "b", "c"] * 48, ts_s, hot_at_last)])
        engine.rollback()
    for each in (engine, untroubled):
        for place, device_id in enumerate("defabc"):
            judge(each, PROFILE, START_S + HOUR_S * hours, 10.0 * place + hours, device_id)
    assert [engine.take_out(name) for name in "abcdef"] == [untroubled.take_out(name) for name in "abcdef"]
