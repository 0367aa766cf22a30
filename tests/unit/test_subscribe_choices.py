"""Which engine, which version of MQTT, how soon again, and what is remembered of topics."""

import random
from typing import Literal

import pytest

from gateway.doors.mqtt.codes import MQTT_5, MQTT_311
from gateway.doors.routes import Routes
from gateway.doors.settings import BrokerTlsSettings, SubscribeSettings
from gateway.doors.subscribe.choose import choose_engine
from gateway.doors.subscribe.fast_engine import FastSubscription
from gateway.doors.subscribe.paho_engine import PahoSubscription
from gateway.doors.subscribe.retry import BrokerLost, Versions, delay_s
from gateway.doors.subscribe.topics import RememberedTopics
from gateway.intake import Route


def test_auto_is_fast_for_tcp_and_tls_and_paho_for_websockets() -> None:
    assert choose_engine(SubscribeSettings()) is FastSubscription
    assert choose_engine(SubscribeSettings(tls=BrokerTlsSettings(enabled=True))) is FastSubscription
    assert choose_engine(SubscribeSettings(transport="websockets")) is PahoSubscription
    assert choose_engine(SubscribeSettings(engine="paho")) is PahoSubscription
    assert choose_engine(SubscribeSettings(engine="fast")) is FastSubscription


def test_a_refused_version_is_not_tried_again() -> None:
    versions = Versions("auto")
    versions.lost(BrokerLost("refused", refused_version=True))
    assert versions.current == MQTT_311
    versions.worked()
    for _ in range(3):
        versions.lost(BrokerLost("cut"))
        versions.lost(BrokerLost("closed", unanswered=True))
        assert versions.current == MQTT_311


def test_a_closed_connection_is_no_refusal() -> None:
    versions = Versions("auto")
    versions.lost(BrokerLost("closed", unanswered=True))
    assert versions.current == MQTT_311
    versions.worked()
    versions.lost(BrokerLost("cut"))
    assert versions.current == MQTT_5
    versions.worked()
    versions.lost(BrokerLost("closed", unanswered=True))
    assert versions.current == MQTT_5


@pytest.mark.parametrize(("protocol", "version"), [("5", MQTT_5), ("3.1.1", MQTT_311)])
def test_a_version_that_was_asked_for_stays(protocol: Literal["5", "3.1.1"], version: int) -> None:
    versions = Versions(protocol)
    versions.lost(BrokerLost("refused", refused_version=True))
    assert versions.current == version


def test_waits_double_up_to_a_bound_and_differ() -> None:
    settings = SubscribeSettings(reconnect_min=1, reconnect_max=60)
    jitter = random.Random(1)
    waits = [delay_s(settings, failures, jitter) for failures in (0, 1, 2, 3, 20, 5000)]
    assert all(low / 2 <= wait <= low for wait, low in zip(waits, [1, 2, 4, 8, 60, 60], strict=True))
    assert waits[-1] != waits[-2]


def test_topics_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.doors.subscribe.topics._REMEMBERED", 10)
    topics = RememberedTopics(Routes())
    for number in range(25):
        assert topics.match(f"devices/d{number}/telemetry") == (Route.TELEMETRY, f"d{number}", "json")
        assert len(topics.matches) <= 10
    remembered = set(topics.matches)
    topics.match("elsewhere")
    topics.match("devices/d1/commands/c1/ack")
    assert set(topics.matches) == remembered
