"""A batch judged while the database still stores it."""

from collections.abc import Sequence

from gateway.detect.model import AlarmChange
from gateway.pipeline.judge import Judge
from gateway.store.readings import has_duplicates
from gateway.store.rows import EventRow, StoredReadings


class Trial:
    """Judges a batch once, and early: on the presumption that all its readings are new, which nearly always holds.

    Where it does not, the turn of the detectors is undone, and they judge what is new indeed.
    """

    def __init__(self, judge: Judge, events: Sequence[EventRow], alive_s: float) -> None:
        self._judge = judge
        self._events = events
        self._alive_s = alive_s
        self._presumed: Sequence[AlarmChange] | None = None

    def presume(self, stored: Sequence[StoredReadings]) -> None:
        """Judge what is being stored, unless that was done; its last part may turn out to be stored already."""
        if self._presumed is None:
            self._presumed = self._judged(stored)

    def findings(self, stored: Sequence[StoredReadings]) -> Sequence[AlarmChange]:
        """What the detectors say of what was stored."""
        if self._presumed is not None and not has_duplicates(stored[-1]):
            return self._presumed
        return self._judged(stored)

    def _judged(self, stored: Sequence[StoredReadings]) -> Sequence[AlarmChange]:
        return self._judge.judge([(part.new, part.fills) for part in stored], self._events, self._alive_s)
