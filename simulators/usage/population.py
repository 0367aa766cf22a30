"""A population of devices of one seed, and the lines that they send."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from simulators.usage.faults import OF_ONE_METRIC, WHOLE, Fault, FaultKind, draw_fault
from simulators.usage.lives import Calendar, Flags, Floats, keep_house, live
from simulators.usage.products import Columns, band, change_one, freeze, machine
from simulators.usage.trackers import tracker
from simulators.usage.wearing import Presence, stand, wear

START_S: Final = 1_704_672_000  # Monday, 8 January 2024
MACHINES: Final = 0.25  # of a mixed population


@dataclass(frozen=True, slots=True)
class Plan:
    """What a population is made of; the same plan is always the same population."""

    seed: int
    devices: int = 60
    days: int = 90
    machines: float = MACHINES
    trackers: bool = False  # in place of plain bands
    one_metric: bool = False  # faults are of one metric each, in place of those of devices
    complete: bool = False  # what is worn tells of every hour, also of those in a drawer

    @property
    def calendar(self) -> Calendar:
        """The hours that it lives."""
        return Calendar(START_S, self.days)


@dataclass(frozen=True, slots=True)
class Device:
    """What one device sends."""

    name: str
    fault: Fault | None
    hours: Floats  # [lines], of the calendar
    arrives: Floats  # [lines]
    columns: Columns  # [lines] each


def make_population(plan: Plan) -> Sequence[Device]:
    """Draw every device by itself, so that one's luck does not change the next one's."""
    return [_make_device(plan, number) for number in range(plan.devices)]


def lines_of(devices: Sequence[Device], calendar: Calendar) -> Iterator[bytes]:
    """NDJSON in the order of arrival."""
    order = sorted(
        (float(arrives), float(hour), number, line)
        for number, device in enumerate(devices)
        for line, (arrives, hour) in enumerate(zip(device.arrives, device.hours, strict=True))
    )
    encode = msgspec.json.Encoder().encode
    tables = [{name: values.tolist() for name, values in device.columns.items()} for device in devices]
    for _, hour, number, line in order:
        metrics = {name: values[line] for name, values in tables[number].items() if values[line] == values[line]}
        ts = int(1000 * (calendar.start_s + 3600 * hour))
        yield encode({"device": devices[number].name, "ts": ts, "metrics": metrics}) + b"\n"


def _make_device(plan: Plan, number: int) -> Device:
    rng = np.random.default_rng([plan.seed, number])
    calendar = plan.calendar
    is_machine = rng.random() < plan.machines
    fault = draw_fault(calendar, rng, OF_ONE_METRIC if plan.one_metric else WHOLE)
    life = keep_house(calendar, rng, 6 * rng.lognormal(0, 1.0)) if is_machine else live(calendar, rng)
    presence = stand(life, rng) if is_machine else wear(life, rng, complete=plan.complete)
    reported = _reported(presence, fault, calendar, rng)
    make = machine if is_machine else tracker if plan.trackers else band
    columns = make(life, presence, calendar, fault, rng)
    columns = freeze(columns, fault, reported, rng)
    if plan.one_metric:
        columns, fault = change_one(columns, fault, calendar, rng)
    hours = np.flatnonzero(reported)
    return Device(
        name=f"{make.__name__}-{number:04d}",
        fault=fault,
        hours=hours.astype(np.float64),
        arrives=presence.arrives[hours],
        columns={name: values[hours] for name, values in columns.items()},
    )


def _reported(presence: Presence, fault: Fault | None, calendar: Calendar, rng: np.random.Generator) -> Flags:
    reported = presence.reported.copy()
    luck = rng.random(calendar.hours)
    if fault is None:
        return reported
    during = fault.weight(calendar) > 0
    if fault.kind is FaultKind.SILENCE:
        return reported & ~during
    if fault.kind is FaultKind.ABANDONED:  # it lies in a drawer, and says so when it is in reach
        return np.where(during, luck < fault.reports, reported)
    return reported
