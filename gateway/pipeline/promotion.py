"""Which metrics of the automatic profile deserve a column of their own."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.store.rows import ReadingTable

_OFTEN: Final = 1000
"""Readings with the metric, since the gateway started, before it gets a column."""
_MOST_COLUMNS: Final = 64
_MOST_NAMES: Final = 4096
"""Names that are counted; a device that invents names all the time must not fill the memory."""


class Promotion:
    """Counts the metrics that have no column."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def note(self, extra: Iterable[Mapping[str, float]]) -> None:
        """Count the metrics of readings."""
        for metrics in extra:
            self._seen.update(metrics.keys())
        if len(self._seen) > _MOST_NAMES:
            self._seen = Counter(dict(self._seen.most_common(_MOST_NAMES // 2)))

    def take(self, table: ReadingTable) -> list[str]:
        """The metrics that get a column now, most frequent first."""
        room = max(_MOST_COLUMNS - len(table.columns), 0)
        frequent = [name for name, count in self._seen.most_common(room) if count >= _OFTEN]
        chosen = [name for name in frequent if name not in table.metrics]
        for name in frequent:
            del self._seen[name]
        return chosen
