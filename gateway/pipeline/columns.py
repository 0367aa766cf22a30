"""Gathers the readings of one product model into columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from math import nan
from operator import itemgetter

import numpy as np

from gateway.store.rows import Extra, Readings, ReadingTable


@dataclass(slots=True)
class Columns:
    """The readings of one product model in a batch, as they are decoded."""

    table: ReadingTable
    index_of: dict[str, int] = field(default_factory=dict[str, int])
    device: list[int] = field(default_factory=list[int])
    ts_us: list[int] = field(default_factory=list[int])
    received_us: list[int] = field(default_factory=list[int])
    seq: list[int] = field(default_factory=list[int])
    values: list[float] = field(default_factory=list[float])
    extra: dict[int, Extra] = field(default_factory=dict[int, Extra])
    packet: list[int] = field(default_factory=list[int])
    element: list[int] = field(default_factory=list[int])
    row: list[int] = field(default_factory=list[int])
    all_values: Callable[[Mapping[str, float]], tuple[float, ...]] = field(init=False)

    def __post_init__(self) -> None:
        names = self.table.metrics
        self.all_values = (
            itemgetter(*names) if len(names) > 1 else lambda metrics: tuple(metrics[name] for name in names)
        )

    def put_values(self, metrics: Mapping[str, float]) -> None:
        """Append the metrics of one reading: those of the table as a row of values, the others as extra."""
        names = self.table.metrics
        if len(metrics) == len(names):
            try:
                self.values += self.all_values(metrics)
            except KeyError:
                pass
            else:
                return
        self.values += map(metrics.get, names, repeat(nan))
        known = frozenset(names)
        extra = {name: value for name, value in metrics.items() if name not in known}
        if extra:
            self.extra[len(self.ts_us)] = extra

    def finish(self) -> Readings:
        """The columns as arrays."""
        count = len(self.ts_us)
        return Readings(
            table=self.table,
            device_ids=tuple(self.index_of),
            device=np.array(self.device, np.int32),
            ts_us=np.array(self.ts_us, np.int64),
            received_us=np.array(self.received_us, np.int64),
            seq=np.array(self.seq, np.int64),
            values=np.array(self.values, np.float64).reshape(count, len(self.table.metrics)),
            extra=self.extra,
            packet=np.array(self.packet, np.int32),
            element=np.array(self.element, np.int32),
            row=np.array(self.row, np.int32),
        )
