"""What a command looks like on its topic."""

import math

import msgspec

from devices.commands.queries import Outgoing


def topic_of(command: Outgoing) -> str:
    """The topic of a command; its device answers on the same with ``/ack`` behind it."""
    return f"devices/{command.device_id}/commands/{command.command_id}"


def payload_of(command: Outgoing) -> bytes:
    """The command as JSON; `expires_at` is for devices that speak MQTT 3.1.1, which knows no message expiry."""
    return msgspec.json.encode(
        {
            "command_id": command.command_id,
            "name": command.name,
            "data": command.data,
            "issued_at": command.issued_at,
            "expires_at": command.expires_at,
        }
    )


def seconds_left(command: Outgoing, now_s: float) -> int:
    """For how long it may still be obeyed: whole seconds, at least one, as MQTT 5 counts them."""
    return max(1, min(math.ceil(command.expires_at.timestamp() - now_s), 4_294_967_295))
