"""What is considered about a case, what is known for it, and how it was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from devices.profiles.model import AGENT_SEES, OWNER_SEES, Action, ActionKind, Playbook, Severity

NOTHING: Final = "nothing"
"""Doing nothing, where the kind of an action stands: it is always a candidate."""


class Lane(StrEnum):
    """Who acts: each lane has its own best action."""

    PRODUCT = "product"
    AGENTS = "agents"
    OWNER = "owner"


class Chosen(StrEnum):
    """What became of a candidate."""

    CHOSEN = "chosen"
    REJECTED = "rejected"
    WAITS = "waits"  # for the silent fix to help or not, or for the gates of the contact policy


class Why(StrEnum):
    """Why a candidate was chosen or not; besides these, the reasons of the contact policy's gates."""

    BEST = "best"  # of those that are allowed in its lane
    NOT_THE_BEST = "not_the_best"  # another one of its lane is allowed, and better
    SILENT_FIX_FIRST = "silent_fix_first"
    NOTHING_ALLOWED = "nothing_allowed"  # so nothing is done
    SOMETHING_TO_DO = "something_to_do"  # so doing nothing is not the best
    GATES = "gates"  # the contact policy has not been asked yet
    NO_CHANNEL = "no_channel"
    NO_CRM = "no_crm"  # that would carry it to the owner
    TOO_MILD = "too_mild"
    TOO_GRAVE = "too_grave"
    WARRANTY = "warranty"
    LIFECYCLE = "lifecycle"
    REGION = "region"
    PRECISION = "precision"
    SCORE = "score"
    SUCCESS = "success"
    NEVER_WORKED = "never_worked"
    UNKNOWN_WARRANTY = "unknown_warranty"
    UNKNOWN_LIFECYCLE = "unknown_lifecycle"
    UNKNOWN_REGION = "unknown_region"
    UNKNOWN_PRECISION = "unknown_precision"
    UNKNOWN_SCORE = "unknown_score"
    UNKNOWN_SUCCESS = "unknown_success"
    SWITCHED_OFF = "switched_off"  # silent fixes are, by the settings
    DEVICE_SILENT = "device_silent"  # it could not be told
    TRIED = "tried"  # in this case, before
    TOO_OFTEN = "too_often"  # on this product, of late
    TOO_MANY = "too_many"  # in this hour, on all products
    COMMAND_PENDING = "command_pending"  # one of its kind is on its way for another reason


@dataclass(frozen=True, slots=True)
class Rate:
    """How often an action has helped against a problem on a model."""

    worked: int = 0
    failed: int = 0

    @property
    def trials(self) -> int:
        """How often it was tried, and something is known of it."""
        return self.worked + self.failed

    @property
    def mean(self) -> float:
        """The mean of its posterior, from a uniform prior (Beta 1, 1)."""
        return (self.worked + 1) / (self.trials + 2)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known for a decision; None is not known."""

    severity: Severity
    warranty: Literal["in", "out"] | None
    lifecycle_stage: str | None
    region: str | None
    precision: float | None = None
    score: float | None = None
    rates: Mapping[str, Rate] = field(default_factory=dict[str, Rate])  # by action
    worked_here: frozenset[str] = frozenset()  # actions that helped against this problem on this very product
    is_silent: bool = False  # the product cannot be told anything now


@dataclass(frozen=True, slots=True)
class Candidate:
    """An action of the playbook, at its position there."""

    position: int
    action: Action

    @property
    def lane(self) -> Lane:
        """Who acts."""
        if self.action.kind in OWNER_SEES:
            return Lane.OWNER
        return Lane.AGENTS if self.action.kind in AGENT_SEES else Lane.PRODUCT


@dataclass(frozen=True, slots=True)
class Considered:
    """A candidate, and whether its conditions hold."""

    candidate: Candidate
    unmet: Why | None  # None where all hold
    inputs: Mapping[str, object]  # what was looked at


@dataclass(frozen=True, slots=True)
class Ranking:
    """A playbook's actions for one case, the best first."""

    playbook: Playbook
    facts: Facts
    considered: tuple[Considered, ...]

    def allowed(self, lane: Lane) -> tuple[Considered, ...]:
        """Those of a lane whose conditions hold, the best first."""
        return tuple(each for each in self.considered if each.candidate.lane is lane and each.unmet is None)


@dataclass(frozen=True, slots=True)
class TriedFix:
    """What a product was told to do by itself, and what came of it."""

    command: str
    state: str
    reason: str | None

    @property
    def came_to(self) -> str:
        """The word under which it is told."""
        if self.state in {"ordered", "verifying"}:
            return "under_way"
        return "worked" if self.state == "worked" else self.reason or "other"


INTRUSIVENESS: Final[Mapping[str, int]] = {
    name: place
    for place, name in enumerate(
        (
            ActionKind.COMMAND,
            ActionKind.AGENT_CASE,
            "email",
            "push",
            "sms",
            "phone",
            ActionKind.PART_OR_VISIT,
        )
    )
}
"""How much each kind, or channel, troubles the owner: the least first."""


def intrusiveness(action: Action) -> int:
    """The place of an action among those; a channel that is not known comes last."""
    key = action.channel if action.kind in OWNER_SEES else action.kind
    return INTRUSIVENESS.get(key or "", len(INTRUSIVENESS))
