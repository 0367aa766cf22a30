"""What a device may subscribe to: its own commands, and what a dialect has to tell it."""

from typing import Final

from devices.ids import is_device_id
from gateway.doors.listen.reach import Reach
from gateway.doors.mqtt.codes import MQTT_5, ReasonCode
from gateway.doors.mqtt.topics import is_topic_filter

_FAILURE_311: Final = 0x80
_MOST: Final = 8


class Subscriptions:
    """One connection's: ``devices/{id}/commands/+``, commands by their exact topics, and a dialect's answers."""

    __slots__ = ("_device_id", "_filters", "_reach", "_version")

    def __init__(self, device_id: str, version: int, reach: Reach) -> None:
        self._device_id = device_id
        self._version = version
        self._reach = reach
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
        """The QoS at which to send something, or None when the device has not asked for it."""
        granted = [qos for topic_filter, qos in self._filters.items() if _covers(topic_filter, topic)]
        return max(granted, default=None)

    @property
    def prefix(self) -> str:
        """What the topics of the device's commands begin with."""
        return f"devices/{self._device_id}/commands/"

    @property
    def hears_commands(self) -> bool:
        """Whether it has asked for any of its commands."""
        return any(topic_filter.startswith(self.prefix) for topic_filter in self._filters)

    def _refusal(self, topic_filter: str) -> ReasonCode | None:
        if topic_filter.startswith("$share/"):
            return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not is_topic_filter(topic_filter):
            return ReasonCode.TOPIC_FILTER_INVALID
        own, _, command = topic_filter.rpartition("/")
        is_command = f"{own}/" == self.prefix and (command == "+" or is_device_id(command))
        if not is_command and not self._reach.may_hear(self._device_id, topic_filter):
            return ReasonCode.NOT_AUTHORIZED
        if topic_filter not in self._filters and len(self._filters) >= _MOST:
            return ReasonCode.QUOTA_EXCEEDED
        return None


def _covers(topic_filter: str, topic: str) -> bool:
    """Whether a filter without ``#`` stands for a topic."""
    if topic_filter == topic:
        return True
    wanted, found = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(found) and all(level in ("+", own) for level, own in zip(wanted, found, strict=True))
