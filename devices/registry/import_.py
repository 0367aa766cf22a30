"""Devices, assets, owners and grants from a file: CSV, or JSON of the same fields. See docs/registry.md."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, cast

from pydantic import ValidationError

from devices.errors import ConfigError, Fault
from devices.registry.entries import Entered, enter
from devices.registry.queries import Connection
from devices.registry.records import COLUMNS, DeviceRecord, OwnerRecord, nest

ImportReport = Entered
"""What an import changed."""

CHUNK: Final = 5000  # devices entered at a time


@dataclass(frozen=True, slots=True)
class _Row:
    place: str  # where it stands, for faults
    fields: Mapping[str, object]


async def import_registry(conn: Connection, path: Path, *, at: datetime, tenant_id: str = "default") -> ImportReport:
    """Bring the registry up to the file; importing it again changes nothing. The caller commits.

    `at` is when the hand-overs that the file tells of count as done.

    Raises ConfigError with every fault in the file; then nothing was written.
    """
    return await enter_records(conn, read_records(path), at=at, tenant_id=tenant_id)


async def enter_records(
    conn: Connection, records: Sequence[DeviceRecord], *, at: datetime, tenant_id: str
) -> ImportReport:
    """Bring the registry up to records that a file said."""
    report = Entered()
    for start in range(0, len(records), CHUNK):
        report += await enter(conn, records[start : start + CHUNK], tenant_id=tenant_id, source="import", at=at)
    return report


def read_records(path: Path) -> list[DeviceRecord]:
    """The devices of a file. Raises ConfigError with every fault in it, each with its line or place."""
    faults: list[Fault] = []
    records: list[DeviceRecord] = []
    places: list[str] = []
    for row in _rows(path, faults):
        try:
            records.append(DeviceRecord.model_validate(row.fields))
        except ValidationError as error:
            faults.extend(_faults(row.place, error))
        else:
            places.append(row.place)
    faults.extend(_twice(records, places))
    faults.extend(_disagreeing_owners(records, places))
    faults.extend(_disagreeing_grants(records, places))
    if faults:
        raise ConfigError(faults)
    return records


def _rows(path: Path, faults: list[Fault]) -> Iterator[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets like to write a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        why = str(getattr(error, "strerror", None) or error)
        raise ConfigError([Fault(str(path), why, "a readable file in UTF-8")]) from error
    match path.suffix.lower():
        case ".json":
            return _json_rows(path.name, text, faults)
        case ".csv":
            return _csv_rows(path.name, text, faults)
        case other:
            raise ConfigError([Fault(str(path), other or "no suffix", "a file named *.csv or *.json")])


def _json_rows(name: str, text: str, faults: list[Fault]) -> Iterator[_Row]:
    try:
        found: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError([Fault(name, str(error), "JSON")]) from error
    devices = cast("dict[str, object]", found).get("devices") if isinstance(found, dict) else None
    if not isinstance(devices, list):
        raise ConfigError([Fault(name, "no list named devices", '{"devices": [{"device_id": …}, …]}')])
    for number, fields in enumerate(cast("list[object]", devices)):
        place = f"{name} devices[{number}]"
        if isinstance(fields, dict):
            yield _Row(place, cast("dict[str, object]", fields))
        else:
            faults.append(Fault(place, type(fields).__name__, "an object"))


def _csv_rows(name: str, text: str, faults: list[Fault]) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        nothing: list[str] = []
        first = next(reader, nothing)
        header = [column.strip() for column in first]
        faults.extend(_header_faults(name, header))
        if faults:
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"{name} line {reader.line_num}"
            if len(cells) != len(header):
                faults.append(Fault(place, f"{len(cells)} cells", f"{len(header)} cells, as in the header"))
                continue
            try:
                yield _Row(place, nest(dict(zip(header, cells, strict=True))))
            except ValueError as error:
                faults.append(Fault(f"{place} grants", "another form", str(error)))
    except csv.Error as error:
        faults.append(Fault(f"{name} line {reader.line_num}", str(error), "CSV"))


def _header_faults(name: str, header: Sequence[str]) -> Iterator[Fault]:
    allowed = ", ".join(sorted(COLUMNS))
    for column in header:
        if column not in COLUMNS:
            yield Fault(f"{name} line 1", f"a column named {column!r}", allowed)
        elif header.count(column) > 1:
            yield Fault(f"{name} line 1", f"two columns named {column!r}", "each column once")
    if "device_id" not in header:
        yield Fault(f"{name} line 1", "no column named device_id", allowed)


def _faults(place: str, error: ValidationError) -> Iterator[Fault]:
    for fault in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in fault["loc"])
        found = "nothing" if fault["type"] == "missing" else repr(fault["input"])
        if field in {"password", ""}:  # of the record as a whole, which holds the password, only the place is told
            found = "what stands there"
        allowed = fault["msg"].removeprefix("Value error, ")
        yield Fault(f"{place} {field}".rstrip(), found, allowed)


def _twice(records: Sequence[DeviceRecord], places: Sequence[str]) -> Iterator[Fault]:
    seen: dict[tuple[str, str], str] = {}
    for record, place in zip(records, places, strict=True):
        for field, name in (("device_id", record.device_id), ("asset_id", record.asset.asset_id)):
            if name is None:
                continue
            first = seen.setdefault((field, name), place)
            if first is not place:
                yield Fault(f"{place} {field}", f"{name!r} again", f"each only once; the first is at {first}")


def _disagreeing_owners(records: Sequence[DeviceRecord], places: Sequence[str]) -> Iterator[Fault]:
    known: dict[tuple[str, str], tuple[str, str]] = {}  # (owner, field) -> (value, place)
    for record, place in zip(records, places, strict=True):
        if record.owner is None:
            continue
        for field in OwnerRecord.model_fields:
            value = cast("str | None", getattr(record.owner, field))
            if value is None:
                continue
            first, where = known.setdefault((record.owner.owner_ref, field), (value, place))
            if first != value:
                yield Fault(f"{place} owner.{field}", repr(value), f"{first!r}, as the same owner has at {where}")


def _disagreeing_grants(records: Sequence[DeviceRecord], places: Sequence[str]) -> Iterator[Fault]:
    known: dict[tuple[str, str, str], tuple[str, str]] = {}  # (owner, purpose, recipient) -> (state, place)
    for record, place in zip(records, places, strict=True):
        if record.owner is None:
            continue
        for grant in record.grants:
            key = (record.owner.owner_ref, grant.purpose, grant.recipient)
            first, where = known.setdefault(key, (grant.state, place))
            if first != grant.state:
                found = f"{grant.purpose}:{grant.recipient}={grant.state}"
                yield Fault(f"{place} grants", found, f"{first!r}, as the same owner has at {where}")
