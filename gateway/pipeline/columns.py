"""Gathers the readings of one product model into columns."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from math import nan
from operator import itemgetter

import numpy as np

from devices.payloads.columnar import ReadingColumns
from gateway.store.rows import Extra, Floats, Ints, Longs, Readings, ReadingTable


@dataclass(frozen=True, slots=True)
class Part:
    """Readings as columns of length n: `Readings` without their table; `firmware` by position, where it is told."""

    device: Ints
    ts_us: Longs  # devices.payloads.columnar.ABSENT where the device gave none
    received_us: Longs
    seq: Longs
    values: Floats
    packet: Ints
    element: Ints
    extra: Mapping[int, Extra]
    firmware: Mapping[int, str]

    @classmethod
    def of(cls, found: ReadingColumns, device: Ints, received_us: Longs, packet: Ints) -> "Part":
        """What a codec has decoded together; `device`, `received_us` and `packet` are those of its payloads."""
        return cls(
            device=device[found.payload],
            ts_us=found.ts_us,
            received_us=received_us[found.payload],
            seq=found.seq,
            values=found.values,
            packet=packet[found.payload],
            element=found.element,
            extra={},
            firmware=found.firmware,
        )


@dataclass(slots=True)
class Columns:
    """The readings of one product model in a batch, as they are decoded: one by one, or whole parts of them."""

    table: ReadingTable
    index_of: dict[str, int] = field(default_factory=dict[str, int])
    device: list[int] = field(default_factory=list[int])
    ts_us: list[int] = field(default_factory=list[int])
    received_us: list[int] = field(default_factory=list[int])
    seq: list[int] = field(default_factory=list[int])
    values: list[float] = field(default_factory=list[float])
    extra: dict[int, Extra] = field(default_factory=dict[int, Extra])
    firmware: dict[int, str] = field(default_factory=dict[int, str])
    packet: list[int] = field(default_factory=list[int])
    element: list[int] = field(default_factory=list[int])
    parts: list[Part] = field(default_factory=list[Part])
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

    def finish(self) -> tuple[Readings, Mapping[int, str]]:
        """The readings in the order of their arrival, which is their `row`; and the firmware told, by position."""
        parts = [part for part in (*self.parts, self._one_by_one()) if len(part.ts_us)] or [self._one_by_one()]
        part = parts[0] if len(parts) == 1 and _is_in_order(parts[0].packet) else _merge(parts)
        readings = Readings(
            table=self.table,
            device_ids=tuple(self.index_of),
            device=part.device,
            ts_us=part.ts_us,
            received_us=part.received_us,
            seq=part.seq,
            values=part.values,
            extra=part.extra,
            packet=part.packet,
            element=part.element,
            row=np.arange(len(part.ts_us), dtype=np.int32),
        )
        return readings, part.firmware

    def _one_by_one(self) -> Part:
        return Part(
            device=np.array(self.device, np.int32),
            ts_us=np.array(self.ts_us, np.int64),
            received_us=np.array(self.received_us, np.int64),
            seq=np.array(self.seq, np.int64),
            values=np.array(self.values, np.float64).reshape(len(self.ts_us), len(self.table.metrics)),
            packet=np.array(self.packet, np.int32),
            element=np.array(self.element, np.int32),
            extra=self.extra,
            firmware=self.firmware,
        )


def _is_in_order(packet: Ints) -> bool:
    return bool((packet[1:] >= packet[:-1]).all())


def _merge(parts: list[Part]) -> Part:
    """Parts as one, in the order of packets and of the readings in them."""
    packet = np.concatenate([part.packet for part in parts])
    element = np.concatenate([part.element for part in parts])
    order = np.lexsort((element, packet))
    new_position = np.empty(len(order), np.intp)
    new_position[order] = np.arange(len(order))
    starts = np.cumsum([0, *(len(part.ts_us) for part in parts)])

    def moved(start: int, positions: Iterable[int]) -> Iterable[int]:
        return (int(new_position[start + position]) for position in positions)

    extra: dict[int, Extra] = {}
    firmware: dict[int, str] = {}
    for start, part in zip(starts.tolist(), parts, strict=False):
        extra.update(zip(moved(start, part.extra), part.extra.values(), strict=True))
        firmware.update(zip(moved(start, part.firmware), part.firmware.values(), strict=True))
    return Part(
        device=np.concatenate([part.device for part in parts])[order],
        ts_us=np.concatenate([part.ts_us for part in parts])[order],
        received_us=np.concatenate([part.received_us for part in parts])[order],
        seq=np.concatenate([part.seq for part in parts])[order],
        values=np.concatenate([part.values for part in parts])[order],
        packet=packet[order],
        element=element[order],
        extra=dict(sorted(extra.items())),
        firmware=dict(sorted(firmware.items())),
    )
