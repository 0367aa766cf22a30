"""The law book of profiles: what each shipped or installed product model keeps."""

import json
import re
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable

import pytest

from devices.payloads import DecodedEvent, DecodedReading
from devices.payloads.json import JsonCodec
from devices.payloads.model import Events, Readings
from devices.profiles import load_profiles, read_profile
from devices.profiles.model import MetricKind, Profile, Severity, parse_span_s
from gateway.detect.detector import load_detectors, resolve_parameters
from gateway.detect.settings import DetectSettings

PACKAGES = {entry.name: entry.value for entry in entry_points(group="careloop.profiles")}
CODEC = JsonCodec()
DETECTORS = load_detectors()
UCUM = re.compile(r"1|\{[a-z]+\}|/min|(%|Cel|K|s|min|bar|mL|L|A|mV|km|m|W\.h|kW\.h|kcal)(/(h|min|s|s2|km))?")


@pytest.fixture(params=sorted(PACKAGES))
def folder(request: pytest.FixtureRequest) -> Traversable:
    return files(PACKAGES[str(request.param)])


@pytest.fixture
def profile(folder: Traversable) -> Profile:
    return read_profile("profile.toml", folder / "profile.toml")


def test_four_products_are_shipped() -> None:
    assert {"fitness-band", "coffee-machine", "washing-machine", "e-bike"} <= set(load_profiles())


def test_a_profile_is_registered_under_its_model() -> None:
    for name, package in PACKAGES.items():
        assert read_profile(package, files(package) / "profile.toml").model == name


def test_metrics_say_what_they_are(profile: Profile) -> None:
    assert profile.metrics
    for name, metric in profile.metrics.items():
        assert metric.description, name
        assert metric.minimum is not None and metric.maximum is not None, name  # noqa: PT018 - one range
        assert metric.minimum < metric.maximum, name
        assert UCUM.fullmatch(metric.unit), metric.unit
        assert metric.function, name


def test_watches_use_what_their_detectors_know(profile: Profile) -> None:
    for watch in profile.watches:
        assert watch.description, watch.name
        metric = None if watch.metric is None else profile.metrics[watch.metric]
        resolve_parameters(DETECTORS[watch.detector], watch, metric, DetectSettings(), profile.model)
        assert (watch.series is None) == (watch.detector == "silence")
        assert (watch.event is not None) == (watch.detector == "event_burst"), watch.name


def test_thresholds_lie_in_the_physical_range_and_clear_on_the_safe_side(profile: Profile) -> None:
    for watch in profile.watches:
        if watch.detector != "threshold":
            continue
        assert watch.metric is not None
        metric = profile.metrics[watch.metric]
        bounds = {name: float(value) for name, value in watch.parameters.items()}
        assert ("above" in bounds) != ("below" in bounds), watch.name
        assert metric.minimum is not None
        assert metric.maximum is not None
        assert all(metric.minimum <= bound <= metric.maximum for bound in bounds.values()), watch.name
        if "above" in bounds:
            assert bounds.get("clear_below", bounds["above"]) <= bounds["above"], watch.name
        else:
            assert bounds.get("clear_above", bounds["below"]) >= bounds["below"], watch.name


def test_usage_is_an_amount(profile: Profile) -> None:
    for watch in profile.watches:
        if watch.detector == "usage_drop":
            assert watch.metric is not None
            assert profile.metrics[watch.metric].kind in {MetricKind.DELTA, MetricKind.COUNTER}
            assert 0 < float(watch.parameters.get("drop", 0.5)) < 1


def test_a_silence_is_longer_than_the_reporting_interval(profile: Profile) -> None:
    for watch in profile.watches:
        if watch.detector == "silence" and profile.reporting_interval is not None:
            after_s = parse_span_s(watch.parameters["after"])
            assert isinstance(after_s, float)
            assert after_s > 4 * profile.reporting_interval


def test_every_problem_has_its_playbook_and_every_playbook_its_problem(profile: Profile) -> None:
    problems = {profile.problem_of(watch) for watch in profile.watches}
    assert [playbook.problem for playbook in profile.playbooks if playbook.problem not in problems] == []
    assert problems == {playbook.problem for playbook in profile.playbooks}
    assert len(profile.playbooks) == len(problems)


def test_playbooks_say_what_to_do_and_what_not(profile: Profile) -> None:
    for playbook in profile.playbooks:
        assert playbook.title
        assert playbook.likely_cause
        assert playbook.what_to_say
        assert playbook.what_not_to_do
        assert playbook.actions
        for action in playbook.actions:
            if action.kind == "self_help_message":
                assert action.channel in {"email", "sms", "push", "phone"}
                assert action.template
            elif action.kind == "command":
                assert action.command in profile.commands
                assert action.key not in {"command:lock", "command:vibrate"}  # what an owner would notice
            else:
                assert action.sla_h


def test_danger_goes_to_people_and_fast(profile: Profile) -> None:
    for watch in profile.watches:
        if watch.severity is Severity.CRITICAL:
            playbook = next(book for book in profile.playbooks if book.problem == profile.problem_of(watch))
            first = playbook.actions[0]
            assert first.kind == "agent_case"
            assert first.sla_h is not None
            assert first.sla_h <= 4


def test_the_sample_is_what_the_product_sends(folder: Traversable, profile: Profile) -> None:
    payload = (folder / "sample.json").read_bytes()
    readings = CODEC.decode_readings(payload)
    Readings.validate_json(payload)
    seen: set[str] = set()
    for reading in readings:
        assert isinstance(reading, DecodedReading), reading
        assert reading.ts_us is not None
        for name, value in reading.metrics.items():
            metric = profile.metrics[name]
            assert metric.minimum is not None
            assert metric.maximum is not None
            assert metric.minimum <= value <= metric.maximum, name
        seen |= set(reading.metrics)
    assert seen == set(profile.metrics), "the sample shows every metric at least once"


def test_the_sample_of_events_is_what_the_product_says(folder: Traversable, profile: Profile) -> None:
    payload = (folder / "sample_events.json").read_bytes()
    Events.validate_json(payload)
    for event in CODEC.decode_events(payload):
        assert isinstance(event, DecodedEvent), event
        assert event.code in profile.events


def test_the_readme_knows_every_metric_and_watch(folder: Traversable, profile: Profile) -> None:
    text = (folder / "README.md").read_text()
    for name, metric in profile.metrics.items():
        assert f"| `{name}` | {metric.kind} | `{metric.unit}` |" in text
        assert metric.description in text
    for watch in profile.watches:
        assert f"**{watch.name}** ({watch.severity}" in text
        assert watch.description in text
        for value in watch.parameters.values():
            assert (f"{value:g}" if isinstance(value, float) else str(value)) in text


def test_nothing_in_a_profile_names_a_person(folder: Traversable) -> None:
    for name in ("sample.json", "sample_events.json"):
        text = json.dumps(json.loads((folder / name).read_text()))
        assert "@" not in text
