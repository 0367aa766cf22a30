"""How likely an alarm is true, by what its watch has shown on this product model so far.

Two things are known of each earlier episode: how strong and how lasting it was, and perhaps how it turned out. Only
those at least as strong *and* as lasting as the alarm speak for or against it.

*How rare.* The p-value of an alarm is the share of device-days on which this watch, on a healthy device, would show one
as extreme as this: how often it alarms at all, times the share of its alarms that are as extreme. Two scales are looked
at together, and among a hundred alarms about five are such that none is stronger *and* more lasting; where a share q is
at least as strong and lasting, q (1 - ln q) are as extreme (the law of a product of two uniform numbers; Fisher 1932).
With the rate of faults that a watch finds, the p-value makes the belief before anything is known of outcomes (the
two-groups model: Efron, *Large-Scale Inference*, 2010). Episodes of unknown outcome count as false ones here, which
errs on the careful side. The rate of faults is learnt as that of false alarms is: it begins at what the watch may
expect, held as if one fault had been seen in the time that one takes (a Gamma prior of shape 1), and a watch that is
silent for long finds few. Otherwise the first alarm of each would be near certain, for being the first.

*How often right.* Outcomes then outweigh it: a Beta posterior whose prior is that belief, worth two outcomes. Those of
weaker or shorter episodes count half. A case that nobody has answered yet counts as a false one, for some days: a watch
is tried with one case, not with ten on the same morning.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

PRIOR_OUTCOMES: Final = 2.0
UNSPOKEN: Final = 5.0
"""Right ones that a watch which is not guessing, or not to be guessed about, is credited with in advance."""

WEAKER_COUNTS: Final = 0.5
"""What outcomes of weaker or shorter episodes are worth: a watch that was wrong is doubted at its strongest too."""

FALSE_PER_FAULT: Final = 3.0
"""False alarms that a watch of which nothing is known is taken to raise for each fault that it may expect."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Episodes of one strength and lasting, by what is known of them; weights, for what is old counts less."""

    strength: int
    lasting: int
    standing: float  # nobody knows
    right: float
    wrong: float


@dataclass(frozen=True, slots=True)
class Tail:
    """Episodes at least as strong and lasting as a certain one, without itself."""

    standing: float = 0.0
    right: float = 0.0
    wrong: float = 0.0


@dataclass(frozen=True, slots=True)
class Belief:
    """How likely an alarm is true, and what that was worked out from."""

    true: float  # probability
    p_value: float  # per device and day
    tail: Tail
    device_days: float

    @property
    def cost(self) -> float:
        """How many false cases a case for it is expected to be."""
        return 1.0 - self.true

    def as_inputs(self) -> Mapping[str, object]:
        """For the decision's record."""
        return {
            "belief": round(self.true, 4),
            "p_value": float(f"{self.p_value:.3g}"),
            "alike": {
                "right": round(self.tail.right, 2),
                "wrong": round(self.tail.wrong, 2),
                "unknown": round(self.tail.standing, 2),
            },
            "device_days": round(self.device_days),
        }


def tail_of(cells: Iterable[Cell], strength: int, lasting: int) -> Tail:
    """Sum up the cells that are at least this strong and lasting."""
    above = [cell for cell in cells if cell.strength >= strength and cell.lasting >= lasting]
    return Tail(  # what was taken away again may leave a rounding error
        standing=max(0.0, sum(cell.standing for cell in above)),
        right=max(0.0, sum(cell.right for cell in above)),
        wrong=max(0.0, sum(cell.wrong for cell in above)),
    )


def by_outcomes(whole: Tail) -> float:
    """How likely an alarm of a watch is true by what was said of its cases alone; 1 before anybody spoke."""
    return (whole.right + UNSPOKEN) / (whole.right + whole.wrong + UNSPOKEN)


def believe(tail: Tail, whole: Tail, device_days: float, faults_per_device_day: float) -> Belief:
    """Weigh what is known; `whole` is all of the watch's episodes. With nothing known at all, one in four is true."""
    start_days = 1.0 / (FALSE_PER_FAULT * faults_per_device_day)
    alarms = 1.0 + whole.wrong + whole.standing
    share = min(1.0, (1.0 + tail.wrong + tail.standing) / alarms)
    p_value = min(1.0, alarms * share * (1.0 - math.log(share)) / (start_days + device_days))
    faults = (1.0 + whole.right) / (1.0 / faults_per_device_day + device_days)
    before = faults / (faults + p_value)
    right = tail.right + WEAKER_COUNTS * max(0.0, whole.right - tail.right)
    wrong = tail.wrong + WEAKER_COUNTS * max(0.0, whole.wrong - tail.wrong)
    true = (right + PRIOR_OUTCOMES * before) / (right + wrong + PRIOR_OUTCOMES)
    return Belief(true, p_value, tail, device_days)
