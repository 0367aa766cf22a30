"""The law book of detectors: what each installed one keeps, whoever wrote it."""

import numpy as np
import pytest

from devices.ids import partition_of
from devices.profiles.model import Profile
from gateway.detect.detector import DeadlineDetector, Detector, SeriesDetector, load_detectors
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Kind
from gateway.detect.settings import DetectSettings
from tests.detect.stories import Story, engine_for, events, habit, hours, judge, profile_of, samples_of, stories

DETECTORS = load_detectors()
STORIES = stories()


@pytest.fixture(params=sorted(DETECTORS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def detector(name: str) -> Detector:
    return DETECTORS[name]


@pytest.fixture
def story(name: str) -> Story:
    return story_of(name)


@pytest.fixture(scope="module")
def whole_stories() -> dict[str, list[AlarmChange]]:
    return {
        name: judge(engine_for(story.profile()), story.profile(), story.ts_s, story.values)
        for name, story in ((name, story_of(name)) for name in DETECTORS)
    }


@pytest.fixture
def whole(name: str, whole_stories: dict[str, list[AlarmChange]]) -> list[AlarmChange]:
    """What one engine makes of the story, undisturbed."""
    return whole_stories[name]


def story_of(name: str) -> Story:
    """A detector of another package is told of noise; it may find nothing in it."""
    noise = np.random.default_rng(3).normal(size=700)
    return STORIES.get(name, Story(name, "gauge", {}, hours(700), noise, hours(1)[0], hours(700)[-1]))


def test_it_says_what_it_is(name: str, detector: Detector) -> None:
    assert isinstance(detector, SeriesDetector | DeadlineDetector)
    assert detector.kind in Kind
    assert detector.version >= 1
    assert len({field.name for field in detector.fields}) == len(detector.fields)
    for parameter in detector.parameters:
        assert np.isnan(parameter.default) or parameter.minimum <= parameter.default <= parameter.maximum
    assert type(detector).__doc__


def test_it_tells_its_story_once(name: str, story: Story, whole: list[AlarmChange]) -> None:
    if name not in STORIES:
        return
    changes = whole
    seen = [change.event for change in changes if change.event != "updated"]
    assert seen == ["raised", "cleared"], events(changes)
    raised, cleared = (change for change in changes if change.event in {"raised", "cleared"})
    assert story.trouble_s <= raised.ts_s <= story.over_s
    assert raised.started_at_s == pytest.approx(story.trouble_s, abs=18 * 3600)
    assert cleared.ts_s >= story.over_s
    assert cleared.started_at_s == raised.started_at_s


def test_its_changes_can_be_understood(story: Story, whole: list[AlarmChange]) -> None:
    for change in whole:
        assert change.started_at_s <= change.ts_s
        assert 0 <= change.score <= 1
        assert change.kind == DETECTORS[story.detector].kind
        said = change.explanation
        assert said.detector == story.detector
        assert said.version == DETECTORS[story.detector].version
        assert said.score == change.score
        for text in (said.text, said.expected, said.observed):
            assert text
            assert "nan" not in text
            assert "inf" not in text
        assert len(said.evidence) <= 100
        assert [ts_s for ts_s, _ in said.evidence] == sorted(ts_s for ts_s, _ in said.evidence)
        assert all(np.isfinite(value) for _, value in said.evidence)


def test_it_finds_nothing_in_a_constant(name: str) -> None:
    story = STORIES.get(name)
    parameters: dict[str, object] = {"parameters": story.parameters} if story else {}
    for kind in ("gauge", "counter", "delta"):
        for value in (0.0, 7.5, -3.0, 1e12):
            profile = profile_of({"name": "watch", "detector": name, **parameters}, kind=kind)
            values = np.full(700, value if name != "threshold" else min(value, 90.0))
            assert judge(engine_for(profile), profile, hours(700), values) == []


def test_it_stands_what_sensors_send(name: str) -> None:
    """No warning, no crash, no nonsense: gaps, jumps, the largest numbers, and values that are missing."""
    rng = np.random.default_rng(5)
    for values in (
        rng.normal(size=700) * 1e300,
        np.where(rng.random(700) < 0.5, np.nan, 1.0),
        rng.choice([0.0, -0.0, 1e-300, 1e9, np.inf, -np.inf], 700),
        np.cumsum(rng.random(700)) % 40,
    ):
        for kind in ("gauge", "counter", "delta"):
            parameters: dict[str, float | str] = {"above": 5.0} if name == "threshold" else {}
            profile = profile_of({"name": "watch", "detector": name, "parameters": parameters}, kind=kind)
            ts_s = hours(1)[0] + np.cumsum(rng.choice([0.0, 1.0, 3600.0, 90_000.0], 700))
            for change in judge(engine_for(profile), profile, ts_s, values):
                assert 0 <= change.score <= 1
                assert change.started_at_s <= change.ts_s


@pytest.mark.parametrize("at", [10, 200, 405, 460, 601, 640])
def test_a_restart_changes_nothing(story: Story, whole: list[AlarmChange], at: int) -> None:
    profile = story.profile()
    before = engine_for(profile)
    judged = judge(before, profile, story.ts_s[:at], story.values[:at])
    after = engine_for(profile)
    after.restore(partition_of("a"), before.checkpoint(partition_of("a")))
    judged += judge(after, profile, story.ts_s[at:], story.values[at:])
    assert judged == whole


@pytest.mark.parametrize("at", [1, 200, 405, 460, 601, 640])
def test_a_failed_transaction_leaves_no_trace(story: Story, whole: list[AlarmChange], at: int) -> None:
    profile = story.profile()
    engine = engine_for(profile)
    judged = judge(engine, profile, story.ts_s[:at], story.values[:at])
    kept = engine.checkpoint(partition_of("a"))
    engine.begin()
    judge(engine, profile, story.ts_s[at:], story.values[at:])
    engine.due(story.ts_s[-1] + 1e7, story.ts_s[-1] + 1e7)
    judge(engine, profile, story.ts_s[at:] + 2e7, story.values[at:], "new")
    engine.rollback()
    assert engine.checkpoint(partition_of("a")) == kept
    engine.begin()
    judged += judge(engine, profile, story.ts_s[at:], story.values[at:])
    engine.commit()
    assert judged == whole


def test_late_samples_raise_nothing(story: Story) -> None:
    profile = story.profile()
    engine = engine_for(profile)
    engine.judge([samples_of(profile, ["a"], story.ts_s[-1:] + 1.0, story.values[:1])])
    at_s = float(story.ts_s[-1]) + 1.0
    late = samples_of(profile, ["a"] * len(story.ts_s), story.ts_s, story.values)
    together = type(late)(late.profile, late.device_ids, late.device, late.ts_s, at_s, late.metrics, late.values)
    assert engine.judge([together]) == []


def test_devices_do_not_touch_each_other(story: Story, whole: list[AlarmChange]) -> None:
    profile = story.profile()
    engine = engine_for(profile)
    other = habit(10)
    judge(engine, profile, hours(240), other, "other")
    kept = engine.checkpoint(partition_of("other"))
    assert partition_of("other") != partition_of("a")
    assert of_a(judge(engine, profile, story.ts_s, story.values)) == whole
    if story.detector != "silence":
        assert engine.checkpoint(partition_of("other")) == kept


def of_a(changes: list[AlarmChange]) -> list[AlarmChange]:
    return [change for change in changes if change.device_id == "a"]


def test_a_new_version_keeps_its_alarm_up(name: str, story: Story, whole: list[AlarmChange]) -> None:
    """State of another version is learnt anew; an alarm that is up is neither lost nor raised again."""
    if name not in STORIES:
        return
    profile = story.profile()
    at = int(np.flatnonzero(story.ts_s >= whole[0].ts_s)[0]) + 1
    if name == "silence":
        return  # a silence ends with the first reading
    before = engine_for(profile)
    raised = judge(before, profile, story.ts_s[:at], story.values[:at])
    assert [change.event for change in raised] == ["raised"]
    newer = type(DETECTORS[name])()
    newer.version = DETECTORS[name].version + 1
    after = Engine({profile.model: profile}, DetectSettings(), {**DETECTORS, name: newer})
    after.restore(partition_of("a"), before.checkpoint(partition_of("a")))
    later = judge(after, profile, story.ts_s[at:], story.values[at:])
    assert "raised" not in [change.event for change in later]
    assert {change.started_at_s for change in later} <= {raised[0].started_at_s}


def test_a_profile_that_changed_takes_up_what_still_matches(story: Story) -> None:
    profile = story.profile()
    before = engine_for(profile)
    judge(before, profile, story.ts_s[:100], story.values[:100])
    state = before.checkpoint(partition_of("a"))
    other = Profile.model_validate({"model": "thing", "title": "A thing"})
    without = engine_for(other)
    without.restore(partition_of("a"), state)
    assert judge(without, other, story.ts_s[100:], story.values[100:]) == []
