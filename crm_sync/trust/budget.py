"""Whether there is room for one more case that may be false: online control of false discoveries with a fading memory.

Two accounts are kept in the unit *expected false cases*, and a hard cap counts cases.

- `allowance` holds the figure that is configured: it grows by so many false cases per thousand devices and day, up to
  what two days give plus the learning cases.
- `wealth` holds the share: each case that opens earns `false_share`. Old wins and losses fade, so that a good month
  does not pay for a bad week, nor a bad month silence a year.

A case is booked with the probability that it is false, and settled when its outcome comes: a false one then costs 1, a
true one nothing. Expectations add up whatever the alarms have to do with each other, so neither account needs them to
be independent; and where the probabilities are wrong, settling corrects the accounts by what really happened.

The rule is generalised alpha-investing (Foster and Stine 2008; Aharoni and Rosset 2014) in its form for local false
discovery rates (Gang, Sun and Wang, *Structure-adaptive sequential testing for online false discovery rate control*,
JASA 2023); the fading memory is that of Ramdas, Yang, Wainwright and Jordan (*Online control of the false discovery
rate with decaying memory*, 2017), as Rebjock, Kurt, Januschowski and Callot use it for rare anomalies (*Online false
discovery rate control for anomaly detection in time series*, 2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from crm_sync.trust.belief import Belief
from crm_sync.trust.scale import fade
from crm_sync.trust.settings import BudgetSettings

DAY_S: Final = 86400.0
ALLOWANCE_DAYS: Final = 2.0
STAKE: Final = 0.1
"""No case may stake more than this part of the wealth, besides what it earns: the poorer, the surer."""

NEAR_THE_CAP: Final = 0.8
BEST: Final = 0.95
"""Belief that the last place of a day asks for."""


class Verdict(StrEnum):
    """What the budget says to one more case."""

    ROOM = "room"
    STATED = "stated"  # somebody has set the limit that was passed: there is nothing to guess
    SMALL_FLEET = "small_fleet"  # too few devices to flood anybody, or to tell chance from trouble
    CRITICAL = "critical"  # passes whatever there is room for, and is counted
    BELIEF = "belief"  # too unlikely to be true
    BAR = "bar"  # not likely enough since this watch's last false alarms
    ALLOWANCE = "allowance"  # the figure is used up
    SHARE = "share"  # too many of the cases so far would be false
    CAP = "cap"  # the day's cases are used up, or kept for those more likely to be true

    @property
    def passes(self) -> bool:
        """Whether a case may open."""
        return self in {Verdict.ROOM, Verdict.STATED, Verdict.SMALL_FLEET, Verdict.CRITICAL}


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a tenant's budget has in hand; instants are the gateway's clock."""

    allowance: float
    wealth: float
    day: int  # the day, UTC, that `opened` counts
    opened: int
    as_of_s: float

    @classmethod
    def fresh(cls, settings: BudgetSettings, now_s: float) -> "Accounts":
        """A tenant's first day."""
        return cls(settings.learning_cases, settings.learning_cases, int(now_s // DAY_S), 0, now_s)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Why the accounts are not asked, and how likely the alarm is true by what was said of its watch's cases alone."""

    verdict: Verdict
    belief: float


@dataclass(frozen=True, slots=True)
class Ruling:
    """The answer to one alarm, and what it was given from."""

    verdict: Verdict
    accounts: Accounts  # as they stood when it was asked
    needed: float  # belief

    def as_inputs(self) -> Mapping[str, object]:
        """For the decision's record."""
        return {
            "verdict": str(self.verdict),
            "needed_belief": round(self.needed, 4),
            "allowance": round(self.accounts.allowance, 4),
            "wealth": round(self.accounts.wealth, 4),
            "opened_today": self.accounts.opened,
        }


def pass_time(accounts: Accounts, settings: BudgetSettings, devices: int, now_s: float) -> Accounts:
    """The accounts as they stand later: allowance granted, wealth faded towards where it began, a new day begun."""
    days = max(0.0, now_s - accounts.as_of_s) / DAY_S
    a_day = settings.expected_false_cases_per_thousand_devices_per_day * devices / 1000.0
    full = max(settings.learning_cases, ALLOWANCE_DAYS * a_day)
    allowance = max(accounts.allowance, min(full, accounts.allowance + days * a_day))
    start = settings.learning_cases
    wealth = start + (accounts.wealth - start) * fade(accounts.as_of_s, now_s, settings.memory)
    today = max(accounts.day, int(now_s // DAY_S))
    opened = accounts.opened if today == accounts.day else 0
    return Accounts(allowance, wealth, today, opened, max(accounts.as_of_s, now_s))


def rule(
    accounts: Accounts,
    settings: BudgetSettings,
    belief: Belief,
    bar: float,
    *,
    critical: bool,
    exempt: Exemption | None = None,
) -> Ruling:
    """Whether one more case may open now."""
    by_rank = _by_rank(accounts.opened, settings.cases_per_day)
    needed = max(settings.least_belief + bar, by_rank)
    if critical:
        return Ruling(Verdict.CRITICAL, accounts, 0.0)
    if accounts.opened >= settings.cases_per_day:
        return Ruling(Verdict.CAP, accounts, 1.0)
    if exempt is not None:
        verdict = exempt.verdict if exempt.belief >= needed else Verdict.BAR
    elif belief.true < settings.least_belief:
        verdict = Verdict.BELIEF
    elif belief.true < settings.least_belief + bar:
        verdict = Verdict.BAR
    elif belief.true < by_rank:
        verdict = Verdict.CAP
    elif belief.cost > accounts.allowance:
        verdict = Verdict.ALLOWANCE
    elif belief.cost > settings.false_share + STAKE * max(0.0, accounts.wealth):
        verdict = Verdict.SHARE
    else:
        verdict = Verdict.ROOM
    return Ruling(verdict, accounts, needed)


def _by_rank(opened: int, cap: int) -> float:
    """The belief that a case needs when the day's cap is near: the last places are for those most likely to be true."""
    near = NEAR_THE_CAP * cap
    return 0.0 if opened < near else BEST * (opened + 1 - near) / (cap - near)


def book(accounts: Accounts, settings: BudgetSettings, cost: float) -> Accounts:
    """A case opened that is false with this probability."""
    return replace(
        accounts,
        allowance=accounts.allowance - cost,
        wealth=accounts.wealth + settings.false_share - cost,
        opened=accounts.opened + 1,
    )


def settle(accounts: Accounts, booked: float, was_false: float) -> Accounts:
    """The outcome of a case that was booked with a certain cost; a weak outcome lies between 0 and 1."""
    more = was_false - booked
    return replace(accounts, allowance=accounts.allowance - more, wealth=accounts.wealth - more)
