"""The healthy clock: time during which a silent device could have been heard."""

from typing import Final

_NEVER: Final = float("-inf")


class HealthyClock:
    """Advances with the gateway's clock, but only while doors and database work.

    So an outage of ours is nobody's silence. After one it stands still for a grace, in which devices come back; a
    start counts as the end of an outage. `healthy_s` is what earlier runs have come to, in seconds.
    """

    def __init__(self, grace_s: float, healthy_s: float = 0.0) -> None:
        self._grace_s = grace_s
        self._healthy_s = healthy_s
        self._seen_s = _NEVER
        self._resumes_s: float | None = None

    @property
    def now_s(self) -> float:
        """Healthy seconds so far."""
        return self._healthy_s

    def advance(self, now_s: float, *, is_healthy: bool) -> float:
        """Move on to `now_s` of the gateway's clock; the healthy seconds so far.

        Where packets still wait, `now_s` is the receipt time of the oldest: who is in the queue is not silent.
        """
        if self._resumes_s is None or not is_healthy:
            self._resumes_s = now_s + self._grace_s
        start_s = max(self._seen_s, self._resumes_s)
        self._healthy_s += max(now_s - start_s, 0.0)
        self._seen_s = max(self._seen_s, now_s)
        return self._healthy_s
