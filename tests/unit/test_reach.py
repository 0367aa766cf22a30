"""Which topics a device may publish on and hear: its own, a dialect's, and those of whom it may speak for."""

import pytest

from devices.errors import ConfigError
from devices.ids import partition_of
from devices.payloads import load_codecs
from gateway.authority import Authority, Grant
from gateway.doors.listen.reach import Reach
from gateway.doors.listen.token import without_token
from gateway.doors.mqtt.packets import Connect
from gateway.doors.routes import Match
from gateway.doors.routing import build_routes
from gateway.doors.settings import ListenSettings, RouteSettings
from gateway.intake import Route

ROUTES = build_routes([RouteSettings(codec="sparkplug"), RouteSettings(codec="thingsboard")], load_codecs())
AUTHORITY = Authority([Grant("edge-*", ("{gateway}-*", "pump-7"))])
REACH = Reach(ROUTES, AUTHORITY)


@pytest.mark.parametrize(
    ("topic", "match"),
    [
        ("spBv1.0/g/NBIRTH/edge-1", Match(Route.TELEMETRY, "edge-1", "sparkplug")),
        ("spBv1.0/g/NDEATH/edge-2", None),
        ("spBv1.0/g/DDATA/edge-1/pump-7", Match(Route.TELEMETRY, "pump-7", "sparkplug")),
        ("spBv1.0/g/DDATA/edge-1/edge-1-a", Match(Route.TELEMETRY, "edge-1-a", "sparkplug")),
        ("spBv1.0/g/DDATA/edge-1/pump-8", None),
        ("spBv1.0/g/DDATA/edge-2/pump-7", None),  # through an edge node that it is not
        ("spBv1.0/g/DDATA/edge-2/edge-1", None),
        ("spBv1.0/g/NCMD/edge-1", Match(Route.UNKNOWN, "edge-1", "")),
        ("v1/devices/me/telemetry", Match(Route.TELEMETRY, "edge-1", "thingsboard")),
        ("v1/gateway/telemetry", Match(Route.TELEMETRY, "edge-1", "thingsboard")),
        ("devices/pump-7/telemetry", Match(Route.TELEMETRY, "pump-7", "json")),
        ("devices/pump-8/telemetry", None),
        ("devices/pump-7/nonsense", None),
        ("devices/edge-1/nonsense", Match(Route.UNKNOWN, "edge-1", "")),
    ],
)
def test_where_an_edge_node_may_publish(topic: str, match: Match | None) -> None:
    assert REACH.match("edge-1", topic) == match


@pytest.mark.parametrize(
    ("topic_filter", "may"),
    [
        ("spBv1.0/g/NCMD/edge-1", True),
        ("spBv1.0/+/NCMD/edge-1", True),
        ("spBv1.0/g/NCMD/edge-2", False),
        ("spBv1.0/g/NCMD/+", False),
        ("spBv1.0/g/DCMD/edge-1/+", True),
        ("spBv1.0/g/DCMD/edge-2/edge-1", False),
        ("spBv1.0/#", False),
        ("v1/devices/me/rpc/request/+", True),
        ("v1/devices/me/attributes", True),
        ("v1/devices/+/attributes", False),
        ("devices/edge-1/telemetry", False),
    ],
)
def test_what_an_edge_node_may_hear(topic_filter: str, may: bool) -> None:
    assert REACH.may_hear("edge-1", topic_filter) == may


def test_nobody_speaks_for_others_unless_it_was_said() -> None:
    assert Reach(ROUTES, Authority()).match("edge-1", "spBv1.0/g/DDATA/edge-1/pump-7") is None
    assert ListenSettings().authority().may("a", "a")
    assert not ListenSettings().authority().may("a", "b")


@pytest.mark.parametrize(
    ("speaker", "device_id", "may"),
    [("edge-1", "edge-1-x", True), ("edge-1", "edge-2-x", False), ("edge-1", "pump-77", False), ("x", "pump-7", False)],
)
def test_who_may_speak_for_whom(speaker: str, device_id: str, may: bool) -> None:
    assert AUTHORITY.may(speaker, device_id) == may


@pytest.mark.parametrize("wrong", [{"device": "a b", "speaks_for": ["x"]}, {"device": "a", "speaks_for": ["[x]"]}])
def test_wrong_grants_are_told(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no device id"):
        ListenSettings.model_validate({"gateways": [wrong]})


def test_partition_levels_are_ignored_or_checked() -> None:
    pattern = "fleet/{partition}/{device_id}/up"
    loose, strict = (
        build_routes([RouteSettings.model_validate({"pattern": pattern, "partition": how})], load_codecs())
        for how in ("ignored", "checked")
    )
    right = partition_of("d1")
    assert loose.match("fleet/north/d1/up") == Match(Route.TELEMETRY, "d1", "json")
    assert strict.match(f"fleet/{right}/d1/up") == Match(Route.TELEMETRY, "d1", "json")
    assert strict.match(f"fleet/{right + 1}/d1/up").route is Route.UNKNOWN
    assert loose.topic_filters()[0] == "fleet/+/+/up"


@pytest.mark.parametrize(
    "wrong",
    [
        {"pattern": "a/{device_id}", "partition": "checked"},
        {"pattern": "a/{partition}/{partition}/{device_id}"},
        {"pattern": "a/{tenant}/{device_id}"},
        {"pattern": "a/b"},
    ],
)
def test_wrong_routes_are_told(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"level|partition"):
        RouteSettings.model_validate(wrong)


def test_a_route_without_a_pattern_needs_a_dialect_with_topics() -> None:
    with pytest.raises(ConfigError) as caught:
        build_routes([RouteSettings(), RouteSettings(codec="senml"), RouteSettings(codec="nothing")], load_codecs())
    assert [fault.setting for fault in caught.value.faults] == [
        "routes.0.pattern",
        "routes.1.pattern",
        "routes.2.codec",
    ]


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [
        ("d1.secret", None, ("d1", b"secret")),
        ("d1.se.cret", None, ("d1", b"se.cret")),
        ("d1.secret", b"other", ("d1.secret", b"other")),  # whoever sends a password means it
        ("d1", None, ("d1", None)),
        ("d1.", None, ("d1.", None)),
        (".secret", None, (".secret", None)),
        ("a b.secret", None, ("a b.secret", None)),
        (None, None, (None, None)),
    ],
)
def test_tokens(username: str | None, password: bytes | None, expected: tuple[str | None, bytes | None]) -> None:
    connect = without_token(
        Connect(5, "c", clean_start=True, keep_alive_s=0, username=username, password=password, will=None)
    )
    assert (connect.username, connect.password) == expected
