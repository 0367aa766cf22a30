"""One batch: what its packets said, as the store and the detectors take it."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from devices.registry.model import FirmwareSeen
from gateway.pipeline.packets import Packets
from gateway.store.rows import EventRow, QuarantineRow, Readings


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded packets: what may be stored, and what was refused already.

    Readings, events and statuses share one count of arrival positions, their `row`.
    """

    packets: Packets
    readings: Sequence[Readings]  # by model, in the order of the models' names
    events: Sequence[EventRow]
    statuses: Sequence[EventRow]
    refused: Sequence[QuarantineRow]
    firmware: Sequence[FirmwareSeen]
    unprofiled: int = 0  # values of metrics that no profile knows

    def rows(self) -> list[int]:
        """The arrival position of everything that may be stored."""
        positions = [row for readings in self.readings for row in readings.row.tolist()]
        return sorted(positions + [event.row for event in (*self.events, *self.statuses)])

    def only(self, rows: AbstractSet[int]) -> "Batch":
        """The part of the batch with these arrival positions."""
        wanted = np.fromiter(rows, np.int32, len(rows))
        parts = [readings.take(np.isin(readings.row, wanted)) for readings in self.readings]
        return replace(
            self,
            readings=[part for part in parts if len(part)],
            events=[event for event in self.events if event.row in rows],
            statuses=[status for status in self.statuses if status.row in rows],
        )
