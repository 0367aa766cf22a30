"""Rules for topic names and topic filters (MQTT 5, section 4.7)."""

from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.mqtt.fields import PacketError, protocol_error


def check_topic_name(topic: str) -> None:
    """Raise PacketError for a name that nothing can be published to."""
    if not topic:
        detail = "a topic name is empty"
        raise protocol_error(detail)
    if "+" in topic or "#" in topic:
        raise PacketError(ReasonCode.TOPIC_NAME_INVALID, "a topic name has a wildcard")


def is_topic_filter(text: str) -> bool:
    """Whether wildcards stand alone in their level, and ``#`` only at the end."""
    levels = text.split("/")
    if not text or any("#" in level for level in levels[:-1]):
        return False
    last = levels[-1]
    if "#" in last and last != "#":
        return False
    return all("+" not in level or level == "+" for level in levels)
