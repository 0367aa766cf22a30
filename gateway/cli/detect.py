"""`careloop detect`: the detectors on your own data, without a database."""

import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import click

from devices.profiles import AUTOMATIC, load_profiles, read_profile
from devices.profiles.model import Profile
from gateway.detect.lines import BadLine, Line, Row, parse_line, parse_row, say_line
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Scorer, Stream
from gateway.pictures.album import Album
from gateway.pictures.canvas import check_name, save

CHUNK_BYTES: Final = 1 << 18
EARLY_S: Final = 6 * 3600.0  # a file may hold minutes of a machine's life; a gateway's devices stay for years

_Numbered = list[tuple[int, bytes]]


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
def detect(*, file: Path, format_: str | None, profile: str | None, scores: bool, plot: Path | None) -> None:
    """Find trouble in your own data, without a database.

    Reads FILE, or standard input: lines of {"device", "ts", "metrics"} in the order of time, or a CSV with the columns
    timestamp and value. Writes alarm events as lines of JSON, each as soon as it is decided.
    """
    is_csv = (format_ or ("csv" if file.suffix.lower() == ".csv" else "ndjson")) == "csv"
    if scores and not is_csv:
        raise click.UsageError("--scores needs --format csv")
    if scores and plot is not None:
        raise click.UsageError("--plot draws alarms, and --scores raises none")
    if scores and profile is not None:
        raise click.UsageError("--scores does not go with --profile: scores mean the same on every series")
    if plot is not None:
        check_name(plot)
    album = None if plot is None else Album()
    if scores:
        take: Callable[[_Numbered], list[BadLine]] = _ScoredRows().take
    else:
        stream = Stream(_find_profile(profile), DetectSettings(silence_grace=0.0, decline_early=EARLY_S))
        device = file.stem if str(file) != "-" else "stdin"
        take = _Rows(stream, device, album).take if is_csv else _Lines(stream, album).take
    with click.open_file(str(file), "rb") as source:
        faults = 0
        for chunk in _chunks(cast("BinaryIO", source)):
            for fault in take(chunk):
                click.echo(str(fault), err=True)
                faults += 1
    if album is not None and plot is not None:
        save(album.sheet(file.name if str(file) != "-" else "standard input"), plot)
    if faults:
        sys.exit(1)


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


def _chunks(source: BinaryIO) -> Iterator[_Numbered]:
    """Lines with their numbers, as many at a time as are there: a pipe is read as it fills."""
    number, rest = 0, b""
    read = getattr(source, "read1", source.read)
    while data := read(CHUNK_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        yield [(number + at, line) for at, line in enumerate(whole, 1)]
        number += len(whole)
    if rest:
        yield [(number + 1, rest)]


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _judge(stream: Stream, lines: Sequence[Line], album: Album | None) -> None:
    """Judge lines and print what they decide; for a picture, keep both."""
    changes = stream.take(lines)
    if changes:
        _write(b"".join(say_line(change) + b"\n" for change in changes))
    if album is not None:
        album.read(lines)
        album.tell(changes)


class _Lines:
    """NDJSON in, alarm events out."""

    def __init__(self, stream: Stream, album: Album | None) -> None:
        self._stream = stream
        self._album = album

    def take(self, chunk: _Numbered) -> list[BadLine]:
        """Judge lines, print what they decide; gives the lines that could not be read."""
        lines: list[Line] = []
        faults: list[BadLine] = []
        for number, text in chunk:
            try:
                if text.strip():
                    lines.append(parse_line(text))
            except BadLine as error:
                faults.append(BadLine(f"line {number}: {error}"))
        _judge(self._stream, lines, self._album)
        return faults


@dataclass(frozen=True, slots=True)
class _BadRow:
    timestamp: str
    value: str
    fault: BadLine


class _Table:
    """CSV with a header that names the columns timestamp and value."""

    def __init__(self) -> None:
        self._columns: tuple[int, int] | None = None

    def rows(self, chunk: _Numbered) -> Iterator[Row | _BadRow]:
        """Each row, or what it was and why it could not be read."""
        for number, raw in chunk:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r")
            if not text.strip():
                continue
            cells = _cells(text)
            if self._columns is None:
                names = [cell.strip().lower() for cell in cells]
                if not {"timestamp", "value"} <= set(names):
                    raise click.ClickException(
                        f"line {number}: the columns timestamp and value are needed, not {text!r}"
                    )
                self._columns = names.index("timestamp"), names.index("value")
                continue
            try:
                yield parse_row(cells, *self._columns)
            except BadLine as error:
                timestamp, value = (cells[at] if at < len(cells) else "" for at in self._columns)
                yield _BadRow(timestamp, value, BadLine(f"line {number}: {error}"))


def _cells(text: str) -> list[str]:
    """The cells of a line; none where it is no line of a table, as in a file that is packed."""
    try:
        return next(csv.reader([text]))
    except csv.Error:
        return []


class _Rows:
    """CSV in, alarm events out: one device with one metric."""

    def __init__(self, stream: Stream, device: str, album: Album | None) -> None:
        self._stream = stream
        self._album = album
        self._device = device
        self._table = _Table()

    def take(self, chunk: _Numbered) -> list[BadLine]:
        """Judge rows, print what they decide; gives the rows that could not be read."""
        found = list(self._table.rows(chunk))
        rows = [row for row in found if isinstance(row, Row)]
        _judge(self._stream, [Line(self._device, row.ts_s, {"value": row.number}) for row in rows], self._album)
        return [row.fault for row in found if isinstance(row, _BadRow)]


class _ScoredRows:
    """CSV in, the same rows with their scores out."""

    def __init__(self) -> None:
        self._table = _Table()
        self._scorer = Scorer()
        self._is_begun = False

    def take(self, chunk: _Numbered) -> list[BadLine]:
        """Score rows and print them again, all of them; gives the faults of those that could not be read."""
        faults: list[BadLine] = []
        out: list[str] = []
        for row in self._table.rows(chunk):
            if isinstance(row, _BadRow):
                faults.append(row.fault)
            score = 0.0 if isinstance(row, _BadRow) else self._scorer.score(row)
            out.append(f"{_quote(row.timestamp)},{_quote(row.value)},{score:.6f}\n")
        if not self._is_begun:
            out.insert(0, "timestamp,value,anomaly_score\n")
            self._is_begun = True
        _write("".join(out).encode())
        return faults


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text
