"""Tables as people have them, row by row: what stands between cells, when and of whom a row is, what it measures."""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final

from gateway.detect.columns import ROWS, Asked, Begun, Columns, is_label, is_time, says_day
from gateway.detect.days import DayOrder
from gateway.detect.figures import ABSENT, is_number, is_unit, read_number, read_thousands, split_unit
from gateway.detect.header import Header
from gateway.detect.headless import Headless, is_headless
from gateway.detect.instants import BadTime, Instants
from gateway.detect.lines import BadLine, Line
from gateway.detect.opened import Numbered
from gateway.detect.quoted import Quoted

SEPARATORS: Final = ",;\t|"
BLANK: Final = " "
HOURS: Final = 24  # a time of day that is a number up to this is an hour
OF_DAY: Final = 3  # the first parts of a time: year, month, day
HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
_DOTTED: Final = re.compile(r"\d{1,2}\.\d\d\.\d\d")
_SAYS_SEPARATOR: Final = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # the first line of what Excel is to open


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: what was read of it, its cells as they came, and what could not be read."""

    cells: Sequence[str]
    line: Line | None  # None: not even its time
    fault: BadLine | None = None


class Table:
    """A table whose first line names its columns, or is a row already; rows are read one after the other."""

    def __init__(self, asked: Asked, instants: Instants, each: str = "line") -> None:
        """`each` is what rows are called by their numbers."""
        self._asked = asked
        self._instants = instants
        self.each = each
        self._separator = ","
        self._units: dict[int | str, str] = {}  # likewise: what its values bear
        self._texts: dict[int | str, bool] = {}  # by column, or by metric in the long form: whether it is text
        self._grouped: set[int | str] = set()  # likewise: where `12,345` was read, and it was said
        self._begun: Header | Headless | None = None  # until the columns are known
        self._kept: list[tuple[int, Sequence[str]]] = []  # rows that wait for that, and for the order of dates
        self._order = DayOrder()
        self._passed: dict[int, BadLine | None] = {}  # which of them are no rows, and what is wrong with them
        self._has_rows = False
        self._is_settled = False  # whether no further row waits
        self._least = 0  # cells of a row
        self._has_said_waiting = False
        self._said: set[str] = set()  # of the columns
        self._notes: list[str] = []
        self._quoted = Quoted(self._is_row)
        self._ordinal = 0  # of the latest row, where no column is the time
        self.header: Sequence[str] = ()
        self.columns: Columns | None = None

    def take_notes(self) -> list[str]:
        """What was decided and is to be said, once."""
        notes, self._notes = [*self._notes, *self._instants.take_notes()], []
        return notes

    def note(self, text: str) -> None:
        """Have something said."""
        self._notes.append(text)

    @property
    def separator(self) -> str:
        """What stands between two cells."""
        return self._separator

    @property
    def has_numbers(self) -> bool:
        """Whether there was anything to judge so far."""
        return not all(self._texts.values())

    def rows(self, chunk: Numbered) -> Iterator[TableRow]:
        """Each row, in order. Raises CareloopError where the columns cannot be told."""
        for number, raw in chunk:
            text = _decode(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).rstrip("\r")
            if self._is_settled and self.columns is not None and text.count('"') % 2 == 0 and not self._quoted.is_open:
                if text.strip():
                    yield self._row(number, self._cells(text), self.columns)
                continue
            if self._begun is None and not self._quoted.is_open:
                if _says_how(text):
                    continue
                self._separator = _separator_of(text)
            for first, record, is_closed in self._quoted.take(number, text, self._separator):
                yield from self._record(first, record, is_closed=is_closed)
        if self.columns is not None and self._kept and not self._has_said_waiting:
            self._has_said_waiting = True
            self._notes.append(
                f"whether day or month comes first in {self._order.last} does not show: rows wait for one that shows"
                " it; `--time-format` says it"
            )

    def _record(self, number: int, text: str, *, is_closed: bool = True) -> Sequence[TableRow]:
        """The rows that are known with a record, which may be several lines."""
        if not text.strip():
            return ()
        cells = self._cells(text)
        if self._is_settled and is_closed and self.columns is not None:
            return (self._row(number, cells, self.columns),)
        if not is_closed and self._begun is not None:
            self._passed[number] = BadLine(f"{self.each} {number}: a quote in it is never closed")
        return self.take(number, cells, text)

    def take(self, number: int, cells: Sequence[str], text: str) -> Sequence[TableRow]:
        """The rows that are known with these cells, of which the first ones are the table's first line."""
        if self._begun is None:
            begun = Begun(f"{self.each} {number}", text, [cell.strip() for cell in cells], self._separator)
            if is_headless(self._asked, begun):
                self._begun = Headless(self._asked, begun)
                self._kept.append((number, cells))
                self._has_rows = True
            else:
                self._begun = Header(self._asked, begun)
            self.header = self._begun.names
            return self._settle(self._begun, self._kept)
        if not self._has_rows and isinstance(self._begun, Header) and self._begun.lacks_first(cells):
            self._begun, self.columns = self._begun.with_first(), None
        if not self._has_rows and self._is_units(cells):
            self._passed[number] = None
            self._notes.append(f"{self.each} {number} holds units or the like, and is no row: {text:.80}")
        elif number not in self._passed:
            self._has_rows = True
            if self.columns is None:
                self._begun.see(cells)
        self._kept.append((number, cells))
        return self._settle(self._begun, self._kept if self.columns is None else self._kept[-1:])

    def end(self) -> Iterator[TableRow]:
        """The rows of a table that is over before its columns were known. Raises CareloopError as `rows` does."""
        for number, text, is_closed in self._quoted.end():
            yield from self._record(number, text, is_closed=is_closed)
        if self._begun is not None:
            columns = self._tell_columns(self._begun)
            if not self._is_ordered(columns) and self._order.is_one_day:
                self._instants.put_order(self._order.last, day_first=False)
            yield from self._flush(columns)

    def _settle(self, begun: Header | Headless, rows: Sequence[tuple[int, Sequence[str]]]) -> Sequence[TableRow]:
        """The rows that need not wait any longer, after a look at some of them."""
        if self.columns is None and not begun.is_told:
            return ()
        columns = self._tell_columns(begun)
        for number, cells in rows:
            if number not in self._passed and not self._is_ordered(columns):
                text = self._when(cells, columns)
                self._order.see(text)
                if self._order.day_first is not None:
                    self._instants.put_order(text, day_first=self._order.day_first)
        return self._flush(columns) if self._is_ordered(columns) or not self._has_rows else ()

    def _is_ordered(self, columns: Columns) -> bool:
        """Whether it is known in which order dates are written, or none needs it."""
        is_stated = columns.time == ROWS or bool(columns.parts) or not self._instants.may_show_order
        return is_stated or self._order.is_over

    def _tell_columns(self, begun: Header | Headless) -> Columns:
        if self.columns is None:
            self.columns = begun.columns()
            self._notes += [note for note in begun.notes if note not in self._said]
            self._said |= set(begun.notes)
            self._least = 1 + max(self.columns.needed)
        return self.columns

    def _flush(self, columns: Columns) -> Sequence[TableRow]:
        kept, self._kept = self._kept, []
        self._is_settled = self._has_rows
        return [
            TableRow(cells, None, self._passed[number]) if number in self._passed else self._row(number, cells, columns)
            for number, cells in kept
        ]

    def _when(self, cells: Sequence[str], columns: Columns) -> str:
        """The time of a row, as it is told."""
        places = (columns.time,) if columns.clock is None else (columns.time, columns.clock)
        return " ".join(_colons(cells[at].strip()) for at in places if at < len(cells))

    def _is_units(self, cells: Sequence[str]) -> bool:
        """Whether a first row says what columns are measured in, or a further one is such a line of a logger."""
        told = [cell.strip() for cell in cells]
        filled = [cell for cell in told if cell]
        if not filled or any(is_number(cell, self._separator) or is_time(cell) for cell in filled):
            return False
        return any(map(is_unit, filled)) or (bool(self._passed) and not told[0])

    def _is_row(self, text: str) -> bool:
        """Whether a line is a row by itself, with a time."""
        cells, columns = self._cells(text), self.columns
        if columns is None or columns.time == ROWS or len(cells) != columns.width or columns.width == 1:
            return False
        return is_time(cells[columns.time].strip(), numbers=True)

    def _cells(self, text: str) -> list[str]:
        """The cells of a line; none where it is no line of a table, as in a file that is packed."""
        told = " ".join(text.split()) if self._separator == BLANK else text
        try:
            return next(csv.reader([told], delimiter=self._separator))
        except csv.Error:
            return []

    def _row(self, number: int, cells: Sequence[str], columns: Columns) -> TableRow:
        try:
            ts_s, device = self._whose(cells, columns)
        except (BadLine, BadTime) as error:
            is_empty = bool(cells) and not any(map(str.strip, cells))  # as spreadsheets leave them beneath a table
            return TableRow(cells, None, None if is_empty else BadLine(f"{self.each} {number}: {error}"))
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
        fault = BadLine(f"{self.each} {number}: {'; '.join(faults)}") if faults else None
        return TableRow(cells, Line(device, ts_s, metrics), fault)

    def _whose(self, cells: Sequence[str], columns: Columns) -> tuple[float, str]:
        """When and of which device a row is. Raises BadLine or BadTime."""
        if len(cells) < self._least or (len(cells) > columns.width and any(map(str.strip, cells[columns.width :]))):
            raise BadLine(f"{len(cells)} columns, where {columns.width} are needed")
        device = self._asked.name if columns.device is None else cells[columns.device].strip()
        if not device:
            raise BadLine("its device is empty")
        if columns.named is not None and not cells[columns.named].strip():
            raise BadLine("its metric is empty")
        return self._instant(cells, columns), device

    def _instant(self, cells: Sequence[str], columns: Columns) -> float:
        """When a row is. Raises BadTime."""
        if columns.time == ROWS:
            self._ordinal += 1
            return self._instants.of(self._ordinal)
        if columns.parts:
            return _of_parts([cells[at].strip() for at in columns.parts])
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
            if not says_day(clock):
                raise
            with suppress(BadTime):
                return self._instants.read(clock)
            raise

    def _on(self, day: str, clock: str) -> float:
        """A time of day on a day. Raises BadTime."""
        if len(clock) <= len(str(HOURS)) and clock.isdecimal() and int(clock) <= HOURS:
            return self._instants.read(f"{day} 00:00") + HOUR_S * int(clock)
        return self._instants.read(f"{day} {_colons(clock)}")

    def _value(self, at: int, name: str, text: str, columns: Columns) -> float | None:
        """A cell as a number; None where it is empty, or in a column of text. Raises BadLine."""
        which = at if columns.named is None else name
        if columns.named is not None and name not in self._texts and is_label(name):
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
            is_free = columns.device is None and columns.named is None
            whose = f"; `--device {name}` makes one series of each" if is_free else ""
            self._notes.append(f"{what} {name!r} holds text, such as {text!r}, and is not judged{whose}")
            return None
        self._texts[which] = False
        return value

    def _number(self, which: int | str, name: str, text: str) -> float:
        """A cell as a number, with the unit that all of its column bear. Raises BadLine."""
        try:
            return read_number(text, self._separator)
        except BadLine:
            if (number := read_thousands(text, self._separator)) is not None:
                if which not in self._grouped:
                    self._grouped.add(which)
                    self._notes.append(f"{text} of {name!r} is taken as {number:.0f}, and so are others like it")
                return number
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


def _colons(clock: str) -> str:
    """A time of day such as `18.00.00` as others write it."""
    return clock.replace(".", ":") if _DOTTED.fullmatch(clock) else clock


def _of_parts(parts: Sequence[str]) -> float:
    """The time that a year, a month, a day and what there is of hour, minute and second say. Raises BadTime."""
    try:
        numbers = [float(part) for part in parts]
        day = datetime(*(int(number) for number in numbers[:OF_DAY]), tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadTime(f"{'-'.join(parts)} is no year, month and day") from error
    spans = sum(number * size for number, size in zip(numbers[OF_DAY:], (HOUR_S, 60.0, 1.0), strict=False))
    if not 0 <= spans <= DAY_S:
        raise BadTime(f"{':'.join(parts[OF_DAY:])} is no time of day")
    return day.timestamp() + spans


def begins_table(first: bytes, second: bytes) -> bool:
    """Whether two lines are the first ones of a table, of which the second is a row with a number."""
    text, row = _decode(first), _decode(second)
    if _says_how(text):
        return True
    separator = _separator_of(text)
    cells = row.split() if separator == BLANK else row.split(separator)
    is_regular = separator != BLANK or len(cells) == len(text.split())  # as a log's lines are not
    return len(cells) > 1 and is_regular and any(is_number(cell.strip(' "'), separator) for cell in cells)


def _separator_of(text: str) -> str:
    """What stands between the cells of a first line: blanks where nothing else does, but for commas within numbers."""
    numbers = text.split(BLANK)
    if len(numbers) > 1 and all(is_number(cell, BLANK) for cell in numbers if cell):
        return BLANK
    separator = max(SEPARATORS, key=text.count)
    return BLANK if separator not in text and len(text.split()) > 1 else separator


def _decode(raw: bytes) -> str:
    """A line as text: UTF-8, or else what Excel writes on Windows in the west."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _says_how(text: str) -> bool:
    """Whether a line before the first one with names is no row: a remark, or what separates cells."""
    return text.startswith("#") or _SAYS_SEPARATOR.fullmatch(text.strip()) is not None


def device_of(path: PurePath) -> str:
    """The device that a file is named after: what `boiler.csv.gz` holds is the boiler's."""
    while path.suffix.lower() in {".csv", ".gz", ".tsv", ".txt", ".dat", ".ndjson", ".jsonl", ".json"}:
        path = path.with_suffix("")
    return path.name
