"""Real data played as devices: each CSV file is one device, each of its lines a reading."""

import base64
import csv
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

import msgspec
import numpy as np

from devices.ids import is_device_id
from simulators.fleet.habits import Span
from simulators.fleet.link import Account
from simulators.fleet.network import Act
from simulators.fleet.packets import Packet, telemetry
from simulators.fleet.playable import DeviceErrand

MOST_IN_PACKET: Final = 100
_METRIC: Final = re.compile(r"[^A-Za-z0-9_]+")


class UnreadableSeries(Exception):
    """A file is not a series: which line, and why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a series."""

    ts_ms: int
    metrics: dict[str, float]


@dataclass(slots=True)
class Series:
    """A file's readings in the order of its lines, as one device."""

    device_id: str
    lines: list[Line]
    secret: str | None = None
    next_line: int = 0

    @property
    def start_s(self) -> float:
        """The earliest moment."""
        return min(line.ts_ms for line in self.lines) / 1000

    @property
    def end_s(self) -> float:
        """The latest moment."""
        return max(line.ts_ms for line in self.lines) / 1000

    def give_secret(self, rng: np.random.Generator) -> None:
        """Give the device a secret of its own."""
        self.secret = base64.urlsafe_b64encode(rng.bytes(32)).rstrip(b"=").decode()

    def shifted(self, by_s: float) -> "Series":
        """The same series at another time."""
        by_ms = round(by_s * 1000)
        lines = [Line(line.ts_ms + by_ms, line.metrics) for line in self.lines]
        return Series(self.device_id, lines, self.secret)


def device_id_of(path: Path, prefix: str = "") -> str:
    """A device id made of the file's name."""
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    return (prefix + re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-"))[:64]


def read_series(path: Path, prefix: str = "") -> Series:
    """Read `timestamp,value`, or a timestamp and several columns; empty cells are absent. Raises UnreadableSeries."""
    device_id = device_id_of(path, prefix)
    if not is_device_id(device_id):
        raise UnreadableSeries(f"{path}: no device id can be made of its name")
    try:
        with _opened(path) as file:
            return Series(device_id, list(_lines(path, csv.reader(file))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableSeries(f"{path}: {error}") from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _lines(path: Path, rows: Iterator[list[str]]) -> Iterator[Line]:
    header: list[str] = next(rows, list[str]())
    names = [_METRIC.sub("_", name.strip()) or f"column_{n}" for n, name in enumerate(header[1:], start=1)]
    if not names:
        raise UnreadableSeries(f"{path} line 1: a header of a timestamp and at least one column is needed")
    empty = True
    for number, cells in enumerate(rows, start=2):
        if not cells:
            continue
        try:
            metrics = {name: float(cell) for name, cell in zip(names, cells[1:], strict=True) if cell.strip()}
            yield Line(_instant_ms(cells[0]), metrics)
        except ValueError as error:
            raise UnreadableSeries(f"{path} line {number}: {error}") from error
        empty = False
    if empty:
        raise UnreadableSeries(f"{path}: no line but the header")


def _instant_ms(text: str) -> int:
    """Epoch milliseconds of RFC 3339 (UTC where no zone is named), or of epoch seconds or milliseconds."""
    try:
        number = float(text)
    except ValueError:
        instant = datetime.fromisoformat(text.strip())
        return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)
    return round(number if number > 1e11 else number * 1000)


@dataclass(slots=True)
class Playback:
    """Several series as a world that can be driven."""

    series: Sequence[Series]
    span: Span = field(init=False)

    def __post_init__(self) -> None:
        start_s = min(series.start_s for series in self.series)
        end_s = max(series.end_s for series in self.series) + 1.0
        self.span = Span(start_s, (end_s - start_s) / 86400.0)

    @property
    def device_ids(self) -> list[str]:
        """The devices."""
        return [series.device_id for series in self.series]

    @property
    def lines(self) -> int:
        """Readings in all files."""
        return sum(len(series.lines) for series in self.series)

    def accounts(self) -> list[Account]:
        """Who connects."""
        return [Account(series.device_id, series.secret) for series in self.series]

    def errands_until(self, end_s: float) -> Iterator[DeviceErrand]:
        """Lines up to `end_s`, in the order of each file; a line behind a later one goes with it."""
        end_ms = end_s * 1000
        for series in self.series:
            first = series.next_line
            if first == 0:
                yield DeviceErrand(series.device_id, Act.CONNECT)
            while series.next_line < len(series.lines) and series.lines[series.next_line].ts_ms < end_ms:
                series.next_line += 1
            for begin in range(first, series.next_line, MOST_IN_PACKET):
                lines = series.lines[begin : min(begin + MOST_IN_PACKET, series.next_line)]
                yield DeviceErrand(series.device_id, Act.SEND, _packet(series.device_id, lines))


def _packet(device_id: str, lines: Sequence[Line]) -> Packet:
    elements = [msgspec.json.encode({"ts": line.ts_ms, "metrics": line.metrics}) for line in lines]
    return telemetry(device_id, elements, np.array([line.ts_ms for line in lines], dtype=np.int64))


def write_playback_registry(playback: Playback, path: Path) -> None:
    """The registry file of devices without a profile; it holds their secrets, so only its owner may read it."""
    devices = [
        {"device_id": series.device_id, "password": series.secret, "generated": True} for series in playback.series
    ]
    path.touch(mode=0o600)
    path.write_text(json.dumps({"devices": devices}, indent=1), encoding="utf-8")
