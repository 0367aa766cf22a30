"""What a gate can say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Gate(StrEnum):
    """Which question was asked."""

    KILL_SWITCH = "kill_switch"
    FRESHNESS = "freshness"
    MODE = "mode"  # may this watch open cases?
    BUDGET = "budget"  # is there room for one more that may be false?
    COHORT = "cohort"  # is it one of many devices that are told as one?
    OPEN_CASE = "open_case"  # has a person just dealt with it?
    GRANT = "grant"
    QUIET_HOURS = "quiet_hours"
    STILL_TRUE = "still_true"  # asked again right before sending


class Outcome(StrEnum):
    """What a gate answered."""

    ALLOW = "allow"
    HOLD = "hold"  # not now
    REFUSE = "refuse"


class Reason(StrEnum):
    """Why somebody was not contacted, or not yet; log, database and messages use the same word."""

    KILL_SWITCH = "kill_switch"
    STALE = "stale"
    NO_GRANT = "no_grant"
    NO_OWNER = "no_owner"
    NO_TIME_ZONE = "no_time_zone"
    QUIET_HOURS = "quiet_hours"
    RECOVERED = "recovered"
    CASE_CLOSED = "case_closed"
    OWNER_CHANGED = "owner_changed"
    NEVER_ANNOUNCED = "never_announced"
    INCIDENT = "incident"  # a major case speaks for it
    COHORT_SUSPECTED = "cohort_suspected"  # it waits to see whether it is one of many
    HANDLED = "handled"  # an agent has just dealt with it
    SHADOW = "shadow"  # the watch is only being tried
    BUDGET = "budget"  # too unlikely to be true for the room that there is
    NOT_APPROVED = "not_approved"  # nobody said yes in time
    DECLINED = "declined"  # a person said no


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """One gate's answer and what it was based on."""

    gate: Gate
    outcome: Outcome
    reason: Reason | None = None  # None exactly when the outcome is allow
    inputs: Mapping[str, object] = field(default_factory=dict[str, object])  # no personal data beyond references
    until_s: float | None = None  # for hold: the gateway's clock


class Verdict(StrEnum):
    """What a delivery worker does with a message that is about to be sent."""

    SEND = "send"
    HOLD = "hold"  # keep it pending and ask again, in a few seconds at the latest; consumes no attempt
    WITHDRAW = "withdraw"  # settle it as withdrawn and go on with the next of its stream


@dataclass(frozen=True, slots=True)
class SendDecision:
    """Whether a message may go out now."""

    verdict: Verdict
    reason: Reason | None = None  # None exactly when the verdict is send
    until_s: float | None = None  # for hold: when it may go, on the gateway's clock
