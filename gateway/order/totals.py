"""Time and order of the whole fleet, in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OrderTotals:
    """Gaps, clocks and late readings over all devices."""

    missing: int = 0  # messages that never reached us
    devices_with_gaps: int = 0
    clocks_off: int = 0
    clockless: int = 0
    waiting: int = 0  # devices whose late readings are yet to be judged in their place
    rejudged: Mapping[str, int] = field(default_factory=dict[str, int])  # devices since the start, by outcome
