"""What the CRM side has done since it started, and when it last got round to it."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class CrmStats:
    """Counters since the start; times are real seconds of the machine's monotonic clock."""

    notices: int = 0  # alarm notices worked
    parked: int = 0  # notices set aside, for they failed
    steps: int = 0  # held steps looked at when their hour had come
    deliveries: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])  # by endpoint, by result
    delivery_s: dict[str, float] = field(default_factory=dict[str, float])  # by endpoint, all requests together
    compared: dict[str, int] = field(default_factory=dict[str, int])  # by endpoint: cases of the last round
    drifts: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])  # by endpoint, by what it is
    hooks_missed: dict[str, float] = field(default_factory=dict[str, float])  # by endpoint: share of a day's changes
    failures: int = 0  # pieces of work that have to be tried again
    inbox_at_s: float = field(default_factory=time.monotonic)  # the last look at the inbox that ended well
    outbox_at_s: float = field(default_factory=time.monotonic)  # the same of the outbox

    def count_notices(self, done: int, parked: int) -> None:
        """Notices were worked."""
        self.notices += done
        self.parked += parked

    def count_delivery(self, endpoint: str, result: str, duration_s: float) -> None:
        """An attempt was settled."""
        results = self.deliveries.setdefault(endpoint, {})
        results[result] = results.get(result, 0) + 1
        self.delivery_s[endpoint] = self.delivery_s.get(endpoint, 0.0) + duration_s

    def look_at_inbox(self) -> None:
        """The inbox was looked at."""
        self.inbox_at_s = time.monotonic()

    def look_at_outbox(self) -> None:
        """The outbox was looked at."""
        self.outbox_at_s = time.monotonic()
