"""Readings as PostgreSQL's binary COPY format, made by NumPy without a loop over rows.

A row is a count of fields, then each field as a length and that many bytes; an absent value is the length -1 and
nothing more (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"). Every row is first laid out at
full width, then the bytes that a shorter device id or an absent value does not need are cut out.
"""

from collections.abc import Mapping
from typing import Final, LiteralString

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.store.rows import NO_SEQ, Extra, Longs, Readings

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = -1
_PG_EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's timestamps begin
_JSONB_VERSION: Final = b"\x01"

FIXED_COLUMNS: Final = ("device_id", "ts", "received_at", "seq", "batch_seq", "batch_row")
"""Columns before the metrics, in the order of the buffer; `extra` comes last."""


def encode_readings(readings: Readings, batch_seq: int) -> bytes:
    """A COPY buffer for the columns FIXED_COLUMNS, the table's metrics, `extra`."""
    ids = np.array([device_id.encode() for device_id in readings.device_ids], dtype=np.bytes_)
    lengths = np.char.str_len(ids)[readings.device]
    width = int(ids.dtype.itemsize)
    layout = _layout(width, readings.values.shape[1])
    rows = np.zeros(len(readings), dtype=layout)
    rows["fields"] = len(FIXED_COLUMNS) + readings.values.shape[1] + 1
    rows["device_id_length"] = lengths
    rows["device_id"] = ids[readings.device]
    _put(rows, "ts", readings.ts_us - _PG_EPOCH_US)
    _put(rows, "received_at", readings.received_us - _PG_EPOCH_US)
    _put(rows, "seq", readings.seq)
    _put(rows, "batch_seq", np.full(len(readings), batch_seq))
    rows["batch_row_length"] = 4
    rows["batch_row"] = readings.row
    rows["metrics"]["length"] = 8
    rows["metrics"]["value"] = readings.values
    rows["extra_length"] = _NULL

    absent_seq = readings.seq == NO_SEQ
    absent = np.isnan(readings.values)
    rows["seq_length"][absent_seq] = _NULL
    rows["metrics"]["length"][absent] = _NULL
    kept = _kept_bytes(layout, width, lengths, absent_seq, absent)
    return _HEADER + _join(rows, kept, readings.extra) + _TRAILER


def _layout(width: int, metrics: int) -> np.dtype[np.void]:
    metric = np.dtype([("length", ">i4"), ("value", ">f8")])
    return np.dtype(
        [
            ("fields", ">i2"),
            ("device_id_length", ">i4"),
            ("device_id", f"S{width}"),
            *((f"{name}{part}", kind) for name in ("ts", "received_at", "seq", "batch_seq") for part, kind in _LONG),
            ("batch_row_length", ">i4"),
            ("batch_row", ">i4"),
            ("metrics", metric, (metrics,)),
            ("extra_length", ">i4"),
        ]
    )


_LONG: Final = (("_length", ">i4"), ("", ">i8"))


def _put(rows: NDArray[np.void], name: str, values: Longs) -> None:
    rows[f"{name}_length"] = 8
    rows[name] = values


def _kept_bytes(
    layout: np.dtype[np.void],
    width: int,
    lengths: NDArray[np.intp],
    absent_seq: NDArray[np.bool_],
    absent: NDArray[np.bool_],
) -> NDArray[np.bool_] | None:
    """Which bytes of the full-width rows belong into the buffer, bool[n, row width]; None for all of them."""
    is_short = bool((lengths < width).any())
    if not is_short and not absent_seq.any() and not absent.any():
        return None
    kept = np.ones((len(lengths), layout.itemsize), dtype=np.bool_)
    if is_short:
        start = _offset(layout, "device_id")
        kept[:, start : start + width] = np.arange(width) < lengths[:, None]
    start = _offset(layout, "seq")
    kept[absent_seq, start : start + 8] = False
    start, count = _offset(layout, "metrics"), absent.shape[1]
    if count:
        metrics = kept[:, start : start + 12 * count].reshape(len(lengths), count, 12)
        metrics[..., 4:] = ~absent[..., None]
        kept[:, start : start + 12 * count] = metrics.reshape(len(lengths), 12 * count)
    return kept


def _offset(layout: np.dtype[np.void], name: LiteralString) -> int:
    fields = layout.fields
    assert fields is not None
    return fields[name][1]


def _join(rows: NDArray[np.void], kept: NDArray[np.bool_] | None, extra: Mapping[int, Extra]) -> bytes:
    if kept is None and not extra:
        return rows.tobytes()
    flat = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
    if not extra:
        return flat[kept].tobytes()
    sizes = np.full(len(rows), rows.dtype.itemsize) if kept is None else kept.sum(axis=1)
    body = flat.tobytes() if kept is None else flat[kept].tobytes()
    parts: list[bytes] = []
    start = 0
    ends = np.cumsum(sizes).tolist()
    for position in sorted(extra):
        end = ends[position]
        encoded = _JSONB_VERSION + msgspec.json.encode(extra[position])
        parts += (body[start : end - 4], len(encoded).to_bytes(4, "big"), encoded)  # instead of the length -1
        start = end
    parts.append(body[start:])
    return b"".join(parts)
