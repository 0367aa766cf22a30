"""Errors, named by what the caller does next.

CareloopError
├── Rejected      put it in quarantine, then acknowledge it
├── Retryable     try again, not before `retry_after_s`
├── Permanent     dead-letter it: the same call will never succeed
└── ConfigError   exit 2, naming every wrong setting
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class QuarantineReason(StrEnum):
    """Why a reading or a packet could not be stored; log, metric and console use the same word."""

    MALFORMED = "malformed"
    WRONG_TYPE = "wrong_type"
    OVERSIZED = "oversized"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIMESTAMP = "bad_timestamp"
    FAR_FUTURE = "far_future"
    CONFLICT = "conflict"
    UNKNOWN_DEVICE = "unknown_device"
    FOREIGN_TOPIC = "foreign_topic"
    UNKNOWN_TOPIC = "unknown_topic"
    UNSTORABLE = "unstorable"
    NO_BIRTH = "no_birth"  # refers to what a birth has told, and none has come; replayed by itself once one has


class CareloopError(Exception):
    """What every error of careloop's own is; `reason` is a closed word, `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Rejected(CareloopError):
    """The input can never be stored: quarantine it, then acknowledge it."""

    def __init__(self, reason: QuarantineReason, detail: str = "") -> None:
        super().__init__(reason, detail)


class Retryable(CareloopError):
    """The call may succeed later; not before `retry_after_s` seconds, where the other side said so."""

    def __init__(self, reason: str, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after_s = retry_after_s


class Permanent(CareloopError):
    """The same call will never succeed: dead-letter it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong setting: its name, what was found, and what is allowed."""

    setting: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.setting}: found {self.found}; allowed: {self.allowed}"


class ConfigError(CareloopError):
    """Settings, a profile or a command's arguments are wrong; carries every fault at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("wrong_settings", "; ".join(str(fault) for fault in faults))
        self.faults = tuple(faults)
