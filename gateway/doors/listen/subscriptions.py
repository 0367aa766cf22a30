"""The one thing a device may subscribe to: its own commands."""

from typing import Final

from devices.ids import is_device_id
from gateway.doors.mqtt.codes import MQTT_5, ReasonCode
from gateway.doors.mqtt.topics import is_topic_filter

_FAILURE_311: Final = 0x80
_MOST: Final = 8


class Subscriptions:
    """One connection's subscriptions: ``devices/{id}/commands/+``, or commands by their exact topics."""

    __slots__ = ("_device_id", "_filters", "_version")

    def __init__(self, device_id: str, version: int) -> None:
        self._device_id = device_id
        self._version = version
        self._filters: dict[str, int] = {}

    def add(self, topic_filter: str, qos: int) -> int:
        """The SUBACK's code for one filter: the granted QoS, or why not."""
        refusal = self._refusal(topic_filter)
        if refusal is not None:
            return refusal if self._version == MQTT_5 else _FAILURE_311
        self._filters[topic_filter] = min(qos, 1)
        return self._filters[topic_filter]

    def remove(self, topic_filter: str) -> int:
        """The UNSUBACK's code for one filter."""
        known = self._filters.pop(topic_filter, None) is not None
        return ReasonCode.SUCCESS if known else ReasonCode.NO_SUBSCRIPTION_EXISTED

    def qos_of(self, topic: str) -> int | None:
        """The QoS at which to send a command, or None when the device has not asked for it."""
        every = f"{self._prefix}+"
        granted = [qos for topic_filter, qos in self._filters.items() if topic_filter in (topic, every)]
        return max(granted, default=None)

    @property
    def _prefix(self) -> str:
        return f"devices/{self._device_id}/commands/"

    def _refusal(self, topic_filter: str) -> ReasonCode | None:
        if topic_filter.startswith("$share/"):
            return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not is_topic_filter(topic_filter):
            return ReasonCode.TOPIC_FILTER_INVALID
        own, _, command = topic_filter.rpartition("/")
        if f"{own}/" != self._prefix or not (command == "+" or is_device_id(command)):
            return ReasonCode.NOT_AUTHORIZED
        if topic_filter not in self._filters and len(self._filters) >= _MOST:
            return ReasonCode.QUOTA_EXCEEDED
        return None
