"""Which column of a table is the time, which the device, which are measured: by the names in its first line."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from devices.errors import CareloopError
from gateway.detect.called import (
    CLOCKS,
    COUNTED,
    CYCLES,
    DAYS,
    DEVICES,
    NAMES,
    NUMBERS,
    PARTS,
    PROCESSOR,
    SERIALS,
    SINGLE,
    TIMES,
    VALUES,
    WHOLE,
)
from gateway.detect.columns import (
    NONE,
    ROWS,
    Asked,
    Begun,
    Columns,
    first,
    is_label,
    is_time,
    plain,
    say_columns,
    words,
)
from gateway.detect.figures import is_number
from gateway.detect.naming import Naming, follows
from gateway.detect.timing import TWO, Timing

OF_A_YEAR: Final = 3  # digits of a day that is one of a week, a month or a year
LEAST_PARTS: Final = 3  # year, month and day


class Header:
    """The first line of a table that names its columns, and what they are taken for."""

    def __init__(self, asked: Asked, begun: Begun) -> None:
        self._asked = asked
        self._begun = begun
        self.names = begun.cells
        self._plain = [plain(name) for name in self.names]
        self._timing = Timing(asked, begun, self._plain)
        self._naming: Naming | None = None  # until it is known where the time is
        self.notes: list[str] = []

    @property
    def is_told(self) -> bool:
        """Whether what was seen so far tells what is what; rows need not where names say it."""
        rows = self._timing.rows
        if not rows and (self._find_long() is not None or self._find_parts() is not None):
            return False
        if self._is_single():
            return True
        if len(rows) < TWO and NUMBERS & set(self._plain):
            return False
        if self._find_time() is None:
            return self._timing.is_told
        return not self._candidates() if self._naming is None else self._naming.is_over

    def lacks_first(self, cells: Sequence[str]) -> bool:
        """Whether the first column bears no name at all, as R writes names of rows: the time stands one further."""
        time = first(TIMES, self._plain)
        if time is None or len(cells) != len(self.names) + 1:
            return False
        return is_time(cells[time + 1].strip()) and not is_time(cells[time].strip())

    def with_first(self) -> "Header":
        """The same with a first column without a name."""
        return Header(self._asked, replace(self._begun, cells=["", *self.names]))

    def see(self, cells: Sequence[str]) -> None:
        """Look at a further row."""
        self._timing.see(cells)
        if self._naming is not None:
            self._naming.see(cells)
            return
        time = self._find_time()
        if time is not None and not self._is_single():
            self._naming = Naming(self._candidates(), time)
            for each in self._timing.rows:
                self._naming.see(each)

    def columns(self) -> Columns:
        """Where things are, by the first line and the rows that were seen. Raises CareloopError."""
        if self._is_single():
            return self._single()
        parts = self._find_time()
        if parts is None:
            raise self._timing.refusal()
        time = parts[0]
        device = self._find_device(time)
        if device is None and self._naming is not None and (device := self._naming.chosen) is not None:
            self.notes.append(
                f"{self.names[device]!r} comes again at other times, as devices do; `--device -` makes all one series"
            )
        named, value = self._find_long() or (None, None)
        is_calendar = len(parts) >= LEAST_PARTS
        clock = None if is_calendar else next(iter(parts[1:]), None)
        places = Columns(len(self.names), time, device, (), clock, named, parts if is_calendar else ())
        if value is None:
            return replace(places, metrics=self._find_metrics(places))
        self._tell(places, [value])
        taken = {time, device, clock, named, value, *parts}
        if left := [name for at, name in enumerate(self.names) if at not in taken]:
            self.notes.append(f"not judged: {', '.join(left)}")
        return replace(places, metrics=((value, self.names[value]),))

    def _is_single(self) -> bool:
        """Whether it is a series, whatever else it holds."""
        is_open = self._asked.time is None and self._asked.device is None
        return is_open and set(SINGLE) <= set(self._plain) and self._find_long() is None

    def _single(self) -> Columns:
        if whose := [self.names[at] for at, name in enumerate(self._plain) if name in DEVICES or self._may_count(at)]:
            self.notes.append(f"all rows are one series; `--device {whose[0]}` makes one of each {whose[0]!r}")
        at = self._plain.index
        return Columns(len(self.names), at("timestamp"), None, ((at("value"), "value"),))

    def _find_device(self, time: int) -> int | None:
        if self._asked.device == NONE:
            return None
        if self._asked.device is not None:
            called = [name.lower() for name in self.names]
            if self._asked.device.lower() not in called:
                raise CareloopError("columns", f"no column {self._asked.device!r}; there are {', '.join(self.names)}")
            return called.index(self._asked.device.lower())
        devices = (*DEVICES, COUNTED) if time != ROWS and self._plain[time] in CYCLES else DEVICES
        others = {"user"} if PROCESSOR & set(self._plain) else set[str]()  # a share
        if self._find_long() is not None and "unit" in self._plain and not self._holds_number("unit"):
            others = {"unit"}  # the value's
        return first([name for name in devices if name not in others], self._plain)

    def _may_count(self, at: int) -> bool:
        """Whether a column names devices, or counts rows."""
        name = self._plain[at]
        return name not in DEVICES and (name in SERIALS or words(self.names[at])[-1:] == [COUNTED])

    def _candidates(self) -> list[int]:
        """The columns that may name devices, where none does by its name."""
        place, *_ = self._find_time() or (ROWS,)
        if self._asked.device is not None or self._find_device(place) is not None:
            return []
        return [at for at in range(len(self.names)) if self._may_count(at) and at != place]

    def _find_long(self) -> tuple[int, int] | None:
        """In the long form, where a metric's name and its value are; what holds a number first is no name."""
        named, value = first(NAMES, self._plain), first(VALUES, self._plain)
        if named is None or value is None or (self._plain[named] == "type" and set(SINGLE) <= set(self._plain)):
            return None
        return None if self._holds_number(self._plain[named]) else (named, value)

    def _holds_number(self, name: str) -> bool:
        """Whether the first row has a number in a column."""
        at = self._plain.index(name)
        cells = next(iter(self._timing.rows), ())
        return at < len(cells) and is_number(cells[at].strip(), self._begun.separator)

    def _find_time(self) -> tuple[int, ...] | None:
        """Where the time is, in as many columns as it takes; None while that is open. Raises CareloopError."""
        if (parts := self._find_parts()) is not None:
            return parts
        time = self._timing.find()
        return None if time is None else (time,)

    def _find_parts(self) -> tuple[int, ...] | None:
        """Where a day and a time of day are, or a year, a month, a day and what follows; None where one says it all.

        A day of a week or a month is none where another column is a time.
        """
        names = self._plain
        if self._asked.time is not None or WHOLE & set(names):
            return None
        if set(PARTS[:LEAST_PARTS]) <= set(names) and not set(TIMES) & set(names):
            return tuple(names.index(name) for at, name in enumerate(PARTS) if set(PARTS[: at + 1]) <= set(names))
        day, clock = first(DAYS, names), first(CLOCKS, names)
        if day is None or clock is None:
            return None
        cells = next(iter(self._timing.rows), ())
        told = cells[day].strip() if day < len(cells) else ""
        is_counted = told.isdecimal() and len(told) <= OF_A_YEAR
        return None if is_counted and {*TIMES} & {*names} - {names[day]} else (day, clock)

    def _find_metrics(self, places: Columns) -> tuple[tuple[int, str], ...]:
        names, plain_names = self.names, self._plain
        taken = {places.time, places.clock, places.device, *places.parts}
        free = [at for at, name in enumerate(plain_names) if name and at not in taken]
        labels = [at for at in free if is_label(names[at])]
        counted = [at for at in free if self._may_count(at)]
        numbers = [at for at in free if self._numbers_rows(at)]
        metrics = [at for at in free if at not in {*labels, *counted, *numbers}]
        if not metrics:
            besides = f" besides the time {names[places.time]!r}" if places.time != ROWS else " to judge"
            raise CareloopError("columns", f"{self._begun.where}: no column{besides}: {self._begun.text!r}")
        self._tell(places, metrics)
        if labels:
            self.notes.append(f"labels, no measurements: {', '.join(names[at] for at in labels)}")
        if numbers:
            self.notes.append(f"numbers of the rows, no measurements: {', '.join(names[at] for at in numbers)}")
        for name in [names[at] for at in counted]:
            self.notes.append(
                f"{name!r} is not judged, as it may number the rows; `--device {name}` makes one series of each"
            )
        if again := [names[at] for at in metrics if names.index(names[at]) != at]:
            self.notes.append(f"columns of one name are told apart by their place: {', '.join(again)}")
        called = [names[at] for at in metrics]
        return tuple(
            (at, name if called.index(name) == place else f"{name} ({at + 1})")
            for place, (at, name) in enumerate(zip(metrics, called, strict=True))
        )

    def _numbers_rows(self, at: int) -> bool:
        """Whether a column is called so, and counts on by one."""
        cells = [row[at].strip() if at < len(row) else "" for row in self._timing.rows[:TWO]]
        return self._plain[at] in NUMBERS and len(cells) == TWO and follows(*cells)

    def _tell(self, places: Columns, metrics: Sequence[int]) -> None:
        """Say what was chosen."""
        self.notes.append(say_columns(self.names, places, metrics))
