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
    QUIET_ALARM = "quiet_alarm"  # does somebody want to hear nothing of it for a while?
    OPEN_CASE = "open_case"  # has a person just dealt with it?
    ROUTING = "routing"  # whose case is it, and until when?
    GRANT = "grant"
    SUPPRESSION = "suppression"  # is a person on it, or is the owner to be left alone?
    HOLD_OUT = "hold_out"  # is the owner one of those who are left alone for comparison?
    DEBOUNCE = "debounce"  # was the owner told of just this lately?
    FREQUENCY_CAP = "frequency_cap"  # was the owner contacted often enough lately?
    QUIET_HOURS = "quiet_hours"
    APPROVAL = "approval"  # does a person have to say yes first?
    EXPIRY = "expiry"  # did it wait too long?
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
    SNOOZED = "snoozed"  # a person wants to see the alarm later
    SILENCED = "silenced"  # a person wants to hear nothing of such alarms for a while
    MAINTENANCE = "maintenance"  # somebody works on such products just then
    DO_NOT_CONTACT = "do_not_contact"  # the owner, or the company, wants no contact at all
    LEGAL_HOLD = "legal_hold"
    COMPLAINT = "complaint"
    PLANNED_WORK = "planned_work"  # what is seen may be somebody's work
    HUMAN_CASE = "human_case"  # a person is on it
    HUMAN_REPLY = "human_reply"  # a person has just spoken with the owner
    HOLD_OUT = "hold_out"
    TOLD_ALREADY = "told_already"
    FREQUENCY_CAP = "frequency_cap"
    APPROVAL_NEEDED = "approval_needed"
    EXPIRED = "expired"  # it waited so long that it is decided anew, or given up


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """One gate's answer and what it was based on."""

    gate: Gate
    outcome: Outcome
    reason: Reason | None = None  # None exactly when the outcome is allow
    inputs: Mapping[str, object] = field(default_factory=dict[str, object])  # no personal data beyond references
    until_s: float | None = None  # from when the answer would be another, on the gateway's clock; None: unknown

    @property
    def people(self) -> int:
        """How many must say yes, where a yes is wanted."""
        return 2 if self.inputs.get("people") == 2 else 1  # noqa: PLR2004 - two people


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
