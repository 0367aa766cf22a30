"""Standard Webhooks signatures, version 1: base64 of HMAC-SHA256 over ``id.timestamp.body``.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (1.0.0)
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from devices.errors import CareloopError

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_S: Final = 300
MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64
MAX_SIGNATURES: Final = 16
"""Signatures looked at in one header: two while a secret is being replaced, a few more of versions unknown here."""

_PREFIX: Final = "whsec_"
_ID: Final = re.compile(r"[!-\-/-~]{1,256}")  # visible ASCII without the dot, which separates what is signed
_TIMESTAMP: Final = re.compile(r"[0-9]{1,11}")  # whole seconds; str.isdigit would let other scripts' digits pass


class SignatureReason(StrEnum):
    """Why a signed message is not believed."""

    MISSING_HEADER = "missing_header"
    BAD_ID = "bad_id"
    BAD_TIMESTAMP = "bad_timestamp"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"
    NO_MATCH = "no_match"


class BadSignature(CareloopError):
    """The message was not signed by somebody who knows the secret, or not now."""

    def __init__(self, reason: SignatureReason) -> None:
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a verified message's headers say."""

    message_id: str
    timestamp_s: int


def parse_secret(text: str) -> bytes:
    """The key in a secret: ``whsec_`` and base64 of 24 to 64 bytes. Raises a ValueError that does not hold it."""
    try:
        key = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        message = f"a secret is {_PREFIX} and base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes"
        raise ValueError(message)
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; while a secret is being replaced, one signature with each key."""
    signatures = [_signature(key, message_id, str(timestamp_s), body).decode() for key in keys]
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: " ".join(signatures),
    }


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float) -> Signed:
    """Believe a message that any of `keys` signed within 300 s of `now_s`. Raises BadSignature, and nothing else."""
    lowered = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, given = (lowered[name] for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER))
    except KeyError:
        raise BadSignature(SignatureReason.MISSING_HEADER) from None
    if _ID.fullmatch(message_id) is None:
        raise BadSignature(SignatureReason.BAD_ID)
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise BadSignature(SignatureReason.BAD_TIMESTAMP)
    # every pair is compared, each in constant time, so that the time taken tells nothing
    candidates = [each.encode(errors="replace") for each in given.split(" ")[:MAX_SIGNATURES]]
    expected = [_signature(key, message_id, timestamp, body) for key in keys]
    matches = [hmac.compare_digest(candidate, signature) for candidate in candidates for signature in expected]
    if not any(matches):
        raise BadSignature(SignatureReason.NO_MATCH)
    timestamp_s = int(timestamp)
    if timestamp_s < now_s - TOLERANCE_S:
        raise BadSignature(SignatureReason.TOO_OLD)
    if timestamp_s > now_s + TOLERANCE_S:
        raise BadSignature(SignatureReason.TOO_NEW)
    return Signed(message_id, timestamp_s)


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    content = b"%s.%s.%s" % (message_id.encode(), timestamp.encode(), body)
    return b"v1," + base64.b64encode(hmac.digest(key, content, "sha256"))
