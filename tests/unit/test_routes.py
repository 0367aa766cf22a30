"""Which topic carries what, and of which device."""

import pytest

from devices.ids import partition_of
from gateway.doors.routes import Match, RouteError, RoutePattern, RouteRule, Routes
from gateway.intake import Route

EXTRA = (
    RouteRule(RoutePattern.parse("plant/{device_id}/north/readings"), Route.TELEMETRY, "senml"),
    RouteRule(RoutePattern.parse("v1/{device_id}"), Route.EVENTS, "json"),
    RouteRule(RoutePattern.parse("devices/{device_id}/telemetry"), Route.TELEMETRY, "senml"),
)


@pytest.mark.parametrize(
    ("topic", "match"),
    [
        ("devices/d1/telemetry", Match(Route.TELEMETRY, "d1", "json")),
        ("devices/d1/events", Match(Route.EVENTS, "d1", "json")),
        ("devices/d1/status", Match(Route.STATUS, "d1", "json")),
        ("devices/d1/commands/c-7/ack", Match(Route.COMMAND_ACK, "d1", "json")),
        ("devices/d1/commands/c-7", Match(Route.UNKNOWN, "d1", "")),
        ("devices/d1/other", Match(Route.UNKNOWN, "d1", "")),
        ("devices/d1", Match(Route.UNKNOWN, "d1", "")),
        ("devices/not an id/telemetry", Match(Route.UNKNOWN, "", "")),
        (f"devices/{'x' * 65}/telemetry", Match(Route.UNKNOWN, "", "")),
        ("devices//telemetry", Match(Route.UNKNOWN, "", "")),
        ("/devices/d1/telemetry", Match(Route.UNKNOWN, "", "")),
        ("devices/d1/telemetry/", Match(Route.UNKNOWN, "d1", "")),
        ("", Match(Route.UNKNOWN, "", "")),
    ],
)
def test_default_routes(topic: str, match: Match) -> None:
    assert Routes().match(topic) == match


@pytest.mark.parametrize(
    ("topic", "match"),
    [
        ("plant/d1/north/readings", Match(Route.TELEMETRY, "d1", "senml")),
        ("plant/d1/south/readings", Match(Route.UNKNOWN, "", "")),
        ("v1/d1", Match(Route.EVENTS, "d1", "json")),
        ("devices/d1/telemetry", Match(Route.TELEMETRY, "d1", "senml")),
        ("devices/d1/events", Match(Route.EVENTS, "d1", "json")),
    ],
)
def test_further_routes_come_first(topic: str, match: Match) -> None:
    assert Routes(EXTRA).match(topic) == match


def test_a_wrong_partition_is_told_as_one_and_of_the_device_that_it_is() -> None:
    """It was told as a topic that no route knows, of a device named like the partition."""
    pattern = RoutePattern.parse("devices/{partition}/{device_id}/telemetry")
    routes = Routes([RouteRule(pattern, Route.TELEMETRY, "json", checks_partition=True)])
    right = partition_of("d1")
    assert routes.match(f"devices/{right}/d1/telemetry") == Match(Route.TELEMETRY, "d1", "json")
    assert routes.misplaced(f"devices/{right}/d1/telemetry") is None
    for wrong in (right + 1, "x"):
        topic = f"devices/{wrong}/d1/telemetry"
        assert routes.match(topic) == Match(Route.UNKNOWN, "d1", "")
        assert routes.misplaced(topic) == f"the level {{partition}} of this topic must be {right} for d1"
    assert routes.misplaced("devices/d1/other") is None


def test_topic_filters_subscribe_to_every_route_once() -> None:
    assert Routes(EXTRA).topic_filters() == (
        "plant/+/north/readings",
        "v1/+",
        "devices/+/telemetry",
        "devices/+/events",
        "devices/+/status",
        "devices/+/commands/+/ack",
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a/b",
        "{device_id}/{device_id}",
        "a/#/{device_id}",
        "a/{model}/{device_id}",
        "a{device_id}",
        "$SYS/{device_id}",
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(RouteError, match=r"must|may|level|topics"):
        RoutePattern.parse(pattern)
