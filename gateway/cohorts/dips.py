"""Many devices of all sorts falling silent or out of use at once: no fault of any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from gateway.cohorts import sequential
from gateway.cohorts.sequential import RATIOS

DAY_S: Final = 86_400.0
KINDS: Final = frozenset({"silence", "usage_drop"})
"""The alarms that a holiday, an outage or a lost broker raises."""

MEMORY_DAYS: Final = 28.0
"""How long the usual rate of such alarms is remembered."""

USUAL_DAYS: Final = 100.0
"""Before anything is known, one such alarm in so many device-days is usual."""

UNUSUAL: Final = 3.0
"""Times the usual rate that are still nobody's dip."""

RUNS_OUT_S: Final = 2 * DAY_S
"""A run of alarms that has lasted this long without being a dip is counted anew."""

FALSE_ONCE_IN: Final = 10 * 365 * 24
"""Looks of an hour: a scope in which nothing happens gives a false dip at most once in them."""

SUSPICIOUS: Final = 3
"""Devices, and the fourth part of what makes a dip, from which one is suspected."""


@dataclass(frozen=True, slots=True)
class Dip:
    """A scope in which far more devices fall silent or out of use than usual."""

    scope: str
    since_s: float  # the gateway's clock when the run of alarms began
    log_e: float
    affected: int
    devices: int
    usual: float  # devices that fall silent or out of use in this time otherwise
    models: Mapping[str, int]  # affected devices by model


class Scope(msgspec.Struct):
    """State of one scope: `*` for everything, `region:…`, `model:…`."""

    at_s: float
    since_s: float  # of the run
    devices: dict[str, int]  # by model, counted by whoever keeps the scope
    seen: float = 0.0  # signs remembered, for the usual rate
    device_days: float = 0.0  # over which they were
    expected: float = 0.0  # in the run
    affected: dict[str, int] = msgspec.field(default_factory=dict[str, int])  # in the run, by model
    log_m: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(RATIOS))

    @property
    def size(self) -> int:
        """Devices in the scope."""
        return sum(self.devices.values())

    @property
    def signs(self) -> int:
        """Devices that fell silent or out of use in the run."""
        return sum(self.affected.values())

    def advance(self, now_s: float) -> None:
        """Let time pass without a sign."""
        days = max(now_s - self.at_s, 0.0) / DAY_S
        self.at_s = max(self.at_s, now_s)
        expected = UNUSUAL * self._rate() * self.size * days
        self.log_m = sequential.run_on(np.array(self.log_m), expected, 0.0).tolist()
        self.expected += expected / UNUSUAL
        keep = 0.5 ** (days / MEMORY_DAYS)
        self.seen, self.device_days = self.seen * keep, (self.device_days + self.size * days) * keep
        if not any(self.log_m) or now_s - self.since_s > RUNS_OUT_S:
            self.start_over(now_s)

    def count(self, models: Mapping[str, int]) -> None:
        """Devices have fallen silent or out of use now, by model."""
        seen = sum(models.values())
        self.log_m = sequential.run_on(np.array(self.log_m), 0.0, seen).tolist()
        for model, devices in models.items():
            self.affected[model] = self.affected.get(model, 0) + devices

    def start_over(self, now_s: float) -> None:
        """Begin a new run; of the one before, what was usual is remembered as usual life."""
        self.seen += min(self.signs, 1.0 + UNUSUAL * self.expected)
        self.since_s, self.expected, self.affected = now_s, 0.0, {}
        self.log_m = [0.0] * len(RATIOS)

    def _rate(self) -> float:
        return (self.seen + 1.0) / (self.device_days + USUAL_DAYS)

    def is_suspected(self, share: float, smallest: int) -> bool:
        """Whether more devices are affected than a coincidence explains."""
        least = max(SUSPICIOUS, max(smallest, share * self.size) / 4, UNUSUAL * self.expected)
        return self.size >= smallest and self.signs >= least

    def judge(self, name: str, share: float, smallest: int) -> Dip | None:
        """The dip that there is, if there is one."""
        log_e = sequential.mixed(np.array(self.log_m))
        is_many = self.signs >= max(smallest, share * self.size)
        if not is_many or log_e < np.log(FALSE_ONCE_IN) or not self._is_spread(name, share, smallest):
            return None
        return Dip(name, self.since_s, log_e, self.signs, self.size, self.expected, dict(self.affected))

    def _is_spread(self, name: str, share: float, smallest: int) -> bool:
        """Whether more than one model is affected, where there is more than one: else it is that model's matter."""
        large = [model for model, devices in self.devices.items() if devices >= smallest]
        if name.startswith("model:") or len(large) < 2:  # noqa: PLR2004 - a model and another
            return True
        return sum(self.affected.get(model, 0) >= share / 2 * self.devices[model] for model in large) > 1


def is_of_one_region(scopes: Mapping[str, Scope], share: float, smallest: int) -> bool:
    """Whether what befell the whole fleet befell one region of several, which dips by itself: then it is its own."""
    whole = scopes["*"]
    regions = {name: scope for name, scope in scopes.items() if name.startswith("region:")}
    hit = [name for name, scope in regions.items() if _is_hit(scope.signs, scope.size, share)]
    if len(hit) != 1 or regions[hit[0]].judge(hit[0], share, smallest) is None:
        return False
    # Who is in no region, or in one of the others, is well.
    signs, size = whole.signs - regions[hit[0]].signs, whole.size - regions[hit[0]].size
    return size >= smallest and not _is_hit(signs, size, share)


def _is_hit(signs: int, size: int, share: float) -> bool:
    return signs > 0 and signs >= share / 2 * size
