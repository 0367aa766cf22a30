"""Whether a CONNECT is let in, and what it is told."""

from dataclasses import dataclass
from typing import Final

from gateway.doors.listen.context import DoorContext
from gateway.doors.mqtt import write
from gateway.doors.mqtt.codes import MQTT_5, ReasonCode
from gateway.doors.mqtt.packets import Connect
from gateway.doors.mqtt.stream import TOPIC_ALIAS_MAXIMUM
from gateway.intake import Route

_LONGEST_CLIENT_ID: Final = 256


@dataclass(frozen=True, slots=True)
class Refusal:
    """Not let in; the detail is for the client's developer and says nothing that a stranger may not know."""

    code: ReasonCode
    detail: str


@dataclass(frozen=True, slots=True)
class Admission:
    """Let in as `device_id`."""

    device_id: str
    connack: bytes
    keep_alive_s: int


def refuse_early(connect: Connect) -> Refusal | None:
    """Why a CONNECT is refused before anybody looks at its password."""
    if connect.authentication_method is not None:
        return Refusal(ReasonCode.BAD_AUTHENTICATION_METHOD, "no extended authentication here")
    if len(connect.client_id) > _LONGEST_CLIENT_ID:
        return Refusal(ReasonCode.CLIENT_ID_NOT_VALID, f"a client id has at most {_LONGEST_CLIENT_ID} characters")
    if not connect.client_id and connect.version != MQTT_5 and not connect.clean_start:
        return Refusal(ReasonCode.CLIENT_ID_NOT_VALID, "an empty client id needs a clean session")
    return None


def refuse_guesser(connect: Connect, address: str, door: DoorContext) -> Refusal | None:
    """Why nobody takes the time to look at its password: too many were wrong."""
    if door.failed_logins.allows(address, connect.username or ""):
        return None
    return Refusal(ReasonCode.CONNECTION_RATE_EXCEEDED, "too many failed logins; wait a minute")


def admit(connect: Connect, device_id: str | None, address: str, door: DoorContext) -> Admission | Refusal:
    """Let the device in that authentication has found, if any, with the answer to its CONNECT.

    Who knows the password is let in however many others have guessed at it; throttled is who does not.
    """
    name = connect.username or ""
    if device_id is None:
        if (guesser := refuse_guesser(connect, address, door)) is not None:
            door.failed_logins.doubt(address, name)
            return guesser
        door.failed_logins.failed(address, name)
        if connect.username is None and connect.password is None:
            detail = "a user name and a password, or the client certificate of a device that is let in, are needed"
            return Refusal(ReasonCode.NOT_AUTHORIZED, detail)
        return Refusal(
            ReasonCode.BAD_USER_NAME_OR_PASSWORD, "the user name is the device id; check it and the password"
        )
    door.failed_logins.succeeded(address, name)
    if len(door.roll) >= door.settings.max_connections and door.roll.find(device_id) is None:
        door.counters.turned_away += 1
        return Refusal(ReasonCode.SERVER_BUSY, "as many devices as may be are connected; try again later")
    if connect.will is not None:
        match = door.reach.match(device_id, connect.will.topic)
        if match is None or match.route is Route.UNKNOWN:
            return Refusal(ReasonCode.NOT_AUTHORIZED, "the will's topic is not one of this device's")
    keep_alive_s = _keep_alive_s(connect, door)
    if connect.version != MQTT_5:
        return Admission(device_id, write.connack(connect.version), keep_alive_s)
    properties = write.connack_properties(
        receive_maximum=door.settings.receive_maximum,
        max_packet_bytes=door.settings.max_packet_bytes,
        topic_alias_maximum=TOPIC_ALIAS_MAXIMUM,
        session_expiry_s=0 if connect.session_expiry_s else None,
        server_keep_alive_s=keep_alive_s if keep_alive_s != connect.keep_alive_s else None,
        assigned_client_id=None if connect.client_id else door.new_client_id(),
    )
    connack = write.connack(connect.version, properties)
    if connect.max_packet_bytes is not None and len(connack) > connect.max_packet_bytes:
        return Refusal(ReasonCode.PACKET_TOO_LARGE, "CONNACK alone is larger than the maximum packet size")
    return Admission(device_id, connack, keep_alive_s)


def _keep_alive_s(connect: Connect, door: DoorContext) -> int:
    """The keep-alive in force: MQTT 5 lets the server shorten it, 3.1.1 does not."""
    most_s = int(door.settings.max_keep_alive)
    if connect.version == MQTT_5 and most_s and not 0 < connect.keep_alive_s <= most_s:
        return most_s
    return connect.keep_alive_s
