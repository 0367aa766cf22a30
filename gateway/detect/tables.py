"""Tables as people have them: which column is the time, which the device, which are measured; and their rows."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from devices.errors import CareloopError
from gateway.detect.called import (
    CLOCKS,
    COUNTED,
    CYCLES,
    DAYS,
    DEVICES,
    LABELS,
    NAMES,
    PROCESSOR,
    SINGLE,
    TIME_WORDS,
    TIMES,
    VALUES,
    WHOLE,
)
from gateway.detect.figures import is_number, read_number, split_unit
from gateway.detect.instants import BadTime, Instants
from gateway.detect.lines import BadLine, Line

Numbered = Sequence[tuple[int, bytes]]
"""Lines with their numbers, without their ends."""

SEPARATORS: Final = ",;\t|"
ABSENT: Final = frozenset({"", "nan", "null", "none", "na", "n/a", "#n/a", "-", "nil"})
OF_A_YEAR: Final = 3  # digits of a day that is one of a week, a month or a year
HOURS: Final = 24  # a time of day that is a number up to this is an hour
HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
EPOCH_S: Final = 9e8  # a time of day that is a number from here on says its day, too
_SAYS_SEPARATOR: Final = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # the first line of what Excel is to open
_PACKED: Final = "PK\x03\x04"


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
    clock: int | None = None  # the time of day, where the column of the time holds the day alone
    named: int | None = None  # what says which metric a row is of, in the long form

    @property
    def is_single(self) -> bool:
        """Whether it is a plain series, with `timestamp` and `value`."""
        return self.device is None and self.named is None and [name for _, name in self.metrics] == ["value"]


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
        self._units: dict[int | str, str] = {}  # likewise: what its values bear
        self._texts: dict[int | str, bool] = {}  # by column, or by metric in the long form: whether it is text
        self._first: tuple[int, str] | None = None  # the first line, while the second one is to tell the long form
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
            if not text.strip() or (self.columns is None and _says_how(text)):
                continue
            if self._first is not None:
                self.columns, self._first = self._find_columns(*self._first, self._cells(text)), None
            if self.columns is None:
                self._separator = max(SEPARATORS, key=text.count)
                cells = self._cells(text)
                if not self._is_headless(cells):
                    self.header = [cell.strip() for cell in cells]
                    self._first = (number, text)
                    is_told = self._find_long([]) is None and self._find_parts([]) is None
                    if is_told and not self._is_index_nameless():
                        self.columns, self._first = self._find_columns(number, text, []), None
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
        return _is_time(cells[0].strip(), numbers=True) and is_number(cells[1].strip(), self._separator)

    def _find_long(self, cells: Sequence[str]) -> tuple[int, int] | None:
        """In the long form, where a metric's name and its value are; what holds a number first is no name."""
        names = [_plain(name) for name in self.header]
        named, value = _first(NAMES, names), _first(VALUES, names)
        if named is None or value is None:
            return None
        return None if self._holds_number(cells, named) else (named, value)

    def _holds_number(self, cells: Sequence[str], at: int) -> bool:
        return at < len(cells) and is_number(cells[at].strip(), self._separator)

    def _find_parts(self, cells: Sequence[str]) -> tuple[int, int] | None:
        """Where a day and a time of day are; one of a week or a month is no day where another column is a time."""
        names = [_plain(name) for name in self.header]
        day, clock = _first(DAYS, names), _first(CLOCKS, names)
        if self._asked.time is not None or day is None or clock is None or WHOLE & set(names):
            return None
        told = cells[day].strip() if day < len(cells) else ""
        is_counted = told.isdecimal() and len(told) <= OF_A_YEAR
        return None if is_counted and {*TIMES} & {*names} - {names[day]} else (day, clock)

    def _find_columns(self, number: int, text: str, cells: Sequence[str]) -> Columns:
        """Where things are, by the first line and, where that leaves it open, the cells of the second one."""
        names = [_plain(name) for name in self.header]
        named, value = self._find_long(cells) or (None, None)
        is_long = named is not None
        if not is_long and self._asked.time is None and self._asked.device is None and set(SINGLE) <= set(names):
            if whose := [self.header[at] for at, name in enumerate(names) if name in DEVICES]:
                self._notes.append(f"all rows are one series; `--device {whose[0]}` makes one of each {whose[0]!r}")
            return Columns(len(names), names.index("timestamp"), None, ((names.index("value"), "value"),))
        time, clock = self._find_parts(cells) or (self._find_time(number, text, cells), None)
        devices = (*DEVICES, COUNTED) if names[time] in CYCLES else DEVICES
        others = {"user"} if PROCESSOR & set(names) else set[str]()  # a share
        if is_long and "unit" in names and not self._holds_number(cells, names.index("unit")):
            others = {"unit"}  # the value's
        usual = [name for name in devices if name not in others]
        device = self._find(self._asked.device, usual, names)
        places = Columns(len(names), time, device, (), clock, named)
        if value is not None:
            self._tell(places, [value])
            if left := [self.header[at] for at in range(len(names)) if at not in {time, device, clock, named, value}]:
                self._notes.append(f"not judged: {', '.join(left)}")
            return replace(places, metrics=((value, self.header[value]),))
        return replace(places, metrics=self._find_metrics(number, text, names, places))

    def _is_index_nameless(self) -> bool:
        """Whether only the first column can be the time, and has no name, as pandas writes an index."""
        names = [_plain(name) for name in self.header]
        return self._asked.time is None and names[:1] == [""] and self._called_time(names) is None

    def _called_time(self, names: Sequence[str]) -> int | None:
        time = self._find(self._asked.time, TIMES, names)
        if time is None:
            time = next((at for at, name in enumerate(self.header) if TIME_WORDS & set(_words(name))), None)
        return time

    def _find_time(self, number: int, text: str, cells: Sequence[str]) -> int:
        """Where the time is. Raises CareloopError."""
        time = self._called_time([_plain(name) for name in self.header])
        if time is None and cells and self._is_index_nameless() and _is_time(cells[0].strip()):
            time = 0
        if time is None:
            what = "no column is called timestamp or time, which `--time` can name"
            if text.startswith(_PACKED):
                what = "this is a workbook or another archive, and no table; save its sheet as CSV"
                text = text[:2]
            raise CareloopError("columns", f"line {number}: {what}; not {text!r}")
        return time

    def _find_metrics(
        self, number: int, text: str, names: Sequence[str], places: Columns
    ) -> tuple[tuple[int, str], ...]:
        taken = {places.time, places.clock, places.device}
        free = [at for at, name in enumerate(names) if name and at not in taken]
        counted = [at for at in free if names[at] == COUNTED]
        metrics = [at for at in free if names[at] not in LABELS and at not in counted]
        if not metrics:
            time = self.header[places.time]
            raise CareloopError("columns", f"line {number}: no column besides the time {time!r}: {text!r}")
        self._tell(places, metrics)
        if labels := [self.header[at] for at in free if names[at] in LABELS]:
            self._notes.append(f"labels, no measurements: {', '.join(labels)}")
        for name in [self.header[at] for at in counted]:
            self._notes.append(
                f"{name!r} is not judged, as it may number the rows; `--device {name}` makes one series of each"
            )
        if again := [self.header[at] for at in metrics if self.header.index(self.header[at]) != at]:
            self._notes.append(f"columns of one name are told apart by their place: {', '.join(again)}")
        called = [self.header[at] for at in metrics]
        return tuple(
            (at, name if called.index(name) == place else f"{name} ({at + 1})")
            for place, (at, name) in enumerate(zip(metrics, called, strict=True))
        )

    def _tell(self, places: Columns, metrics: Sequence[int]) -> None:
        """Say what was chosen."""
        time = " and ".join(repr(self.header[at]) for at in (places.time, places.clock) if at is not None)
        time = time if time != repr("") else "the first column, which has no name"
        whose = "" if places.device is None else f" of each {self.header[places.device]!r}"
        each = "" if places.named is None else f"each {self.header[places.named]!r} by its "
        self._notes.append(f"time is {time}; judged{whose}: {each}{', '.join(self.header[at] for at in metrics)}")

    def _find(self, asked: str | None, usual: Sequence[str], names: Sequence[str]) -> int | None:
        if asked is None:
            return _first(usual, names)
        called = [name.lower() for name in self.header]
        if asked.lower() not in called:
            raise CareloopError("columns", f"no column {asked!r}; there are {', '.join(self.header)}")
        return called.index(asked.lower())

    def _row(self, number: int, cells: Sequence[str], columns: Columns) -> TableRow:
        try:
            ts_s, device = self._whose(cells, columns)
        except (BadLine, BadTime) as error:
            return TableRow(cells, None, BadLine(f"line {number}: {error}"))
        metrics: dict[str, float] = {}
        faults: list[str] = []
        for at, name in columns.metrics:
            called = name if columns.named is None else cells[columns.named].strip()
            try:
                value = self._value(at, called, cells[at].strip() if at < len(cells) else "", columns)
            except BadLine as error:
                faults.append(str(error))
            else:
                if value is not None:
                    metrics[called] = value
        fault = BadLine(f"line {number}: {'; '.join(faults)}") if faults else None
        return TableRow(cells, Line(device, ts_s, metrics), fault)

    def _whose(self, cells: Sequence[str], columns: Columns) -> tuple[float, str]:
        """When and of which device a row is. Raises BadLine or BadTime."""
        needed = (columns.time, columns.device, columns.clock, columns.named, columns.metrics[0][0])
        least = 1 + max(at for at in needed if at is not None)
        if len(cells) < least or (len(cells) > columns.width and any(map(str.strip, cells[columns.width :]))):
            raise BadLine(f"{len(cells)} columns, where {columns.width} are needed")
        device = self._asked.name if columns.device is None else cells[columns.device].strip()
        if not device:
            raise BadLine("its device is empty")
        if columns.named is not None and not cells[columns.named].strip():
            raise BadLine("its metric is empty")
        return self._instant(cells, columns), device

    def _instant(self, cells: Sequence[str], columns: Columns) -> float:
        """When a row is. Raises BadTime."""
        text = cells[columns.time].strip()
        if columns.clock is None:
            return self._instants.read(text)
        clock = cells[columns.clock].strip()
        if clock.lower() in ABSENT:
            raise BadTime(f"it has no time of day beside {text!r}")
        try:
            return self._on(text, clock)
        except BadTime:
            if ":" in text:
                ts_s = self._instants.read(text)  # a time of day is there already; that of midnight may be none
                return ts_s if ts_s % DAY_S else self._on(re.split("[ T]", text)[0], clock)
            if not _says_day(clock):
                raise
            with suppress(BadTime):
                return self._instants.read(clock)
            raise

    def _on(self, day: str, clock: str) -> float:
        """A time of day on a day. Raises BadTime."""
        if len(clock) <= len(str(HOURS)) and clock.isdecimal() and int(clock) <= HOURS:
            return self._instants.read(f"{day} 00:00") + HOUR_S * int(clock)
        return self._instants.read(f"{day} {clock}")

    def _value(self, at: int, name: str, text: str, columns: Columns) -> float | None:
        """A cell as a number; None where it is empty, or in a column of text. Raises BadLine."""
        which = at if columns.named is None else name
        if columns.named is not None and name not in self._texts and _plain(name) in LABELS:
            self._texts[name] = True
            self._notes.append(f"a label, no measurement: {name}")
        if text.lower() in ABSENT or self._texts.get(which):
            return None
        try:
            value = self._number(which, name, text)
        except BadLine:
            if which in self._texts or (len(columns.metrics) == 1 and columns.named is None):
                raise
            self._texts[which] = True
            what = "column" if columns.named is None else "metric"
            self._notes.append(f"{what} {name!r} holds text, such as {text!r}, and is not judged")
            return None
        self._texts[which] = False
        return value

    def _number(self, which: int | str, name: str, text: str) -> float:
        """A cell as a number, with the unit that all of its column bear. Raises BadLine."""
        try:
            return read_number(text, self._separator)
        except BadLine:
            if (parts := split_unit(text)) is None:
                raise
        figure, unit = parts
        number = read_number(figure, self._separator)
        known = self._units.get(which)
        if known is None:
            self._notes.append(f"values of {name!r} are taken as numbers of {unit}")
        elif known != unit:
            raise BadLine(f"value {text!r} is not in {known}, as those before it are")
        self._units[which] = unit
        return number


def _plain(name: str) -> str:
    """A column's name as names are compared: `Unit Number` and `time (cycles)` are `unit_number` and `time_cycles`."""
    return re.sub(r"[\s()\-,]+", "_", name.lower()).strip("_") or name.lower()


def _is_time(text: str, *, numbers: bool = False) -> bool:
    """Whether a cell is a time; a small number only where it may be one of `numbers`."""
    with suppress(BadTime):
        Instants().read(text)
        return numbers or _says_day(text)
    return False


def _says_how(text: str) -> bool:
    """Whether a line before the first one with names is no row: a remark, or what separates cells."""
    return text.startswith("#") or _SAYS_SEPARATOR.fullmatch(text.strip()) is not None


def _says_day(clock: str) -> bool:
    """Whether a time of day may say all of a time: a small number counts something else."""
    try:
        return float(clock) >= EPOCH_S
    except ValueError:
        return True


def _words(name: str) -> list[str]:
    """The words of a name in lower case: `ActivityHour` and `activity_hour` are two."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _first(usual: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the first of the usual names is that a table has."""
    return next((names.index(name) for name in usual if name in names), None)


def device_of(path: PurePath) -> str:
    """The device that a file is named after: what `boiler.csv.gz` holds is the boiler's."""
    while path.suffix.lower() in {".csv", ".gz", ".tsv", ".txt", ".ndjson", ".jsonl", ".json"}:
        path = path.with_suffix("")
    return path.name
