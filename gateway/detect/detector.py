"""What a detector is: explicit, named, versioned state per series, and a pure step over many series at once.

To add one, write a class with the members of `SeriesDetector` and register it as an entry point of the group
``careloop.detectors``; watches name it by the entry point's name.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from devices.errors import ConfigError, Fault
from devices.installed import registered
from devices.profiles.model import Metric, Watch, parse_span_s
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.model import AlarmEvent, Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Numeric, Rows, Table


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a watch may give to its detector; NaN as default means that it may be left out."""

    name: str
    default: float = float("nan")
    minimum: float = float("-inf")
    maximum: float = float("inf")
    span: bool = False  # a span of time: seconds, or words such as "10m"


class Parameters:
    """The parameters of every watch of a detector, looked up for many series at once."""

    def __init__(self) -> None:
        self._values: dict[str, Floats] = {}
        self._same: dict[str, float] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, values: Mapping[str, float]) -> None:
        """Add a watch."""
        self._count += 1
        for name, value in values.items():
            column = np.append(self._values.get(name, np.empty(0)), value)
            self._values[name] = column
            self._same.pop(name, None)
            if np.all(column == column[0]) or np.isnan(column).all():
                self._same[name] = float(column[0])

    def matrix(self, names: Sequence[str]) -> Floats:
        """These parameters of every watch, [watches, names]."""
        return np.ascontiguousarray(np.column_stack([self._values[name] for name in names]))

    def of(self, name: str, watch: Indices) -> Floats | float:
        """A parameter for each series, or one number where all watches agree."""
        same = self._same.get(name)
        return self._values[name].take(watch) if same is None else same


@dataclass(frozen=True, slots=True)
class Peers:
    """The series that the devices of n series have at the same detector, themselves among them."""

    slots: Indices  # [n, parts]; negative for none
    codes: Indices  # [parts], `code_of` their metrics
    table: Table

    def some(self, chosen: Indices) -> "Peers":
        """Those of some of the series."""
        return Peers(self.slots[chosen], self.codes, self.table)

    def find(self, chosen: Indices, code: Floats) -> Indices:
        """The slot of the metric with this code, for some of the series; -1 for none."""
        if not len(self.codes):
            return np.full(len(chosen), -1, np.int64)
        slots = self.slots[chosen]
        there = (self.codes[None, :] == code[:, None]) & (slots >= 0)
        first = there.argmax(axis=1)
        return np.where(there.any(axis=1), slots[np.arange(len(chosen)), first], -1)

    def rows(self, slots: Indices) -> Rows:
        """The state of series, to be read only."""
        return self.table.rows(slots)


@dataclass(frozen=True, slots=True)
class Batch:
    """One sample for each of n distinct series."""

    ts_s: Floats  # [n], device time
    value: Floats  # [n], finite
    late: Mask  # [n], older than a sample of the series that was judged before
    firing: Mask  # [n], the series' alarm is up: learn slowly, or the fault becomes the norm
    watch: Indices  # [n], for `parameter`
    parameters: Parameters
    peers: Peers | None = None  # for a detector that looks at the device's other series

    def parameter(self, name: str) -> Floats | float:
        """A parameter of each sample's watch: [n], or one number where all watches agree."""
        return self.parameters.of(name, self.watch)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a detector makes of a batch, [n] each; between breach and calm an alarm stays as it is."""

    breach: Mask  # the trouble is there
    calm: Mask  # the trouble is gone; never together with breach
    score: Floats  # 0 to 1, one scale for all series
    judged: Mask | None = None  # False: no opinion on this sample; None: an opinion on all that are not late
    began_s: Floats | None = None  # device time at which the trouble began, where it is not the breaching sample's
    dismissed: Mask | None = None  # series that the detector will never say anything of, and need not be shown again


@dataclass(frozen=True, slots=True)
class Moment:
    """One decision, to be explained."""

    metric: str
    unit: str  # UCUM
    event: AlarmEvent
    began_s: float
    ts_s: float
    value: float  # of the sample that decided
    parameters: Mapping[str, float]
    evidence: tuple[tuple[float, float], ...]  # recent samples, where the detector asked for them
    beside: str = ""  # the companion metric, where the detector compares with one


@dataclass(frozen=True, slots=True)
class Parts:
    """All series of some devices, as they are after the readings that are judged."""

    rows: Rows  # [k] series
    owner: Indices  # [k], into the devices
    codes: Indices  # [k], `code_of` their metrics


@dataclass(frozen=True, slots=True)
class Part:
    """One series of a device that is explained."""

    metric: str
    unit: str  # UCUM
    state: Rows


@dataclass(frozen=True, slots=True)
class Words:
    """An explanation for people."""

    text: str
    expected: str
    observed: str
    window_s: float
    evidence: tuple[tuple[float, float], ...] = field(default=())


class Detector(Protocol):
    """What every detector says of itself."""

    name: str
    version: int  # state of another version is not restored, but for what `migrate` makes of it
    kind: Kind
    fields: Sequence[Field]
    parameters: Sequence[Parameter]

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """Parameters that follow from the metric or the settings where a watch does not give them."""
        ...

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """What is wrong with parameters that are right one by one, in words; None if nothing is."""
        ...


@runtime_checkable
class SeriesDetector(Detector, Protocol):
    """Judges the samples of one metric of one device."""

    evidence_points: int  # how many recent samples to keep for explanations

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Judge one sample for each of many series, and bring their state up to date."""
        ...

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Put one decision into words; `state` is the one series, after the sample that decided."""
        ...


@runtime_checkable
class PairingDetector(SeriesDetector, Protocol):
    """Judges a series with the device's other series at hand; those are judged one after the other, by name."""

    companion: str  # the field, and the parameter, with the code of the metric that a series is compared with


@runtime_checkable
class LookingAroundDetector(SeriesDetector, Protocol):
    """Judges a series with the device's other series at hand as well, and keeps no companion."""

    looks_around: bool


@runtime_checkable
class EventDetector(LookingAroundDetector, Protocol):
    """Judges the events of a code too: as samples that are 1, and 0 at readings, for the time that has passed.

    How many came it keeps in the field `seen`; before the first, it is shown the device's first sign of life alone.
    """

    counts_events: bool


@runtime_checkable
class CombiningDetector(SeriesDetector, Protocol):
    """Judges series, and with a watch that has no metric a device by all of its series that have such watches."""

    fewest_parts: int
    """Without so many of them there is nothing to be learnt of a device, and nothing is kept of it."""

    def combine(self, state: Rows, parts: Parts, batch: Batch) -> Findings:
        """Judge devices, each once, after the series of a reading; the batch's values are NaN.

        What it makes of the parts must not depend on their order.
        """
        ...

    def explain_device(self, state: Rows, moment: Moment, parts: Sequence[Part]) -> Words:
        """Put one decision on a device into words."""
        ...


@runtime_checkable
class TwofoldDetector(Detector, Protocol):
    """Tells of two sorts of trouble: its `kind`, and another one."""

    def kind_of(self, state: Rows) -> Kind:
        """Of which sort the alarm of one series is, from when it is raised until it has been cleared."""
        ...


@runtime_checkable
class MigratingDetector(Detector, Protocol):
    """Goes on from the state of an earlier version; without it, only alarms outlive a new version."""

    def migrate(self, version: int, saved: Mapping[str, Numeric]) -> Mapping[str, Numeric] | None:
        """Fields of this version, by name, made of those of an earlier one: [n] or [n, lanes]; None to begin anew.

        What is left out begins anew. Whether an alarm is up is kept in any case.
        """
        ...


@runtime_checkable
class DeadlineDetector(Detector, Protocol):
    """Expects a sign of life of a device before a deadline, in healthy time."""

    def heard(self, state: Rows, alive_s: Floats, watch: Indices, parameters: Parameters) -> Floats:
        """Note a sign of life of each device; gives the next deadline, inf for none."""
        ...

    def soonest_s(self, parameters: Mapping[str, float]) -> float:
        """No deadline of a watch with these parameters is nearer to its sign of life than this."""
        ...

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Put one decision into words; `began_s` is the last sign of life, `ts_s` the present."""
        ...


def code_of(metric: str) -> int:
    """A number that stands for a metric's name in a series' state; never 0."""
    return (zlib.crc32(metric.encode()) & 0x7FFFFFFF) or 1


def load_detectors() -> dict[str, Detector]:
    """Every installed detector, by the name that watches call it."""
    detectors: dict[str, Detector] = {}
    for entry in registered("careloop.detectors"):
        make: object = entry.load()
        detector: object = make() if callable(make) else make
        if not isinstance(detector, SeriesDetector | DeadlineDetector):
            raise ConfigError([Fault(f"careloop.detectors: {entry.name}", entry.value, "a class that is a detector")])
        detectors[entry.name] = detector
    return detectors


def resolve_parameters(
    detector: Detector, watch: Watch, metric: Metric | None, settings: DetectSettings, where: str
) -> dict[str, float]:
    """The parameters of a watch as numbers, defaults filled in. Raises ConfigError with every fault at once."""
    known = {parameter.name: parameter for parameter in detector.parameters}
    values = {name: parameter.default for name, parameter in known.items()}
    values.update(detector.defaults(metric, settings))
    faults: list[Fault] = []
    for name, given in watch.parameters.items():
        setting = f"{where}: watch {watch.name}: parameters.{name}"
        if name not in known:
            faults.append(Fault(setting, repr(given), f"one of {', '.join(sorted(known)) or 'none'}"))
            continue
        number = _number(given, known[name])
        if number is None:
            faults.append(Fault(setting, repr(given), _allowed(known[name])))
        else:
            values[name] = number
    if not faults and (wrong := detector.check(values)) is not None:
        faults.append(Fault(f"{where}: watch {watch.name}", "its parameters", wrong))
    if faults:
        raise ConfigError(faults)
    return values


def _number(given: float | str | bool, parameter: Parameter) -> float | None:
    try:
        value = float(parse_span_s(given)) if parameter.span else float(given)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return None
    return value if parameter.minimum <= value <= parameter.maximum else None


def _allowed(parameter: Parameter) -> str:
    bounds = [
        *([f"at least {parameter.minimum:g}"] if np.isfinite(parameter.minimum) else []),
        *([f"at most {parameter.maximum:g}"] if np.isfinite(parameter.maximum) else []),
    ]
    what = "a span of time such as 10m" if parameter.span else "a number"
    return " ".join([what, *([" and ".join(bounds)] if bounds else [])])
