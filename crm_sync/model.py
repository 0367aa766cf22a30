"""What a case is, and which states it may pass through."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from devices.errors import CareloopError
from devices.profiles.model import Severity


class CaseState(StrEnum):
    """Where a case stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    OPEN = "open"
    WAITING = "waiting"
    RESOLVED = "resolved"
    RETRACTED = "retracted"
    EXPIRED = "expired"

    @property
    def is_live(self) -> bool:
        """Whether the case still asks for something; an asset has one live case per problem."""
        return self in LIVE


LIVE: Final = frozenset({CaseState.PROPOSED, CaseState.APPROVED, CaseState.OPEN, CaseState.WAITING})

MOVES: Final[Mapping[CaseState, frozenset[CaseState]]] = {
    CaseState.PROPOSED: frozenset({CaseState.APPROVED, CaseState.RETRACTED, CaseState.EXPIRED}),
    CaseState.APPROVED: frozenset({CaseState.OPEN, CaseState.RETRACTED, CaseState.EXPIRED}),
    CaseState.OPEN: frozenset({CaseState.WAITING, CaseState.RESOLVED, CaseState.RETRACTED, CaseState.EXPIRED}),
    CaseState.WAITING: frozenset({CaseState.OPEN, CaseState.RESOLVED, CaseState.RETRACTED, CaseState.EXPIRED}),
    CaseState.RESOLVED: frozenset({CaseState.OPEN}),  # a relapse
    CaseState.RETRACTED: frozenset(),
    CaseState.EXPIRED: frozenset(),
}
"""Every move that a case may make; any other is refused."""


class Resolution(StrEnum):
    """Why a case ended."""

    RECOVERED_IN_TELEMETRY = "recovered_in_telemetry"
    RESOLVED_BY_AGENT = "resolved_by_agent"
    REJECTED_BY_AGENT = "rejected_by_agent"
    ALARM_RETRACTED = "alarm_retracted"
    WITHDRAWN = "withdrawn"  # before any CRM heard of it
    NOT_APPROVED = "not_approved"  # it was proposed, and nobody said yes in time
    DECLINED = "declined"  # a person said no: it was not opened, or is taken back
    SOLVED_BY_OWNER = "solved_by_owner"
    CALLED_WRONG_BY_OWNER = "called_wrong_by_owner"  # the owner says that nothing was wrong
    CALLED_WRONG_BY_AGENT = "called_wrong_by_agent"  # a person at a desk says so: a false alarm
    FIXED_SILENTLY = "fixed_silently"  # the product mended itself when told to, before anybody was troubled

    @property
    def is_persons(self) -> bool:
        """Whether a person ended it, who may know more than telemetry does."""
        return self in {
            Resolution.RESOLVED_BY_AGENT,
            Resolution.REJECTED_BY_AGENT,
            Resolution.SOLVED_BY_OWNER,
            Resolution.CALLED_WRONG_BY_OWNER,
            Resolution.CALLED_WRONG_BY_AGENT,
        }


class AlarmState(StrEnum):
    """What is known of an alarm."""

    ACTIVE = "active"
    UNKNOWN = "unknown"
    CLEARED = "cleared"
    RETRACTED = "retracted"

    @property
    def is_over(self) -> bool:
        """Whether the alarm has ended; a silent device's has not."""
        return self in {AlarmState.CLEARED, AlarmState.RETRACTED}


class MoveRefused(CareloopError):
    """A case was asked to make a move that its life cycle does not have."""

    def __init__(self, case_id: str, start: CaseState, end: CaseState) -> None:
        super().__init__("move_refused", f"{case_id} cannot go from {start} to {end}")


@dataclass(frozen=True, slots=True)
class Subject:
    """The product that a case is about, and whose it is; references only, never a name or an address."""

    tenant_id: str
    device_id: str
    asset_id: str
    model: str | None = None
    serial: str | None = None
    warranty_until: date | None = None
    firmware: str | None = None
    region: str | None = None
    owner_ref: str | None = None
    account_ref: str | None = None
    time_zone: str | None = None
    language: str | None = None  # of the owner, a BCP 47 tag
    lifecycle_stage: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A case as it stands; instants are the gateway's clock."""

    case_id: str
    tenant_id: str
    asset_id: str
    device_id: str
    problem: str
    state: CaseState
    severity: Severity
    title: str
    brief: str  # what an agent is told while the case is live
    team: str
    owner_ref: str | None
    account_ref: str | None
    opened_at_s: float
    updated_at_s: float
    sla_due_at_s: float | None
    closed_at_s: float | None = None
    resolution: Resolution | None = None
    outcome: str | None = None
    version: int = 0
    relapses: int = 0
    relapse_of: str | None = None
    ending: str | None = None  # what an agent is told at its end
    parent_id: str | None = None  # the major case that it is a child of
    assignee: str | None = None  # who looks after it, where somebody was named

    def belongs_to_another(self, subject: Subject) -> bool:
        """Whether the product has a new owner, or none any more, since the case was opened for somebody."""
        return self.owner_ref is not None and self.owner_ref != subject.owner_ref


@dataclass(frozen=True, slots=True)
class CaseAlarm:
    """An alarm as cases see it; `evidence` is (device time in epoch seconds, value)."""

    alarm_id: str
    case_id: str | None
    watch: str
    kind: str
    metric: str | None
    severity: Severity
    state: AlarmState
    suppressed: str | None
    started_at_s: float
    decided_ts_s: float
    text: str
    expected: str
    observed: str
    window_s: float
    evidence: tuple[tuple[float, float], ...]


_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH: Final = 22  # 128 bits in base 62


def case_id_of(tenant_id: str, alarm_id: str, after: str) -> str:
    """The id of the case that an alarm opens `after` the case before it: the same whenever it is worked out."""
    return f"case_{_digest(f'{tenant_id}/{alarm_id}/{after}')}"


def step_id_of(case_id: str, action: int, relapses: int) -> str:
    """The id of a step: a case takes each action of its playbook once, and once more after a relapse."""
    return f"step_{_digest(f'{case_id}/{action}/{relapses}')}"


def _digest(text: str) -> str:
    number = int.from_bytes(blake2b(text.encode(), digest_size=16).digest())
    digits: list[str] = []
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
