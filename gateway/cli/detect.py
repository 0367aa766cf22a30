"""`careloop detect`: the detectors on your own data, without a database."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

import click

from devices.profiles import AUTOMATIC, load_profiles, read_profile
from devices.profiles.model import Profile
from gateway.cli.detect_lines import Judge, JudgedLines, JudgedRows, Reader, ScoredRows
from gateway.detect.columns import Asked
from gateway.detect.instants import Instants
from gateway.detect.lines import BadLine
from gateway.detect.opened import Numbered, read_chunks
from gateway.detect.records import RecordTable, looks_like_table, open_records
from gateway.detect.settings import DetectSettings
from gateway.detect.stream import Stream
from gateway.detect.tables import Table, device_of
from gateway.pictures.album import Album
from gateway.pictures.canvas import check_name, save

# A file may hold minutes of a machine's life, a gateway's devices stay for years; in longer, a day's rhythm drifts.
EARLY_S: Final = 2 * 3600.0
SETTINGS: Final = DetectSettings(silence_grace=0.0, decline_early=EARLY_S, whole_rows=True, rows_warm_up=0.0)
MOST_FAULTS: Final = 20
"""Lines that cannot be read which are named; of further ones it is said how many there are."""
CSV: Final = frozenset({".csv", ".tsv"})
JSON: Final = frozenset({".ndjson", ".jsonl", ".json"})


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ndjson", "csv"]),
    help="What FILE holds; by default what its name ends in says, or how it begins; ndjson may be an array of objects,"
    " too.",
)
@click.option("--profile", help="Product model, or a profile's TOML file; by default everything is learnt.")
@click.option("--scores", is_flag=True, help="Of a table: print every row again, with its anomaly score from 0 to 1.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it too: FILE.png or FILE.svg.")
@click.option(
    "--time",
    metavar="COLUMN",
    help="Of a table: the column of the time; by default its name or a date in it shows. `-`: none, row after row.",
)
@click.option(
    "--device",
    metavar="COLUMN",
    help="Of a table: the column that names the device, where there are several; by default it shows. `-`: none.",
)
@click.option(
    "--no-header",
    is_flag=True,
    help="For csv: the first line is a row; COLUMN is a number, from 1. By default it shows.",
)
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
    no_header: bool,
    time_format: str | None,
    sort: bool,
) -> None:
    """Find trouble in your own data, without a database.

    Reads FILE, or standard input: lines of {"device", "ts", "metrics"} in the order of time, or a table, as CSV or as
    JSON with an object a row, with a column of times and one or more of values; packed by gzip or not. Writes alarm
    events as lines of JSON, each as soon as it is decided.
    """
    is_csv = _is_csv(file) if format_ is None else format_ == "csv"
    _check(scores=scores, is_csv=is_csv, sort=sort, plot=plot, profile=profile, no_header=no_header)
    name, instants = device_of(file) if str(file) != "-" else "stdin", Instants(time_format)
    album = None if plot is None else Album()
    asked = Asked(name, time, device, has_header=False if no_header else None)
    with click.open_file(str(file), "rb") as source:
        chunks = read_chunks(cast("BinaryIO", source))
        if is_csv is None:
            is_csv, chunks = (True, chunks) if no_header else looks_like_table(chunks)
        table, each, chunks = _open_table(chunks, asked, instants, is_csv=is_csv)
        if scores:
            reader: Reader = ScoredRows(_must_be(table, "--scores gives back the rows"))
        else:
            judge = Judge(Stream(_find_profile(profile), SETTINGS), album, sort=sort)
            reader = JudgedLines(instants, judge, each) if table is None else JudgedRows(table, judge)
        if time is not None or device is not None:
            _must_be(table, "--time and --device name columns")
        faults = _read_all(reader, chunks)
    if album is not None and plot is not None:
        save(album.sheet(file.name if str(file) != "-" else "standard input"), plot)
    if faults:
        sys.exit(1)


def _open_table(
    chunks: Iterator[Numbered], asked: Asked, instants: Instants, *, is_csv: bool
) -> tuple[Table | None, str, Iterator[Numbered]]:
    """The table that there is, if it is one; what each of its rows, or each line, is called; and the lines for it."""
    if is_csv:
        return Table(asked, instants), "line", chunks
    are_rows, each, chunks = open_records(chunks)
    return (RecordTable(asked, instants, each) if are_rows else None), each, chunks


def _must_be(table: Table | None, what: str) -> Table:
    if table is None:
        raise click.UsageError(f"{what} of a table, and this is none; a CSV needs --format csv")
    return table


def _is_csv(file: Path) -> bool | None:
    """Whether a file is a table by its name; None where that says nothing, as of standard input."""
    suffix = (file.with_suffix("") if file.suffix.lower() == ".gz" else file).suffix.lower()
    return suffix in CSV if suffix in CSV | JSON else None


def _check(
    *, scores: bool, is_csv: bool | None, sort: bool, plot: Path | None, profile: str | None, no_header: bool
) -> None:
    """Refuse options that do not go together."""
    if no_header and is_csv is False:
        raise click.UsageError("--no-header is of a table, and needs --format csv")
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


def _read_all(reader: Reader, chunks: Iterator[Numbered]) -> int:
    """Read to the end; how many lines could not be read."""
    faults = 0
    for chunk in chunks:
        faults = _name(reader.take(chunk), faults)
        _say(reader.take_notes())
    faults = _name(reader.end(), faults)
    if faults > MOST_FAULTS:
        click.echo(f"{faults - MOST_FAULTS:,} further lines could not be read", err=True)
    _say(reader.take_notes())
    return faults


def _name(found: Sequence[BadLine], before: int) -> int:
    """Name those that could not be read, but not all of very many; how many there are by now."""
    for fault in found[: max(0, MOST_FAULTS - before)]:
        click.echo(str(fault), err=True)
    return before + len(found)


def _say(notes: Sequence[str]) -> None:
    for text in notes:
        click.echo(f"note: {' '.join(text.splitlines())}", err=True)  # names of columns may hold ends of lines
