"""What is new, what is gone and what stays between two ways in which the same history might have gone."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from gateway.backtest.outcomes import Alarm, Case, Outcome


class Overlapping(Protocol):
    """Something that may be about the same trouble as something else."""

    def overlaps(self, other: Self, /) -> bool:
        """Whether it is."""
        ...


_Thing = TypeVar("_Thing", bound=Overlapping)


@dataclass(frozen=True, slots=True)
class Difference(Generic[_Thing]):
    """`same` pairs each thing of before with its like of after."""

    same: Sequence[tuple[_Thing, _Thing]]
    new: Sequence[_Thing]
    gone: Sequence[_Thing]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Alarms and cases, before and after."""

    alarms: Difference[Alarm]
    cases: Difference[Case]


def compare(before: Outcome, after: Outcome) -> Comparison:
    """Match what two outcomes tell of the same trouble."""
    return Comparison(
        alarms=match(before.alarms, after.alarms, lambda alarm: (alarm.device_id, alarm.watch)),
        cases=match(before.opened, after.opened, lambda case: (case.asset_id, case.problem)),
    )


def match(before: Sequence[_Thing], after: Sequence[_Thing], key: Callable[[_Thing], Hashable]) -> Difference[_Thing]:
    """Pair things whose key is the same and that overlap, each once, in order; what is left is gone or new."""
    waiting: dict[Hashable, list[_Thing]] = {}
    for thing in before:
        waiting.setdefault(key(thing), []).append(thing)
    same: list[tuple[_Thing, _Thing]] = []
    new: list[_Thing] = []
    for thing in after:
        candidates = waiting.get(key(thing), [])
        place = next((place for place, other in enumerate(candidates) if other.overlaps(thing)), None)
        if place is None:
            new.append(thing)
        else:
            same.append((candidates.pop(place), thing))
    left = {id(thing) for candidates in waiting.values() for thing in candidates}
    return Difference(same, new, [thing for thing in before if id(thing) in left])
