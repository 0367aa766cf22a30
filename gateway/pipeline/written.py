"""What became of a batch, and of each of its packets."""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gateway.detect.model import AlarmChange
from gateway.intake import Alike, Route, Verdict
from gateway.order.keeper import Aside
from gateway.pipeline.batch import Batch
from gateway.store.rows import EventRow, Fate, QuarantineRow, StoredReadings


@dataclass(frozen=True, slots=True)
class Written:
    """A batch that has been written; once its transaction has committed, this is what happened."""

    batch: Batch
    readings: Sequence[StoredReadings]
    new_rows: AbstractSet[int]  # arrival positions of events and statuses that are new
    refused: Sequence[QuarantineRow]  # of the batch, and the conflicts
    changes: Sequence[AlarmChange]
    aside: Aside | None = None  # messages that were stored as no rows of their own, for the counting of numbers

    def _fates(self, fate: Fate) -> int:
        return sum(int((stored.fates == fate).sum()) for stored in self.readings)

    @property
    def stored(self) -> int:
        """Readings stored as rows of their own."""
        return sum(len(stored.new) for stored in self.readings)

    @property
    def duplicates(self) -> int:
        """Readings, events and statuses that were known already."""
        told = len(self.batch.events) + len(self.batch.statuses)
        return self._fates(Fate.DUPLICATE) + told - len(self.new_rows)

    @property
    def filled(self) -> int:
        """Readings that completed another one."""
        return self._fates(Fate.FILL)

    @property
    def conflicts(self) -> int:
        """Readings that contradict a stored one."""
        return self._fates(Fate.CONFLICT)

    @property
    def told(self) -> int:
        """Readings told, whatever became of them; a payload that cannot be read counts as one."""
        refused = sum(row.route == Route.TELEMETRY for row in self.batch.refused)
        return refused + sum(len(stored.fates) for stored in self.readings)

    @property
    def new_events(self) -> int:
        """Events and statuses that are new."""
        return len(self.new_rows)

    def told_events(self) -> Sequence[EventRow]:
        """The new events and statuses in the order of their arrival."""
        return told_events(self.batch, self.new_rows)


def told_events(batch: Batch, new_rows: AbstractSet[int]) -> Sequence[EventRow]:
    """Those events and statuses of a batch that are new, in the order of their arrival."""
    told = chain(batch.events, batch.statuses)
    return sorted((row for row in told if row.row in new_rows), key=lambda row: row.row)


def counters_of(written: Written) -> Counter[str]:
    """What a batch adds to the persistent totals."""
    totals = Counter(
        packets=len(written.batch.packets),
        stored=written.stored,
        duplicates=written.duplicates,
        filled=written.filled,
        conflicts=written.conflicts,
        quarantined=len(written.refused),
        unprofiled=written.batch.unprofiled,
        events=written.new_events,
    )
    totals.update(f"quarantined_{row.reason}" for row in written.refused)
    return totals


def device_counters_of(written: Written) -> Counter[tuple[str, str]]:
    """What is out of the ordinary, by device and name."""
    totals = Counter((row.device_id, "quarantined") for row in written.refused if row.device_id)
    for stored in written.readings:
        readings = stored.readings
        for fate, name in ((Fate.DUPLICATE, "duplicates"), (Fate.FILL, "filled"), (Fate.CONFLICT, "conflicts")):
            counts = np.bincount(readings.device[stored.fates == fate], minlength=len(readings.device_ids))
            for device in np.flatnonzero(counts).tolist():
                totals[readings.device_ids[device], name] += int(counts[device])
    return totals


def verdicts_of(written: Written) -> Sequence[Verdict]:
    """What became of each packet, in their order."""
    count = len(written.batch.packets)
    totals = np.zeros((count, 3), np.int64)
    for stored in written.readings:
        for column, fate in enumerate((Fate.NEW, Fate.FILL, Fate.DUPLICATE)):
            totals[:, column] += np.bincount(stored.readings.packet[stored.fates == fate], minlength=count)
    for row in chain(written.batch.events, written.batch.statuses):
        totals[row.packet, 0 if row.row in written.new_rows else 2] += 1
    if count and not written.refused and (totals == totals[0]).all():
        # Nearly every batch: one new reading in each packet. A verdict cannot change, so that one serves them all.
        new, filled, again = totals[0].tolist()
        return Alike(Verdict(stored=new, filled=filled, duplicates=again), count)
    refused: dict[int, list[QuarantineRow]] = {}
    for row in written.refused:
        refused.setdefault(row.packet, []).append(row)
    known: dict[tuple[int, int, int], Verdict] = {}
    verdicts: list[Verdict] = []
    counts: list[tuple[int, int, int]] = [(new, filled, again) for new, filled, again in totals.tolist()]
    for packet, key in enumerate(counts):
        verdict = known.get(key)
        if verdict is None:
            verdict = known[key] = Verdict(stored=key[0], filled=key[1], duplicates=key[2])
        bad = refused.get(packet)
        if bad is not None:
            verdict = Verdict(*key, quarantined=len(bad), reason=bad[0].reason, detail=bad[0].detail)
        verdicts.append(verdict)
    return verdicts
