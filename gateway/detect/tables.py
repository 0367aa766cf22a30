"""Tables as people have them: which column is the time, which the device, which are measured; and their rows."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from devices.errors import CareloopError
from gateway.detect.instants import BadTime, Instants
from gateway.detect.lines import BadLine, Line

Numbered = Sequence[tuple[int, bytes]]
"""Lines with their numbers, without their ends."""

SEPARATORS: Final = ",;\t|"
CYCLES: Final = ("cycle", "cycles", "cycle_number", "time_cycle", "time_cycles", "time_in_cycles")
TIMES: Final = (
    *("timestamp", "time_stamp", "datetime", "date_time", "time", "ts", "date"),
    *("zeitstempel", "zeit", "datum", "epoch", "unix", *CYCLES),
)
DEVICES: Final = (
    *("device", "device_id", "deviceid", "machine", "machine_id", "machineid"),
    *("unit", "unit_id", "unit_number", "unitnumber", "unit_nr", "unit_no", "asset", "asset_id", "serial"),
    *("engine", "engine_id", "engine_number", "engine_nr", "engine_no"),
)
COUNTED: Final = "id"
"""What a table whose time is a number of cycles calls its machines, too; elsewhere it may count rows."""
SINGLE: Final = ("timestamp", "value")
"""A table with these two is one series, whatever else it holds."""
LABELS: Final = frozenset(
    (
        *("anomaly", "is_anomaly", "anomaly_score", "label", "labels", "changepoint", "change_point", "ground_truth"),
        *("outlier", "is_outlier", "attack", "target", "class", "fault", "is_fault", "rul"),
    )
)
"""Answers, not measurements: a detector must not see them."""
ABSENT: Final = frozenset({"", "nan", "null", "none", "na", "n/a", "#n/a", "-", "nil"})
_TRUTHS: Final = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA: Final = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says of a table; what is left open shows."""

    name: str  # of the table, and of the device where no column names it
    time: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Where in a row things are."""

    width: int
    time: int
    device: int | None
    metrics: tuple[tuple[int, str], ...]

    @property
    def is_single(self) -> bool:
        """Whether it is a plain series, with `timestamp` and `value`."""
        return self.device is None and [name for _, name in self.metrics] == ["value"]


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: what was read of it, its cells as they came, and what could not be read."""

    cells: Sequence[str]
    line: Line | None  # None: not even its time
    fault: BadLine | None = None


class Table:
    """A table whose first line names its columns; rows are read one after the other."""

    def __init__(self, asked: Asked, instants: Instants) -> None:
        self._asked = asked
        self._instants = instants
        self._separator = ","
        self._texts: dict[int, bool] = {}  # by column: whether it holds text, once that shows
        self._notes: list[str] = []
        self.header: Sequence[str] = ()
        self.columns: Columns | None = None

    def take_notes(self) -> list[str]:
        """What was decided and is to be said, once."""
        notes, self._notes = [*self._notes, *self._instants.take_notes()], []
        return notes

    @property
    def separator(self) -> str:
        """What stands between two cells."""
        return self._separator

    def rows(self, chunk: Numbered) -> Iterator[TableRow]:
        """Each row, in order. Raises CareloopError where the columns cannot be told."""
        for number, raw in chunk:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r")
            if not text.strip() or (self.columns is None and text.startswith("#")):
                continue
            if self.columns is None:
                self._separator = max(SEPARATORS, key=text.count)
                cells = self._cells(text)
                if not self._is_headless(cells):
                    self.header = [cell.strip() for cell in cells]
                    self.columns = self._find_columns(number, text)
                    continue
                self.header, self.columns = SINGLE, Columns(2, 0, None, ((1, "value"),))
                self._notes.append("the first line names no columns: taken as timestamp and value")
            yield self._row(number, self._cells(text), self.columns)

    def _cells(self, text: str) -> list[str]:
        """The cells of a line; none where it is no line of a table, as in a file that is packed."""
        try:
            return next(csv.reader([text], delimiter=self._separator))
        except csv.Error:
            return []

    def _is_headless(self, cells: Sequence[str]) -> bool:
        """Whether the first line is a row already: a time and a number, and nothing that could be a name."""
        if len(cells) != len(SINGLE) or self._asked.time is not None:
            return False
        try:
            self._number(cells[1].strip())
            Instants().read(cells[0].strip())
        except (BadTime, BadLine):
            return False
        return True

    def _find_columns(self, number: int, text: str) -> Columns:
        names = [_plain(name) for name in self.header]
        if self._asked.time is None and self._asked.device is None and set(SINGLE) <= set(names):
            if whose := [self.header[at] for at, name in enumerate(names) if name in DEVICES]:
                self._notes.append(f"all rows are one series; `--device {whose[0]}` makes one of each {whose[0]!r}")
            return Columns(len(names), names.index("timestamp"), None, ((names.index("value"), "value"),))
        time = self._find(self._asked.time, TIMES, names)
        if time is None:
            raise CareloopError(
                "columns",
                f"line {number}: no column is called timestamp or time, which `--time` can name; not {text!r}",
            )
        devices = (*DEVICES, COUNTED) if names[time] in CYCLES else DEVICES
        device = self._find(self._asked.device, devices, names)
        metrics = [at for at, name in enumerate(names) if at not in {time, device} and name not in LABELS and name]
        if not metrics:
            raise CareloopError("columns", f"line {number}: no column besides the time {self.header[time]!r}: {text!r}")
        labels = [self.header[at] for at, name in enumerate(names) if name in LABELS and at not in {time, device}]
        whose = "" if device is None else f" of each {self.header[device]!r}"
        told = ", ".join(self.header[at] for at in metrics)
        self._notes.append(f"time is {self.header[time]!r}; judged{whose}: {told}")
        if labels:
            self._notes.append(f"labels, no measurements: {', '.join(labels)}")
        return Columns(len(names), time, device, tuple((at, self.header[at]) for at in metrics))

    def _find(self, asked: str | None, usual: Sequence[str], names: Sequence[str]) -> int | None:
        if asked is not None:
            called = [name.lower() for name in self.header]
            if asked.lower() not in called:
                raise CareloopError("columns", f"no column {asked!r}; there are {', '.join(self.header)}")
            return called.index(asked.lower())
        found = [names.index(name) for name in usual if name in names]
        return found[0] if found else None

    def _row(self, number: int, cells: Sequence[str], columns: Columns) -> TableRow:
        try:
            ts_s, device = self._whose(cells, columns)
        except (BadLine, BadTime) as error:
            return TableRow(cells, None, BadLine(f"line {number}: {error}"))
        metrics: dict[str, float] = {}
        faults: list[str] = []
        for at, name in columns.metrics:
            try:
                value = self._value(at, name, cells[at].strip() if at < len(cells) else "", columns)
            except BadLine as error:
                faults.append(str(error))
            else:
                if value is not None:
                    metrics[name] = value
        fault = BadLine(f"line {number}: {'; '.join(faults)}") if faults else None
        return TableRow(cells, Line(device, ts_s, metrics), fault)

    def _whose(self, cells: Sequence[str], columns: Columns) -> tuple[float, str]:
        """When and of which device a row is. Raises BadLine or BadTime."""
        least = 1 + max(columns.time, columns.device or 0, columns.metrics[0][0])
        if len(cells) < least or (len(cells) > columns.width and any(map(str.strip, cells[columns.width :]))):
            raise BadLine(f"{len(cells)} columns, where {columns.width} are needed")
        device = self._asked.name if columns.device is None else cells[columns.device].strip()
        if not device:
            raise BadLine("its device is empty")
        return self._instants.read(cells[columns.time].strip()), device

    def _value(self, at: int, name: str, text: str, columns: Columns) -> float | None:
        """A cell as a number; None where it is empty, or in a column of text. Raises BadLine."""
        if text.lower() in ABSENT or self._texts.get(at):
            return None
        try:
            value = self._number(text)
        except BadLine:
            if at in self._texts or len(columns.metrics) == 1:
                raise
            self._texts[at] = True
            self._notes.append(f"column {name!r} holds text, such as {text!r}, and is not judged")
            return None
        self._texts[at] = False
        return value

    def _number(self, text: str) -> float:
        if self._separator != "," and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        truth = _TRUTHS.get(text.lower())
        if truth is not None:
            return truth
        try:
            number = float(text) if "_" not in text else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadLine(f"value {text!r} is not a number")
        return number


def _plain(name: str) -> str:
    """A column's name as names are compared: `Unit Number` and `time (cycles)` are `unit_number` and `time_cycles`."""
    return re.sub(r"[\s()\-,]+", "_", name.lower()).strip("_") or name.lower()


def device_of(path: PurePath) -> str:
    """The device that a file is named after: what `boiler.csv.gz` holds is the boiler's."""
    while path.suffix.lower() in {".csv", ".gz", ".tsv", ".txt", ".ndjson", ".jsonl", ".json"}:
        path = path.with_suffix("")
    return path.name
