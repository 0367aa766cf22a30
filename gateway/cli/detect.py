"""`careloop detect`: the detectors on your own data, without a database."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import click

from devices.profiles import AUTOMATIC, load_profiles, read_profile
from devices.profiles.model import Profile
from gateway.detect.instants import Instants
from gateway.detect.lines import BadLine, Line, Row, parse_line, say_line
from gateway.detect.opened import Numbered, read_chunks
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Scorer, Stream
from gateway.detect.tables import SINGLE, Asked, Table, TableRow, device_of
from gateway.pictures.album import Album
from gateway.pictures.canvas import check_name, save

EARLY_S: Final = 6 * 3600.0  # a file may hold minutes of a machine's life; a gateway's devices stay for years
MOST_FAULTS: Final = 20
"""Lines that cannot be read which are named; of further ones it is said how many there are."""
EMPTY: Final = "nothing to judge: it holds no readings"
CSV: Final = frozenset({".csv", ".tsv"})


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ndjson", "csv"]),
    help="What FILE holds; by default what its name ends in says, else ndjson.",
)
@click.option("--profile", help="Product model, or a profile's TOML file; by default everything is learnt.")
@click.option("--scores", is_flag=True, help="For csv: print every row again, with its anomaly score from 0 to 1.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it too: FILE.png or FILE.svg.")
@click.option("--time", metavar="COLUMN", help="For csv: the column of the time; by default it is known by its name.")
@click.option("--device", metavar="COLUMN", help="For csv: the column that names the device, where there are several.")
@click.option(
    "--time-format",
    metavar="FORM",
    help="What a number counts since 1970: ns, us, ms, s, min, h or d; or a pattern such as %d/%m/%Y. By default it"
    " shows.",
)
@click.option("--sort", is_flag=True, help="Read all of FILE first, and judge it in the order of time.")
def detect(
    *,
    file: Path,
    format_: str | None,
    profile: str | None,
    scores: bool,
    plot: Path | None,
    time: str | None,
    device: str | None,
    time_format: str | None,
    sort: bool,
) -> None:
    """Find trouble in your own data, without a database.

    Reads FILE, or standard input: lines of {"device", "ts", "metrics"} in the order of time, or a CSV with a column of
    times and one or more of values; packed by gzip or not. Writes alarm events as lines of JSON, each as soon as it is
    decided.
    """
    is_csv = (format_ or ("csv" if _suffix(file) in CSV else "ndjson")) == "csv"
    _check(scores=scores, is_csv=is_csv, sort=sort, plot=plot, profile=profile, columns=time or device)
    name, instants = device_of(file) if str(file) != "-" else "stdin", Instants(time_format)
    album = None if plot is None else Album()
    table = Table(Asked(name, time, device), instants)
    if scores:
        reader: _Reader = _ScoredRows(table)
    else:
        stream = Stream(_find_profile(profile), DetectSettings(silence_grace=0.0, decline_early=EARLY_S))
        judge = _Judge(stream, album, sort=sort)
        reader = _Rows(table, judge) if is_csv else _Lines(instants, judge)
    with click.open_file(str(file), "rb") as source:
        faults = _read_all(reader, cast("BinaryIO", source))
    if album is not None and plot is not None:
        save(album.sheet(file.name if str(file) != "-" else "standard input"), plot)
    if faults:
        sys.exit(1)


def _suffix(file: Path) -> str:
    return (file.with_suffix("") if file.suffix.lower() == ".gz" else file).suffix.lower()


def _check(
    *, scores: bool, is_csv: bool, sort: bool, plot: Path | None, profile: str | None, columns: str | None
) -> None:
    """Refuse options that do not go together."""
    if scores and not is_csv:
        raise click.UsageError("--scores needs --format csv")
    if columns is not None and not is_csv:
        raise click.UsageError("--time and --device name columns, and need --format csv")
    if scores and plot is not None:
        raise click.UsageError("--plot draws alarms, and --scores raises none")
    if scores and profile is not None:
        raise click.UsageError("--scores does not go with --profile: scores mean the same on every series")
    if scores and sort:
        raise click.UsageError("--scores gives rows back as they come, and does not go with --sort")
    if plot is not None:
        check_name(plot)


def _find_profile(name: str | None) -> Profile:
    if name is None:
        return AUTOMATIC
    if name.endswith(".toml") or os.sep in name:
        return read_profile(name, Path(name))
    profiles = load_profiles()
    if name not in profiles:
        raise click.BadParameter(
            f"no product model {name!r}; there are {', '.join(sorted(profiles))}", param_hint="--profile"
        )
    return profiles[name]


class _Reader(Protocol):
    """Takes lines and prints what comes of them."""

    def take(self, chunk: Numbered) -> Sequence[BadLine]:
        """Those that could not be read."""
        ...

    def end(self) -> None:
        """Nothing more comes."""
        ...

    def take_notes(self) -> list[str]:
        """What is to be said of how the lines are read."""
        ...


def _read_all(reader: _Reader, source: BinaryIO) -> int:
    """Read to the end; how many lines could not be read."""
    faults = 0
    for chunk in read_chunks(source):
        found = reader.take(chunk)
        for fault in found[: max(0, MOST_FAULTS - faults)]:
            click.echo(str(fault), err=True)
        faults += len(found)
        _say(reader.take_notes())
    reader.end()
    if faults > MOST_FAULTS:
        click.echo(f"{faults - MOST_FAULTS:,} further lines could not be read", err=True)
    _say(reader.take_notes())
    return faults


def _say(notes: Sequence[str]) -> None:
    for text in notes:
        click.echo(f"note: {text}", err=True)


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


class _Judge:
    """Judges lines and prints what they decide; for a picture, keeps both."""

    def __init__(self, stream: Stream, album: Album | None, *, sort: bool) -> None:
        self._stream = stream
        self._album = album
        self._kept: list[Line] | None = [] if sort else None
        self._newest_s: dict[str, float] = {}
        self._late = 0
        self._lines = 0

    def take(self, lines: Sequence[Line]) -> None:
        """Judge lines, or keep them until all are there."""
        self._lines += len(lines)
        if self._kept is not None:
            self._kept += lines
            return
        for line in lines:
            newest_s = self._newest_s.get(line.device, line.ts_s)
            self._late += line.ts_s < newest_s
            self._newest_s[line.device] = max(newest_s, line.ts_s)
        self._judge(lines)

    def end(self) -> list[str]:
        """Judge what was kept; what is to be said at the end."""
        if self._kept is not None:
            self._judge(sorted(self._kept, key=lambda line: line.ts_s))
        if not self._lines:
            return [EMPTY]
        if not self._late:
            return []
        late = f"{self._late:,} of {self._lines:,} lines are older than one of the same device before them"
        return [f"{late}, and were judged as late; `--sort` judges in the order of time"]

    def _judge(self, lines: Sequence[Line]) -> None:
        changes = self._stream.take(lines)
        if changes:
            _write(b"".join(say_line(change) + b"\n" for change in changes))
        if self._album is not None:
            self._album.read(lines)
            self._album.tell(changes)


class _Lines:
    """NDJSON in, alarm events out."""

    def __init__(self, instants: Instants, judge: _Judge) -> None:
        self._instants = instants
        self._judge = judge
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
            except BadLine as error:
                faults.append(BadLine(f"line {number}: {error}"))
        self._judge.take(lines)
        return faults

    def end(self) -> None:
        """Judge what was kept."""
        self._last = self._judge.end()

    def take_notes(self) -> list[str]:
        """What is to be said of how the lines are read."""
        notes, self._last = [*self._instants.take_notes(), *self._last], []
        return notes


class _Rows:
    """CSV in, alarm events out: each column a metric."""

    def __init__(self, table: Table, judge: _Judge) -> None:
        self._judge = judge
        self._table = table
        self._last: list[str] = []

    def take(self, chunk: Numbered) -> Sequence[BadLine]:
        """Judge rows, print what they decide; gives the rows that could not be read."""
        found = list(self._table.rows(chunk))
        self._judge.take([row.line for row in found if row.line is not None])
        return [row.fault for row in found if row.fault is not None]

    def end(self) -> None:
        """Judge what was kept."""
        self._last = self._judge.end()

    def take_notes(self) -> list[str]:
        """What is to be said of how the rows are read."""
        notes, self._last = [*self._table.take_notes(), *self._last], []
        return notes


class _ScoredRows:
    """CSV in, the same rows with their scores out; a row of several values has the highest of their scores."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._scorers: dict[tuple[str, str], Scorer] = {}
        self._is_begun = False
        self._has_rows = False
        self._last: list[str] = []

    def take(self, chunk: Numbered) -> Sequence[BadLine]:
        """Score rows and print them again, all of them; gives the faults of those that could not be read."""
        rows = list(self._table.rows(chunk))
        columns = self._table.columns
        if columns is None:
            return []
        kept = [columns.time, columns.metrics[0][0]] if columns.is_single else None
        mark = self._table.separator
        lines = [_joined([*_kept(row.cells, kept), f"{self._score(row):.6f}"], mark) for row in rows]
        if not self._is_begun:
            header = SINGLE if columns.is_single else self._table.header
            lines.insert(0, _joined([*header, "anomaly_score"], mark))
            self._is_begun = True
        self._has_rows = self._has_rows or bool(rows)
        _write("".join(lines).encode())
        return [row.fault for row in rows if row.fault is not None]

    def _score(self, row: TableRow) -> float:
        line = row.line
        if line is None:
            return 0.0
        return max((self._score_one(line, name, number) for name, number in line.metrics.items()), default=0.0)

    def _score_one(self, line: Line, name: str, number: float) -> float:
        scorer = self._scorers.get((line.device, name))
        if scorer is None:
            scorer = self._scorers[line.device, name] = Scorer()
        return scorer.score(Row(line.ts_s, number))

    def end(self) -> None:
        """Every row was printed as it came."""
        if not self._has_rows:
            self._last = [EMPTY]

    def take_notes(self) -> list[str]:
        """What is to be said of how the rows are read."""
        notes, self._last = [*self._table.take_notes(), *self._last], []
        return notes


def _kept(cells: Sequence[str], kept: Sequence[int] | None) -> list[str]:
    return list(cells) if kept is None else [cells[at] if at < len(cells) else "" for at in kept]


def _joined(cells: Sequence[str], mark: str) -> str:
    return mark.join(_quote(cell, mark) for cell in cells) + "\n"


def _quote(text: str, mark: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in (mark, '"', "\n")) else text
