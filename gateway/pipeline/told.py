"""What births, wills and command acknowledgements say."""

from dataclasses import dataclass
from typing import Final

import msgspec

from devices.errors import QuarantineReason
from devices.payloads.codec import timestamp_us

ACKNOWLEDGEMENT: Final = "command.ack"
"""The event code under which a device's answer to a command is kept."""

ONLINE: Final = "online"
OFFLINE: Final = "offline"
_STATES: Final = (ONLINE, OFFLINE)
_NUL: Final = b"\\u0000"


@dataclass(frozen=True, slots=True)
class Told:
    """An event, or a status (`code` online or offline); `data` is JSON text."""

    ts_us: int | None
    seq: int | None
    code: str
    data: str | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a payload says nothing."""

    reason: QuarantineReason
    detail: str


class _Status(msgspec.Struct):
    status: str
    ts: str | int | float | None = None


def read_status(payload: bytes) -> Told | Unreadable:
    """A birth or will: the word itself, or ``{"status": word, "ts": …?}``."""
    text = payload.strip().lower()
    if text in (b"online", b"offline"):
        return Told(None, None, text.decode(), None)
    try:
        status = msgspec.json.decode(payload, type=_Status)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Unreadable(QuarantineReason.MALFORMED, "a status is online or offline, or an object with such a status")
    if status.status not in _STATES:
        return Unreadable(QuarantineReason.WRONG_TYPE, "a status is online or offline")
    if status.ts is None:
        return Told(None, None, status.status, None)
    ts_us = timestamp_us(status.ts)
    if ts_us is None:
        return Unreadable(QuarantineReason.BAD_TIMESTAMP, "ts is neither RFC 3339 nor epoch milliseconds")
    return Told(ts_us, None, status.status, None)


def read_acknowledgement(topic: str, payload: bytes) -> Told | Unreadable:
    """A device's answer to a command: kept as an event, with the command's id and the payload, JSON or text."""
    command_id = topic.split("/")[-2] if topic.count("/") else ""
    try:
        answer: object = msgspec.json.decode(payload) if payload else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        answer = payload.decode(errors="replace")
    try:
        data = msgspec.json.encode({"command_id": command_id, "answer": answer})
    except (UnicodeError, RecursionError, OverflowError):
        data = _NUL
    if _NUL in data:
        return Unreadable(QuarantineReason.MALFORMED, "the answer holds what no database takes for text")
    return Told(None, None, ACKNOWLEDGEMENT, data.decode())
