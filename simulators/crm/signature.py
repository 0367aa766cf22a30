"""Standard Webhooks 1.0.0, as a receiver of ours and a sender of callbacks would write it on their own."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

TOLERANCE_S: Final = 300


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


def _mac(secret: str, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.new(_key(secret), f"{message_id}.{timestamp}.".encode() + body, sha256).digest()


def sign(secret: str, message_id: str, now_s: float, body: bytes) -> dict[str, str]:
    """The three headers of one attempt."""
    timestamp = str(int(now_s))
    signature = base64.b64encode(_mac(secret, message_id, timestamp, body)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def fault_in(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> str | None:
    """What is wrong with a signed message, or None if it is genuine."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or "." in message_id:
        return "webhook-id is missing or holds a dot"
    if not timestamp.isascii() or not timestamp.isdecimal():
        return "webhook-timestamp is not a number of seconds"
    if abs(int(timestamp) - now_s) > TOLERANCE_S:
        return "webhook-timestamp is more than five minutes away"
    expected = _mac(secret, message_id, timestamp, body)
    for entry in headers.get("webhook-signature", "").split():
        version, _, text = entry.partition(",")
        if version == "v1" and hmac.compare_digest(_decoded(text), expected):
            return None
    return "no signature matches"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
