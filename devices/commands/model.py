"""What a command is, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

MOST_DATA_BYTES: Final = 8192
DEFAULT_EXPIRY_S: Final = 3600.0  # of a command that no profile names
LONGEST_DETAIL: Final = 500


class CommandState(StrEnum):
    """How far a command has come."""

    QUEUED = "queued"  # kept until the device is there
    SENT = "sent"  # written to its connection, or to the broker
    DELIVERED = "delivered"  # the device has acknowledged the message, or said that it is at work
    DONE = "done"  # the device says so: whether it helped, telemetry tells
    REFUSED = "refused"
    FAILED = "failed"
    UNANSWERED = "unanswered"  # the device had it, or may have had it, and has not answered in time
    EXPIRED = "expired"  # it became too old before the device had it
    CANCELLED = "cancelled"

    @property
    def is_pending(self) -> bool:
        """Whether something may still come of it."""
        return self in PENDING


PENDING: Final = frozenset({CommandState.QUEUED, CommandState.SENT, CommandState.DELIVERED})


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A command to be sent; instants are the gateway's clock."""

    command_id: str
    tenant_id: str
    device_id: str
    name: str
    issued_by: str
    issued_at_s: float
    expires_at_s: float
    answer_within_s: float | None = None  # real seconds; None: as the gateway's settings say
    data: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class CommandView:
    """A command as it stands; `issued_at`, `expires_at` and `reached_at` are the gateway's clock, the others real."""

    command_id: str
    device_id: str
    name: str
    data: Mapping[str, object]
    issued_by: str
    state: CommandState
    detail: str
    issued_at: datetime
    expires_at: datetime
    tries: int
    sent_at: datetime | None
    delivered_at: datetime | None
    settled_at: datetime | None
    reached_at: datetime | None


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What a device said about a command; the device is the one whose connection or topic it came by."""

    device_id: str
    command_id: str
    state: CommandState  # delivered where the device has only said that it is at work
    detail: str = ""


class _Said(msgspec.Struct):
    status: str
    detail: str = ""


_WORDS: Final[Mapping[str, CommandState]] = {
    "accepted": CommandState.DELIVERED,
    "done": CommandState.DONE,
    "refused": CommandState.REFUSED,
    "failed": CommandState.FAILED,
}


def read_answer(device_id: str, command_id: str, answer: object) -> CommandAnswer:
    """What a device's acknowledgement means: a word, or an object with `status` and `detail`; nothing means done.

    A word that is not known never counts as done.
    """
    if answer is None or answer == "":
        return CommandAnswer(device_id, command_id, CommandState.DONE)
    try:
        said = _Said(answer) if isinstance(answer, str) else msgspec.convert(answer, _Said)
    except msgspec.ValidationError:
        return CommandAnswer(device_id, command_id, CommandState.FAILED, "the answer was not understood")
    state = _WORDS.get(said.status.strip().lower())
    if state is None:
        detail = f"the answer was not understood: {said.status}"[:LONGEST_DETAIL]
        return CommandAnswer(device_id, command_id, CommandState.FAILED, detail)
    return CommandAnswer(device_id, command_id, state, said.detail[:LONGEST_DETAIL])
