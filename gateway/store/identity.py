"""Which readings are new, and what to do with those whose identity, device and time, is already taken.

The same moment told again is a duplicate. Told with metrics that were absent, it completes the stored reading: devices
send one moment in several messages. Only two different values of one metric are a conflict, and cost the later one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.store.rows import Extra, Fate, Fill, Floats, Readings, ReadingTable, StoredReadings

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Taken:
    """Stored readings whose identity some readings of a batch bear.

    `positions` intp[k] of those readings; `values` float64[k, m] as stored, NaN where absent; `extra` by index into
    these k.
    """

    positions: Positions
    values: Floats
    extra: Mapping[int, Extra]


def all_new(readings: Readings) -> StoredReadings:
    """What a COPY that succeeded proves."""
    return StoredReadings(readings, np.zeros(len(readings), np.uint8), readings)


def classify(readings: Readings, taken: Taken) -> StoredReadings:
    """Say for each reading, in arrival order, what becomes of it."""
    fates = np.full(len(readings), Fate.NEW, np.uint8)
    groups, is_repeated = _same_identity(readings)
    index_of = np.full(len(readings), -1, np.intp)
    index_of[taken.positions] = np.arange(len(taken.positions))

    needs_look = is_repeated.copy()
    needs_look[[position for position in readings.extra if index_of[position] >= 0]] = True
    needs_look[taken.positions[list(taken.extra)]] = True
    simple = ~needs_look & (index_of >= 0)
    fates[simple] = _compare(readings.values[simple], taken.values[index_of[simple]])
    needs_look |= simple & (fates != Fate.DUPLICATE)

    ledger = _Ledger(readings, taken, index_of)
    for position in np.flatnonzero(needs_look).tolist():
        fates[position] = ledger.settle(position, int(groups[position]))
    return replace(ledger.result(np.flatnonzero(fates == Fate.NEW)), fates=fates)


def _same_identity(readings: Readings) -> tuple[Positions, NDArray[np.bool_]]:
    """A number per identity for each reading, and whether others of the batch bear the same."""
    order = np.lexsort((readings.ts_us, readings.device))
    device, ts_us = readings.device[order], readings.ts_us[order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (device[1:] != device[:-1]) | (ts_us[1:] != ts_us[:-1])
    number = np.cumsum(starts) - 1
    groups = np.empty(len(order), np.intp)
    groups[order] = number
    return groups, np.bincount(number)[groups] > 1


def _compare(values: Floats, stored: Floats) -> NDArray[np.uint8]:
    present, known = ~np.isnan(values), ~np.isnan(stored)
    fates = np.full(len(values), Fate.DUPLICATE, np.uint8)
    fates[(present & ~known).any(axis=1)] = Fate.FILL
    fates[(present & known & (values != stored)).any(axis=1)] = Fate.CONFLICT
    return fates


_UNKNOWN: Final = -1


@dataclass(slots=True)
class _Known:
    """The metrics of one identity as they stand while the batch is worked through."""

    metrics: Extra
    new_position: int  # of the reading that brought it, _UNKNOWN when it was stored before


class _Ledger:
    """Works through the readings that need a closer look, in arrival order."""

    def __init__(self, readings: Readings, taken: Taken, index_of: Positions) -> None:
        self._readings = readings
        self._taken = taken
        self._index_of = index_of
        self._known: dict[int, _Known] = {}
        self._completed: dict[int, Extra] = {}
        self._fills: list[Fill] = []
        self._conflicts: dict[int, str] = {}

    def settle(self, position: int, group: int) -> Fate:
        told = _metrics_of(self._readings.table, self._readings.values[position], self._readings.extra.get(position))
        known = self._known.get(group)
        if known is None:
            index = int(self._index_of[position])
            if index < 0:
                self._known[group] = _Known(told, position)
                return Fate.NEW
            stored = _metrics_of(self._readings.table, self._taken.values[index], self._taken.extra.get(index))
            known = self._known[group] = _Known(stored, _UNKNOWN)
        conflict = next((name for name in told if known.metrics.get(name, told[name]) != told[name]), None)
        if conflict is not None:
            detail = f"{conflict} is stored as {known.metrics[conflict]!r} for this time; told as {told[conflict]!r}"
            self._conflicts[position] = detail
            return Fate.CONFLICT
        added = {name: value for name, value in told.items() if name not in known.metrics}
        if not added:
            return Fate.DUPLICATE
        known.metrics = known.metrics | added
        self._add(position, known.new_position, added)
        return Fate.FILL

    def _add(self, position: int, new_position: int, added: Extra) -> None:
        readings = self._readings
        if new_position == _UNKNOWN:
            fill = Fill(readings.device_id(position), int(readings.ts_us[position]), int(readings.row[position]), added)
            self._fills.append(fill)
        else:
            self._completed.setdefault(new_position, {}).update(added)

    def result(self, new: Positions) -> StoredReadings:
        readings = self._readings
        if self._completed:
            readings = _complete(readings, self._completed)
        fates = np.empty(0, np.uint8)
        return StoredReadings(self._readings, fates, readings.take(new), self._fills, self._conflicts)


def _metrics_of(table: ReadingTable, values: Floats, extra: Extra | None) -> Extra:
    present = {name: value for name, value in zip(table.metrics, values.tolist(), strict=True) if value == value}  # noqa: PLR0124 - NaN
    return present if extra is None else extra | present


def _complete(readings: Readings, completed: Mapping[int, Extra]) -> Readings:
    values, extra = readings.values.copy(), dict(readings.extra)
    column_of = {name: column for column, name in enumerate(readings.table.metrics)}
    for position, added in completed.items():
        rest = dict(extra.get(position, {}))
        for name, value in added.items():
            if name in column_of:
                values[position, column_of[name]] = value
            else:
                rest[name] = value
        if rest:
            extra[position] = rest
    return replace(readings, values=values, extra=extra)


def merge_fills(fills: Sequence[Fill]) -> Iterator[Fill]:
    """One fill per stored reading, for a row can be updated only once in a statement."""
    merged: dict[tuple[str, int], Fill] = {}
    for fill in fills:
        key = (fill.device_id, fill.ts_us)
        earlier = merged.get(key)
        merged[key] = fill if earlier is None else replace(earlier, metrics=earlier.metrics | fill.metrics)
    yield from merged.values()
