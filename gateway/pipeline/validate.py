"""Which decoded readings can be stored, judged a column at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.errors import QuarantineReason
from devices.profiles.model import Profile
from gateway.store.rows import Extra, Floats, Readings, ReadingTable
from gateway.store.times import datetime_of

MAX_METRICS = 512
"""Of one reading; more are no measurement but a mistake or an attack."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """The physical range of each metric of a table, float64[m]; infinite where the profile gives none."""

    minimum: Floats
    maximum: Floats
    apart: Mapping[str, tuple[float, float]]
    """Of the profile's metrics that have no column yet, and are kept in `extra`: those with a range."""

    @classmethod
    def of(cls, table: ReadingTable, profile: Profile) -> "Ranges":
        """The ranges that a profile gives."""
        known = [profile.metrics.get(name) for name in table.metrics]
        low = [-np.inf if metric is None or metric.minimum is None else metric.minimum for metric in known]
        high = [np.inf if metric is None or metric.maximum is None else metric.maximum for metric in known]
        apart = {
            name: (
                -np.inf if metric.minimum is None else metric.minimum,
                np.inf if metric.maximum is None else metric.maximum,
            )
            for name, metric in profile.metrics.items()
            if name not in table.metrics and not (metric.minimum is None and metric.maximum is None)
        }
        return cls(np.array(low, np.float64), np.array(high, np.float64), apart)

    def outside_apart(self, extra: Extra) -> str | None:
        """The first metric without a column whose value lies outside its range; None where there is none."""
        for name, (low, high) in self.apart.items():
            if name in extra and not low <= extra[name] <= high:
                return name
        return None


class Fault(NamedTuple):
    """Why the reading at a position cannot be stored."""

    position: int
    reason: QuarantineReason
    detail: str


def find_faults(readings: Readings, ranges: Ranges, latest_us: int) -> list[Fault]:
    """The readings that cannot be stored, each with the first reason that applies."""
    values, ts_us = readings.values, readings.ts_us
    with np.errstate(invalid="ignore"):
        outside = (values < ranges.minimum) | (values > ranges.maximum)
    infinite = np.isinf(values)
    future = ts_us > latest_us
    wrong: NDArray[np.bool_] = outside.any(axis=1) | infinite.any(axis=1) | future
    wide = [position for position, extra in readings.extra.items() if len(extra) > MAX_METRICS]
    wrong[wide] = True
    apart: dict[int, str] = {}
    if ranges.apart:
        found = [(position, ranges.outside_apart(extra)) for position, extra in readings.extra.items()]
        apart = {position: name for position, name in found if name is not None}
        wrong[list(apart)] = True

    faults: list[Fault] = []
    for position in np.flatnonzero(wrong).tolist():
        if future[position]:
            ahead_s = (int(ts_us[position]) - latest_us) / 1e6
            detail = f"ts {datetime_of(int(ts_us[position])).isoformat()} is {ahead_s:.0f} s beyond what is allowed"
            fault = Fault(position, QuarantineReason.FAR_FUTURE, detail)
        elif infinite[position].any():
            metric = readings.table.metrics[int(infinite[position].argmax())]
            fault = Fault(position, QuarantineReason.NOT_A_NUMBER, f"{metric} is infinite")
        elif outside[position].any():
            fault = Fault(position, QuarantineReason.OUT_OF_RANGE, _outside(readings, ranges, outside, position))
        elif position in apart:
            name = apart[position]
            detail = _said(name, readings.extra[position][name], *ranges.apart[name])
            fault = Fault(position, QuarantineReason.OUT_OF_RANGE, detail)
        else:
            fault = Fault(position, QuarantineReason.UNSTORABLE, f"more than {MAX_METRICS} metrics")
        faults.append(fault)
    return faults


def _outside(readings: Readings, ranges: Ranges, outside: NDArray[np.bool_], position: int) -> str:
    column = int(outside[position].argmax())
    value, low, high = (float(row[column]) for row in (readings.values[position], ranges.minimum, ranges.maximum))
    return _said(readings.table.metrics[column], value, low, high)


def _said(metric: str, value: float, low: float, high: float) -> str:
    return f"{metric} is {value!r}; physically it lies in [{low!r}, {high!r}]"
