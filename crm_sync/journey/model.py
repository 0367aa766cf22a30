"""What a journey is made of: the stages that cases reached, the spans between them, and those nobody was told of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from crm_sync.model import Resolution
from crm_sync.trust.precision import Precision

GroupBy = Literal["model", "team", "channel"]
GROUPINGS: Final[tuple[GroupBy, ...]] = ("model", "team", "channel")
RELAPSE_DAYS: Final = 30
"""A relapse within so many days counts."""
FOLLOW_UP_DAYS: Final = 14
"""So long is each case of the hold-out comparison looked at."""
CONFIDENCE: Final = 0.95
FEWEST: Final = 20
"""Owners that each side of the comparison must have before anything is claimed of it."""
UNNOTICED: Final = frozenset({Resolution.FIXED_SILENTLY})
"""Resolutions of cases in which nobody had to do anything."""


class Stage(StrEnum):
    """How far cases came; each is counted whatever came before it."""

    OPENED = "opened"
    TOLD = "told"  # a CRM has it
    CONTACTED = "contacted"  # the owner was written to
    ACKNOWLEDGED = "acknowledged"  # an agent took it up
    FIXED = "fixed"  # an agent said that it is dealt with
    CONFIRMED = "confirmed"  # telemetry shows that the fault is gone
    FIXED_BEFORE_NOTICED = "fixed_before_noticed"  # telemetry does, and neither owner nor agent had to act
    RELAPSED = "relapsed"  # it came back within RELAPSE_DAYS after its end


class Span(StrEnum):
    """From one stage to another."""

    SIGN_TO_ALARM = "sign_to_alarm"  # device time to the gateway's clock
    ALARM_TO_CASE = "alarm_to_case"
    CASE_TO_CONTACTED = "case_to_contacted"
    CASE_TO_ACKNOWLEDGED = "case_to_acknowledged"
    CASE_TO_FIXED = "case_to_fixed"
    FIXED_TO_CONFIRMED = "fixed_to_confirmed"  # 0 where telemetry knew before the agent said so
    SIGN_TO_CONFIRMED = "sign_to_confirmed"  # the whole of it, in device time


@dataclass(frozen=True, slots=True)
class SpanTimes:
    """How long a span took the cases that passed it; None where none has."""

    cases: int
    median_s: float | None
    p90_s: float | None  # nine cases in ten took no longer


@dataclass(frozen=True, slots=True)
class Leg:
    """The cases of a group: how far they came, and how long it took."""

    name: str
    stages: Mapping[Stage, int]
    spans: Mapping[Span, SpanTimes]


Compared = Literal["contact", "case"]
Verdict = Literal["nobody", "too_few", "open", "shown"]


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Whether contacting owners helped: those contacted beside those held out by chance, each for as long.

    Each owner counts once, with the first fault that came as far as the draw. `effect` is the share of faults that
    were gone in time among the contacted, less that among the held-out; with the interval by Newcombe's method 10
    (1998). None where one side has nobody.
    """

    compared: Compared  # what the held-out went without: only being contacted, or a case altogether
    verdict: Verdict  # `too_few`: fewer than `fewest` on a side; `open`: the interval holds 0
    fewest: int
    within_days: int
    contacted: Precision  # right: gone in time
    held_out: Precision
    effect: float | None
    low: float | None
    high: float | None

    @property
    def is_shown(self) -> bool:
        """Whether there are enough, and the interval leaves out that there is no effect."""
        return self.verdict == "shown"


@dataclass(frozen=True, slots=True)
class Journey:
    """What became of the alarms of a period; instants are the gateway's clock."""

    since: datetime
    until: datetime
    alarms: int  # heard of in the period
    without_case: Mapping[str, int]  # by the reason
    not_contacted: Mapping[
        str, int
    ]  # cases whose owner was not told although a playbook would have, by the last reason
    contacts_avoided: int  # cases with a contact planned whose fault was gone, as telemetry shows, before any was made
    whole: Leg
    groups: tuple[Leg, ...]  # of the grouping asked for, the largest first
    hold_out: HoldOut
