"""What a batch writes, as columns and rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.errors import QuarantineReason

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]

NO_SEQ: Final = -1
"""Stands for an absent sequence number; real ones are 0 or more."""

MIN_TS_US: Final = 0
MAX_TS_US: Final = 253_402_300_799_999_999
"""The first and the last device time that can be stored: 1970-01-01 and the last microsecond of 9999, UTC."""

Extra = dict[str, float]


def floats_of(metrics: Mapping[str, float]) -> Extra:
    """Metrics as jsonb gives them back: it writes a great float as an integer, which would not be equal to it."""
    return {name: float(value) for name, value in metrics.items()}


@dataclass(frozen=True, slots=True)
class ReadingTable:
    """The table of one product model, and which column holds which metric."""

    model: str
    name: str
    metrics: tuple[str, ...]
    columns: tuple[str, ...]  # of the same order


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one product model in arrival order, as columns of length n.

    `device` int32[n] indexes `device_ids`; `ts_us`, `received_us` int64[n] are microseconds since the epoch, and equal
    exactly where the device gave no time; `seq` int64[n], NO_SEQ where absent; `values` float64[n, m], a column per
    metric of the table, NaN where absent; `extra` holds the metrics that have no column, by position in this batch;
    `packet`, `element` int32[n] say where each came from; `row` int32[n] is the arrival position within the batch.
    """

    table: ReadingTable
    device_ids: tuple[str, ...]
    device: Ints
    ts_us: Longs
    received_us: Longs
    seq: Longs
    values: Floats
    extra: Mapping[int, Extra]
    packet: Ints
    element: Ints
    row: Ints

    def __len__(self) -> int:
        return len(self.ts_us)

    def device_id(self, position: int) -> str:
        """The device of one reading."""
        return self.device_ids[int(self.device[position])]

    def widened(self, table: ReadingTable) -> "Readings":
        """The same readings for their table with further columns."""
        values = np.full((len(self), len(table.metrics)), np.nan)
        column_of = {name: column for column, name in enumerate(table.metrics)}
        values[:, [column_of[name] for name in self.table.metrics]] = self.values
        extra: dict[int, Extra] = {}
        for position, told in self.extra.items():
            for name in told.keys() & column_of.keys():
                values[position, column_of[name]] = told[name]
            rest = {name: value for name, value in told.items() if name not in column_of}
            if rest:
                extra[position] = rest
        return replace(self, table=table, values=values, extra=extra)

    def take(self, wanted: NDArray[np.intp] | NDArray[np.bool_]) -> "Readings":
        """Some of the readings, by mask or position, in the order given."""
        positions: NDArray[np.intp] = np.flatnonzero(wanted) if wanted.dtype == np.bool_ else wanted.astype(np.intp)
        extra: Mapping[int, Extra] = {}
        if self.extra:
            old = positions.tolist()
            extra = {new: self.extra[was] for new, was in enumerate(old) if was in self.extra}
        return replace(
            self,
            device=self.device[positions],
            ts_us=self.ts_us[positions],
            received_us=self.received_us[positions],
            seq=self.seq[positions],
            values=self.values[positions],
            extra=extra,
            packet=self.packet[positions],
            element=self.element[positions],
            row=self.row[positions],
        )


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event, or a status (`code` online or offline); `data` is JSON text."""

    tenant_id: str
    device_id: str
    ts_us: int
    code: str
    seq: int | None
    data: str | None
    received_us: int
    packet: int
    element: int
    row: int


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """What could not be stored; `packet` is the packet that it came in."""

    tenant_id: str
    device_id: str
    topic: str
    codec: str
    route: int
    reason: QuarantineReason
    detail: str
    raw: bytes
    received_us: int
    packet: int
    retained: bool = False  # by a broker: nobody knows of when it is
    counted_from_us: int | None = None  # when its first reading without a time is, where that is settled
    is_replay: bool = False  # it came from quarantine, not from its device


class Fate(IntEnum):
    """What became of one reading."""

    NEW = 0
    DUPLICATE = 1
    FILL = 2  # it completed a stored reading
    CONFLICT = 3


@dataclass(frozen=True, slots=True)
class Fill:
    """What one reading added to a stored one: metric by metric, those that were absent."""

    device_id: str
    ts_us: int
    row: int
    metrics: Extra


@dataclass(frozen=True, slots=True)
class StoredReadings:
    """What storing the readings of one product model came to.

    `fates` uint8[n], a `Fate` for each reading; `new` are those stored as rows of their own, completed by later ones of
    the same batch; `fills` are what was added to rows of earlier batches; `conflicts` says for a position which metric
    differs, and how.
    """

    readings: Readings
    fates: NDArray[np.uint8]
    new: Readings
    fills: Sequence[Fill] = ()
    conflicts: Mapping[int, str] = field(default_factory=dict[int, str])
