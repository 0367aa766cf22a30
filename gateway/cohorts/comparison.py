"""One new firmware of a model against the others: counts and evidence, without any clock or database of its own."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.cohorts import sequential
from gateway.cohorts.sequential import RATIOS, Floats

DAY_S: Final = 86_400.0
BIRTH_S: Final = 28 * DAY_S
"""Devices are alike in age if they were first heard in the same four weeks."""

FEW: Final = 0.2
"""Fewer others than this share of the new firmware's devices are as good as nobody."""

LEAST_AFFECTED: Final = 5
SUSPICIOUS: Final = 2.0
"""Times as many alarms as expected, and at least as many alarms, from which a cohort is suspected."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device belongs: devices are compared with those of the same place."""

    region: str  # "" where the registry knows none
    birth: int  # number of the four weeks in which it was first heard

    @classmethod
    def of(cls, region: str | None, first_s: float) -> "Place":
        """The place of a device of this region, first heard at `first_s`."""
        return cls(region or "", int(first_s // BIRTH_S))


@dataclass(frozen=True, slots=True)
class Updated:
    """A device that has got the new firmware."""

    place: Place
    affected: frozenset[str]  # problems that it had while it counted among the others
    before_days: float  # that are known of it before the update, at most `LOOK_BACK_S`
    before: frozenset[str]  # problems that it had in them


@dataclass(frozen=True, slots=True)
class Sign:
    """The first alarm of a device's problem under its firmware."""

    place: Place
    problem: str
    is_new: bool  # on the new firmware


@dataclass(frozen=True, slots=True)
class Verdict:
    """A problem that the new firmware has brought."""

    problem: str
    region: str | None  # None: everywhere
    log_e: float
    affected: int
    devices: int
    others_affected: int
    others: int
    expected: float  # how many devices would be affected if nothing were wrong


class Comparison(msgspec.Struct):
    """State of one comparison: strata s are places, scopes c are everywhere (0) and then each region, problems p.

    Names are in the order of their appearance, and never leave; counts are of devices.
    """

    firmware: str
    since_s: float  # the gateway's clock
    at_s: float  # how far exposure has been counted
    counted_s: float  # when devices were last counted
    places: list[tuple[str, int]]
    regions: list[str]
    problems: list[str]
    new: list[int]  # [s]
    others: list[int]  # [s]
    new_affected: list[list[int]]  # [p][s]
    others_affected: list[list[int]]  # [p][s]
    log_e: list[list[list[float]]]  # [p][c][ratio]
    before: list[list[int]]  # [p][c]
    before_days: list[float]  # [c]
    after_days: list[float]  # [c] that devices have been on the new firmware
    affected_days: list[list[float]]  # [p][c] of those, while affected already

    @classmethod
    def begin(cls, firmware: str, now_s: float, new: Mapping[Place, int], others: Mapping[Place, int]) -> "Comparison":
        """A comparison of devices that are on a firmware with those that are not."""
        begun = cls(firmware, now_s, now_s, now_s, [], [], [], [], [], [], [], [], [], [0.0], [0.0], [])
        begun.recount(new, others)
        return begun

    def recount(self, new: Mapping[Place, int], others: Mapping[Place, int]) -> None:
        """Take device counts as the registry now has them."""
        for place in [*new, *others]:
            self._stratum(place)
        known = [Place(*place) for place in self.places]
        self.new = [new.get(place, 0) for place in known]
        self.others = [others.get(place, 0) for place in known]

    def advance(self, now_s: float) -> None:
        """Count the days that devices have been on the new firmware, until `now_s`."""
        days = max(now_s - self.at_s, 0.0) / DAY_S
        self.at_s = max(self.at_s, now_s)
        for c in range(len(self.after_days)):
            here = self._within(c)
            self.after_days[c] += days * float(np.array(self.new)[here].sum())
            for p in range(len(self.problems)):
                self.affected_days[p][c] += days * float(np.array(self.new_affected[p])[here].sum())

    def update(self, devices: Iterable[Updated], *, counted: bool) -> None:
        """Devices got the new firmware; `counted` where `begin` or `recount` has them among the new already."""
        for device in devices:
            s = self._stratum(device.place)
            if not counted:
                self.new[s] += 1
                self.others[s] = max(self.others[s] - 1, 0)
            for problem in sorted(device.affected):
                row = self.others_affected[self._problem(problem)]
                row[s] = max(row[s] - 1, 0)
            scopes = [0, 1 + self.regions.index(device.place.region)]
            for c in scopes:
                self.before_days[c] += device.before_days
            for problem in sorted(device.before):
                for c in scopes:
                    self.before[self._problem(problem)][c] += 1

    def leave(self, places: Iterable[tuple[Place, bool]]) -> None:
        """Devices run another firmware than they were counted under: True for those that were on the new one."""
        for place, was_new in places:
            s = self._stratum(place)
            counts = self.new if was_new else self.others
            counts[s] = max(counts[s] - 1, 0)

    def arrive(self, place: Place) -> None:
        """A device was heard for the first time, and runs the new firmware."""
        self.new[self._stratum(place)] += 1

    def join(self, places: Iterable[Place]) -> None:
        """Devices run one of the other firmwares, which were not counted among them before."""
        for place in places:
            self.others[self._stratum(place)] += 1

    def count(self, signs: Sequence[Sign]) -> None:
        """Take signs in the order in which they came; each weighs by who was at risk at its moment."""
        by_problem: dict[str, list[Sign]] = {}
        for sign in signs:
            by_problem.setdefault(sign.problem, []).append(sign)
        for problem, mine in by_problem.items():
            self._count(self._problem(problem), mine)

    def _count(self, p: int, signs: Sequence[Sign]) -> None:
        stratum = np.array([self._stratum(sign.place) for sign in signs])
        is_new = np.array([sign.is_new for sign in signs])
        earlier_new, earlier_others = _earlier(stratum, is_new), _earlier(stratum, ~is_new)
        at_risk = np.array(self.new) - np.array(self.new_affected[p])
        others = np.array(self.others) - np.array(self.others_affected[p])
        # Who raises an alarm was at risk, whatever a count says that has fallen behind.
        new_at_risk = np.maximum(at_risk[stratum] - earlier_new, is_new).astype(np.float64)
        others_at_risk = np.maximum(others[stratum] - earlier_others, ~is_new).astype(np.float64)
        for c in range(len(self.before_days)):
            here = self._within(c)[stratum]
            added = sequential.steps(is_new[here], new_at_risk[here], others_at_risk[here])
            self.log_e[p][c] = (np.array(self.log_e[p][c]) + added).tolist()
        for s, new in zip(stratum.tolist(), is_new.tolist(), strict=True):
            (self.new_affected if new else self.others_affected)[p][s] += 1

    def evidence(self, p: int, c: int) -> float:
        """The logarithm of the e-value that a problem is the new firmware's, in one scope."""
        beside = sequential.mixed(np.array(self.log_e[p][c]))
        here = self._within(c)
        new, others = float(np.array(self.new)[here].sum()), float(np.array(self.others)[here].sum())
        after = float(np.array(self.new_affected[p])[here].sum())
        after_others = float(np.array(self.others_affected[p])[here].sum())
        is_alone = others < FEW * new
        if not is_alone and after * others < SUSPICIOUS * after_others * new:
            return sequential.either(beside, -np.inf)  # whatever it is, the others have it too
        harmless = sequential.HARMLESS_ALONE if is_alone else sequential.HARMLESS_BEFORE
        past = sequential.before_after(
            self.before[p][c], self.before_days[c], after, self._days_at_risk(p, c), harmless
        )
        return sequential.either(beside, past)

    def verdicts(self, alpha: float, smallest: int) -> list[Verdict]:
        """The problems that the new firmware has brought, the widest scope of each."""
        found: list[Verdict] = []
        for p in range(len(self.problems)):
            for c in range(len(self.before_days)):
                places = (p,) if c == 0 else (p, c - 1)
                if c == 1 and len(self.regions) == 1:
                    break  # the one region is everywhere
                verdict = self.judged(p, c)
                is_many = verdict.devices >= smallest and verdict.affected >= LEAST_AFFECTED
                if is_many and verdict.log_e > sequential.bar(alpha / 2, *places):
                    found.append(verdict)
                    if c == 0:
                        break
        return found

    def judged(self, p: int, c: int) -> Verdict:
        """What there is to say of a problem in a scope."""
        here = self._within(c)
        new, others = int(np.array(self.new)[here].sum()), int(np.array(self.others)[here].sum())
        affected = int(np.array(self.new_affected[p])[here].sum())
        others_affected = int(np.array(self.others_affected[p])[here].sum())
        return Verdict(
            problem=self.problems[p],
            region=None if c == 0 else self.regions[c - 1],
            log_e=self.evidence(p, c),
            affected=affected,
            devices=max(new, affected),  # who has fallen silent since is no longer among the counted
            others_affected=others_affected,
            others=others,
            expected=self._expected(p, c, new, others, others_affected),
        )

    def _expected(self, p: int, c: int, new: int, others: int, others_affected: int) -> float:
        """How many devices would be affected by now if the new firmware were like the others, or like the past."""
        if others >= FEW * new and others > 0:
            return new * others_affected / others
        past_days = self.before_days[c]
        return self._days_at_risk(p, c) * self.before[p][c] / past_days if past_days > 0 else 0.0

    def _days_at_risk(self, p: int, c: int) -> float:
        return max(self.after_days[c] - self.affected_days[p][c], 0.0)

    def is_suspected(self, problem: str, smallest: int) -> bool:
        """Whether so many devices of the new firmware have a problem that it may well be the firmware's."""
        if problem not in self.problems or sum(self.new) < smallest:
            return False
        verdict = self.judged(self.problems.index(problem), 0)
        return verdict.affected >= SUSPICIOUS and verdict.affected >= SUSPICIOUS * verdict.expected

    def start_over(self, now_s: float) -> None:
        """Forget the evidence: what it proved has been dealt with."""
        self.since_s = self.at_s = now_s
        self.problems.clear()
        for rows in (self.new_affected, self.others_affected, self.log_e, self.before, self.affected_days):
            rows.clear()
        self.before_days = [0.0] * len(self.before_days)
        self.after_days = [0.0] * len(self.after_days)

    def _within(self, c: int) -> NDArray[np.bool_]:
        if c == 0:
            return np.ones(len(self.places), np.bool_)
        return np.array([region == self.regions[c - 1] for region, _ in self.places], np.bool_)

    def _stratum(self, place: Place) -> int:
        key = (place.region, place.birth)
        if key in self.places:
            return self.places.index(key)
        self.places.append(key)
        self.new.append(0)
        self.others.append(0)
        for rows in (self.new_affected, self.others_affected):
            for row in rows:
                row.append(0)
        if place.region not in self.regions:
            self.regions.append(place.region)
            self.before_days.append(0.0)
            self.after_days.append(0.0)
            for p in range(len(self.problems)):
                self.log_e[p].append([0.0] * len(RATIOS))
                self.before[p].append(0)
                self.affected_days[p].append(0.0)
        return len(self.places) - 1

    def _problem(self, problem: str) -> int:
        if problem not in self.problems:
            self.problems.append(problem)
            scopes = len(self.before_days)
            self.new_affected.append([0] * len(self.places))
            self.others_affected.append([0] * len(self.places))
            self.log_e.append([[0.0] * len(RATIOS) for _ in range(scopes)])
            self.before.append([0] * scopes)
            self.affected_days.append([0.0] * scopes)
        return self.problems.index(problem)


def _earlier(stratum: NDArray[np.int64], counted: NDArray[np.bool_]) -> Floats:
    """How many of those before each one are of its stratum and counted."""
    seen: Counter[int] = Counter()
    earlier = np.zeros(len(stratum))
    for i, (s, counts) in enumerate(zip(stratum.tolist(), counted.tolist(), strict=True)):
        earlier[i] = seen[s]
        seen[s] += counts
    return earlier
