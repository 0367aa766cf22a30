"""What was stored as the detectors take it: new readings whole, completed ones with what they added; and events."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Profile
from gateway.detect.model import Events, Samples
from gateway.pipeline.told import ACKNOWLEDGEMENT, OFFLINE, ONLINE
from gateway.store.rows import EventRow, Fill, Floats, Ints, Readings

NO_EVENTS: Final = frozenset({ONLINE, OFFLINE, ACKNOWLEDGEMENT})
"""Codes under which births, wills and answers to commands are kept."""


def samples_of(profile: Profile, new: Readings, fills: Sequence[Fill], alive_s: float) -> Samples | None:
    """New readings and fills of one product model in arrival order; None where there are neither."""
    count = len(new) + len(fills)
    if not count:
        return None
    index_of = {device_id: index for index, device_id in enumerate(new.device_ids)}
    filled = [index_of.setdefault(fill.device_id, len(index_of)) for fill in fills]
    metrics = _metrics(profile, new, fills)
    values = np.full((count, len(metrics)), np.nan)
    _put_new(values[: len(new)], metrics, new)
    column_of = {name: column for column, name in enumerate(metrics)}
    for row, fill in enumerate(fills, len(new)):
        for name, value in fill.metrics.items():
            if name in column_of:
                values[row, column_of[name]] = value
    device = np.concatenate([new.device, np.array(filled, np.int32)])
    ts_s = np.concatenate([new.ts_us, np.array([fill.ts_us for fill in fills], np.int64)]) / 1e6
    row = np.concatenate([new.row, np.array([fill.row for fill in fills], np.int32)]).astype(np.int64)
    if fills:
        order = np.argsort(row, kind="stable")
        device, ts_s, values, row = device[order], ts_s[order], values[order], row[order]
    device_ids, device = _by_appearance(tuple(index_of), device)
    return Samples(
        profile=profile,
        device_ids=device_ids,
        device=device,
        ts_s=ts_s,
        alive_s=alive_s,
        metrics=metrics,
        values=values,
        row=row,
    )


def events_of(told: Iterable[EventRow], profile_of: Callable[[str], Profile | None]) -> Events | None:
    """Events in arrival order; None where there are none. `profile_of` gives None for a device that nobody knows."""
    rows = [event for event in told if event.code not in NO_EVENTS]
    if not rows:
        return None
    number_of = {device_id: number for number, device_id in enumerate(dict.fromkeys(row.device_id for row in rows))}
    code_of = {code: number for number, code in enumerate(sorted({event.code for event in rows}))}
    return Events(
        device_ids=tuple(number_of),
        profiles=tuple(map(profile_of, number_of)),
        device=np.array([number_of[event.device_id] for event in rows], np.int32),
        ts_s=np.array([event.ts_us for event in rows], np.int64) / 1e6,
        codes=tuple(code_of),
        code=np.array([code_of[event.code] for event in rows], np.int32),
        row=np.array([event.row for event in rows], np.int64),
    )


def _by_appearance(device_ids: tuple[str, ...], device: Ints) -> tuple[tuple[str, ...], Ints]:
    """The devices that occur, in the order in which they do: the same whether a batch is judged live or replayed."""
    first = np.full(len(device_ids), len(device))
    first[device[::-1]] = np.arange(len(device))[::-1]
    order = np.argsort(first, kind="stable")[: int((first < len(device)).sum())]
    number = np.empty(len(device_ids), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    indices: list[int] = order.tolist()
    return tuple([device_ids[index] for index in indices]), number[device]


def _metrics(profile: Profile, new: Readings, fills: Sequence[Fill]) -> tuple[str, ...]:
    """The profile's metrics; for the automatic profile those that occur, whether they have a column or not."""
    if not profile.automatic:
        return new.table.metrics
    occurs = [bool(np.any(~np.isnan(column))) for column in new.values.T]
    names = {name for name, is_told in zip(new.table.metrics, occurs, strict=True) if is_told}
    names.update(*new.extra.values(), *(fill.metrics for fill in fills))
    return tuple(sorted(names))


def _put_new(values: Floats, metrics: tuple[str, ...], new: Readings) -> None:
    if metrics == new.table.metrics:
        values[:] = new.values
        return
    column_of = {name: column for column, name in enumerate(metrics)}
    for column, name in enumerate(new.table.metrics):
        if name in column_of:
            values[:, column_of[name]] = new.values[:, column]
    for row, extra in new.extra.items():
        for name, value in extra.items():
            values[row, column_of[name]] = value
