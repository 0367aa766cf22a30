"""What `careloop detect` does with lines: judges them, or scores them, and prints what comes of it."""

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from gateway.detect.called import SINGLE
from gateway.detect.instants import Instants
from gateway.detect.lines import BadLine, Line, Row, parse_line, say_line
from gateway.detect.opened import Numbered
from gateway.detect.stream import Scorer, Stream
from gateway.detect.tables import Table, TableRow
from gateway.detect.whole import RowScorer
from gateway.pictures.album import Album

LISTED: Final = re.compile(rb'"events"\s*:\s*\[\s*[^\]\s]')
UNREAD: Final = '`events` is not read: an event is a line of its own, {"device", "ts", "event"}'
TABLE: Final = "the first line is not JSON; `--format csv` reads a table"
EMPTY: Final = "nothing to judge: it holds no readings"


class Reader(Protocol):
    """Takes lines and prints what comes of them."""

    def take(self, chunk: Numbered) -> Sequence[BadLine]:
        """Those that could not be read."""
        ...

    def end(self) -> Sequence[BadLine]:
        """Nothing more comes; what could not be read for that."""
        ...

    def take_notes(self) -> list[str]:
        """What is to be said of how the lines are read."""
        ...


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def join(lines: Sequence[Line]) -> list[Line]:
    """One reading of those of one device and moment that follow each other; what is there twice stays apart."""
    joined: list[Line] = []
    for line in lines:
        last = joined[-1] if joined else None
        if last is None or (last.device, last.ts_s) != (line.device, line.ts_s) or last.metrics.keys() & line.metrics:
            joined.append(line)
        else:
            joined[-1] = replace(last, metrics=last.metrics | line.metrics)
    return joined


def no_numbers(table: Table) -> Sequence[BadLine]:
    """What is wrong with a table whose rows could all be read, where nothing of it is to be judged."""
    if table.has_numbers or table.columns is None:
        return ()
    named = table.columns.named
    found = ", ".join(name for _, name in table.columns.metrics) if named is None else f"any {table.header[named]!r}"
    return [BadLine(f"nothing to judge: no number in {found}; expected is a column of numbers beside the time")]


class Judge:
    """Judges lines and prints what they decide; for a picture, keeps both."""

    def __init__(self, stream: Stream, album: Album | None, *, sort: bool) -> None:
        self._stream = stream
        self._album = album
        self._kept: list[Line] | None = [] if sort else None
        self._newest: dict[str, Line] = {}
        self._late = 0
        self._again = 0  # lines of a moment of which the same metrics were told already
        self._lines = 0
        self.joins = False  # whether lines of one moment are one reading, when they are put in order

    def take(self, lines: Sequence[Line]) -> None:
        """Judge lines, or keep them until all are there."""
        self._lines += len(lines)
        if self._kept is not None:
            self._kept += lines
            return
        self._judge(lines)

    def end(self) -> list[str]:
        """Judge what was kept; what is to be said at the end."""
        if self._kept is not None:
            if self.joins:
                self._judge(join(sorted(self._kept, key=lambda line: (line.ts_s, line.device))))
            else:
                self._judge(sorted(self._kept, key=lambda line: line.ts_s))
        if not self._lines:
            return [EMPTY]
        notes: list[str] = []
        if self._late:
            late = f"{self._late:,} of {self._lines:,} lines are older than one of the same device before them"
            notes.append(f"{late}, and were judged as late; `--sort` judges in the order of time")
        if self._again:
            again = f"{self._again:,} of {self._lines:,} lines tell of a moment what a line before them did"
            notes.append(f"{again}: where these are several devices, each line must say which, in a table by a column")
        return notes

    def _count(self, lines: Sequence[Line]) -> None:
        for line in lines:
            newest = self._newest.setdefault(line.device, line)
            if line.ts_s < newest.ts_s:
                self._late += 1
                continue
            self._again += (
                line is not newest and line.ts_s == newest.ts_s and bool(line.metrics.keys() & newest.metrics)
            )
            self._newest[line.device] = line

    def _judge(self, lines: Sequence[Line]) -> None:
        self._count(lines)
        changes = self._stream.take(lines)
        if changes:
            _write(b"".join(say_line(change) + b"\n" for change in changes))
        if self._album is not None:
            self._album.read(lines)
            self._album.tell(changes)


class JudgedLines:
    """NDJSON in, alarm events out."""

    def __init__(self, instants: Instants, judge: Judge, each: str = "line") -> None:
        """`each` is what lines are called by their numbers."""
        self._instants = instants
        self._judge = judge
        self._each = each
        self._has_listed = False  # whether a line held a list of events, and it was said
        self._may_be_table = False  # by its first line
        self._last: list[str] = []

    def take(self, chunk: Numbered) -> Sequence[BadLine]:
        """Judge lines, print what they decide; gives the lines that could not be read."""
        lines: list[Line] = []
        faults: list[BadLine] = []
        for number, text in chunk:
            stripped = (text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text).strip()
            try:
                if stripped:
                    lines.append(parse_line(stripped, self._instants))
                    self._look_for_listed(stripped)
            except BadLine as error:
                faults.append(BadLine(f"{self._each} {number}: {error}"))
                self._may_be_table = self._may_be_table or (number == 1 and not stripped.startswith((b"{", b"[")))
        self._judge.take(lines)
        return faults

    def _look_for_listed(self, text: bytes) -> None:
        if not self._has_listed and LISTED.search(text):
            self._has_listed = True
            self._last.append(UNREAD)

    def end(self) -> Sequence[BadLine]:
        """Judge what was kept."""
        notes = self._judge.end()
        self._last += [*notes, TABLE] if EMPTY in notes and self._may_be_table else notes
        return ()

    def take_notes(self) -> list[str]:
        """What is to be said of how the lines are read."""
        notes, self._last = [*self._instants.take_notes(), *self._last], []
        return notes


class JudgedRows:
    """CSV in, alarm events out: each column a metric, or each row one; rows of one moment are one reading then."""

    def __init__(self, table: Table, judge: Judge) -> None:
        self._judge = judge
        self._table = table
        self._open: list[Line] = []  # in the long form, a reading of which more rows may come
        self._has_faults = False
        self._last: list[str] = []

    def take(self, chunk: Numbered) -> Sequence[BadLine]:
        """Judge rows, print what they decide; gives the rows that could not be read."""
        return self._take(list(self._table.rows(chunk)))

    def _take(self, found: Sequence[TableRow]) -> Sequence[BadLine]:
        lines = [row.line for row in found if row.line is not None]
        if self._table.columns is not None and self._table.columns.named is not None:
            self._judge.joins = True
            lines = join([*self._open, *lines])
            self._open = [lines.pop()] if lines else []
        self._judge.take(lines)
        faults = [row.fault for row in found if row.fault is not None]
        self._has_faults = self._has_faults or bool(faults)
        return faults

    def end(self) -> Sequence[BadLine]:
        """Judge what was kept."""
        faults = self._take(list(self._table.end()))
        self._judge.take(self._open)
        self._last = self._judge.end()
        return faults if self._has_faults or EMPTY in self._last else no_numbers(self._table)

    def take_notes(self) -> list[str]:
        """What is to be said of how the rows are read."""
        notes, self._last = [*self._table.take_notes(), *self._last], []
        return notes


class ScoredRows:
    """CSV in, the same rows with their scores out; the values of a row that has several are judged together."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._scorers: dict[tuple[str, str], Scorer] = {}  # by device and metric
        self._wholes: dict[str, RowScorer] = {}
        self._newest_s: dict[str, float] = {}  # by device
        self._late = 0
        self._lines = 0
        self._is_begun = False
        self._has_rows = False
        self._has_faults = False
        self._last: list[str] = []

    def take(self, chunk: Numbered) -> Sequence[BadLine]:
        """Score rows and print them again, all of them; gives the faults of those that could not be read."""
        return self._take(list(self._table.rows(chunk)))

    def _take(self, rows: Sequence[TableRow]) -> Sequence[BadLine]:
        columns = self._table.columns
        if columns is None:
            return []
        kept = [columns.time, columns.metrics[0][0]] if columns.is_single else None
        mark = self._table.separator
        score = self._score_one if len(columns.metrics) == 1 else self._score_together
        self._count([row.line for row in rows if row.line is not None])
        scores = [0.0 if row.line is None else score(row.line) for row in rows]
        lines = [
            _joined([*_kept(row.cells, kept), f"{each:.6f}"], mark) for row, each in zip(rows, scores, strict=True)
        ]
        if not self._is_begun:
            header = SINGLE if columns.is_single else self._table.header
            lines.insert(0, _joined([*header, "anomaly_score"], mark))
            self._is_begun = True
        self._has_rows = self._has_rows or bool(rows)
        _write("".join(lines).encode())
        faults = [row.fault for row in rows if row.fault is not None]
        self._has_faults = self._has_faults or bool(faults)
        return faults

    def _count(self, lines: Sequence[Line]) -> None:
        self._lines += len(lines)
        for line in lines:
            if line.ts_s < self._newest_s.setdefault(line.device, line.ts_s):
                self._late += 1
            else:
                self._newest_s[line.device] = line.ts_s

    def _score_one(self, line: Line) -> float:
        return max((self._score_value(line, name, number) for name, number in line.metrics.items()), default=0.0)

    def _score_value(self, line: Line, name: str, number: float) -> float:
        scorer = self._scorers.get((line.device, name))
        if scorer is None:
            scorer = self._scorers[line.device, name] = Scorer()
        return scorer.score(Row(line.ts_s, number))

    def _score_together(self, line: Line) -> float:
        scorer = self._wholes.get(line.device)
        if scorer is None:
            scorer = self._wholes[line.device] = RowScorer()
        return scorer.score(line.ts_s, line.metrics)

    def end(self) -> Sequence[BadLine]:
        """Score the rows that waited for others."""
        faults = self._take(list(self._table.end()))
        if not self._has_rows:
            self._last = [EMPTY]
        if self._late:
            late = f"{self._late:,} of {self._lines:,} rows are older than one of the same device before them"
            self._last = [f"{late}, and score 0; sorted by time they would be judged"]
        return faults if self._has_faults or not self._has_rows else no_numbers(self._table)

    def take_notes(self) -> list[str]:
        """What is to be said of how the rows are read."""
        notes, self._last = [*self._table.take_notes(), *self._last], []
        return notes


def _kept(cells: Sequence[str], kept: Sequence[int] | None) -> list[str]:
    return list(cells) if kept is None else [cells[at] if at < len(cells) else "" for at in kept]


def _joined(cells: Sequence[str], mark: str) -> str:
    return mark.join(_quote(cell, mark) for cell in cells) + "\n"


def _quote(text: str, mark: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in (mark, '"', "\n", "\r")) else text
