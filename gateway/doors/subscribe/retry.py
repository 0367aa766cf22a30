"""After a connection is lost: when to try again, and in which version of MQTT."""

import random
from typing import Literal

from gateway.doors.mqtt.codes import MQTT_5, MQTT_311
from gateway.doors.settings import SubscribeSettings


class BrokerLost(Exception):
    """The connection ended, or never came about; the message says why."""

    def __init__(
        self, reason: str, *, refused_version: bool = False, unanswered: bool = False, is_renewal: bool = False
    ) -> None:
        super().__init__(reason)
        self.is_renewal = is_renewal  # we left by ourselves, to connect anew at once
        self.refused_version = refused_version  # the broker said that it does not speak this one
        self.unanswered = unanswered  # it closed without a word, which some that do not speak this one do


class Versions:
    """Which version to try next: 5, and 3.1.1 where the broker may not speak that.

    A refusal is believed for good. A connection that was closed without a word may have met a broker of the past, or
    a proxy whose broker is not up yet: after it the other version is tried, and 5 again once that is lost.
    """

    def __init__(self, protocol: Literal["auto", "5", "3.1.1"]) -> None:
        self.current = MQTT_311 if protocol == "3.1.1" else MQTT_5
        self._is_certain = protocol != "auto"

    def worked(self) -> None:
        """The broker has let us in."""
        self._is_certain = self._is_certain or self.current == MQTT_5

    def lost(self, lost: BrokerLost) -> None:
        """A connection ended, or did not come about."""
        if self._is_certain:
            return
        if lost.refused_version or lost.unanswered:
            self.current = MQTT_311 if self.current == MQTT_5 else MQTT_5
            self._is_certain = lost.refused_version
        else:
            self.current = MQTT_5


def delay_s(settings: SubscribeSettings, failures: int, jitter: random.Random) -> float:
    """Exponential, with jitter: a fleet of gateways must not come back all at once."""
    longest_s = min(settings.reconnect_max, settings.reconnect_min * 2.0 ** min(failures, 30))
    return longest_s * jitter.uniform(0.5, 1.0)
