"""Readings as PostgreSQL's binary COPY format, made by NumPy without a loop over rows.

A row is a count of fields, then each field as a length and that many bytes; an absent value is the length -1 and
nothing more (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"). Every row is first laid out at
full width, from one that has everything in it that is the same in all; then the bytes that a shorter device id or an
absent value does not need are cut out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, LiteralString

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.store.native import Encoded, load_encoder
from gateway.store.rows import NO_SEQ, Extra, Readings

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = -1
_PG_EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's timestamps begin
_JSONB_VERSION: Final = b"\x01"

FIXED_COLUMNS: Final = ("device_id", "ts", "received_at", "seq", "batch_seq", "batch_row")
"""Columns before the metrics, in the order of the buffer; `extra` comes last."""

_LONG: Final = (("_length", ">i4"), ("", ">i8"))
_METRIC: Final = np.dtype([("length", ">i4"), ("value", ">f8")])


Encode = Callable[[Readings, int], Encoded]
"""Of readings and a batch's number: the metrics that any of them tells, and a COPY buffer of FIXED_COLUMNS, those
metrics and `extra`, in which the readings of a device stand one after the other."""


def best_encoder() -> Encode:
    """The compiled loop, where there is one, for what it can encode."""
    compiled = load_encoder()
    if compiled is None:
        return encode_by_device

    def encode(readings: Readings, batch_seq: int) -> Encoded:
        return (encode_by_device if readings.extra else compiled)(readings, batch_seq)

    return encode


def encode_by_device(readings: Readings, batch_seq: int) -> Encoded:
    """Neighbours in the index, and for whoever reads a device's history."""
    device = readings.device
    if not (device[1:] >= device[:-1]).all():
        readings = readings.take(np.argsort(device, kind="stable"))
    told = told_columns(readings)
    return told, memoryview(encode_readings(readings, batch_seq, told))


def told_columns(readings: Readings) -> list[int]:
    """The table's metrics that any of the readings tells; the others need not be in the buffer."""
    return np.flatnonzero(~np.isnan(readings.values).all(axis=0)).tolist()


def encode_readings(readings: Readings, batch_seq: int, columns: Sequence[int] | None = None) -> bytes:
    """A COPY buffer for the columns FIXED_COLUMNS, the table's metrics or those named by `columns`, `extra`."""
    ids = np.array([device_id.encode() for device_id in readings.device_ids], dtype=np.bytes_)
    lengths = np.char.str_len(ids)[readings.device]
    width = int(ids.dtype.itemsize)
    values = readings.values if columns is None else readings.values[:, list(columns)]
    layout = _layout(width, values.shape[1])
    rows = np.empty(len(readings), layout)
    _bytes_of(rows)[:] = np.frombuffer(_model_row(layout, values.shape[1], batch_seq), np.uint8)
    rows["device_id"] = ids[readings.device]
    rows["ts"] = readings.ts_us - _PG_EPOCH_US
    rows["received_at"] = readings.received_us - _PG_EPOCH_US
    rows["seq"] = readings.seq
    rows["batch_row"] = readings.row
    rows["metrics"]["value"] = values
    absent_seq, absent = readings.seq == NO_SEQ, np.isnan(values)
    kept = None
    if (lengths != width).any() or absent_seq.any() or absent.any():
        rows["device_id_length"] = lengths
        rows["seq_length"][absent_seq] = _NULL
        rows["metrics"]["length"][absent] = _NULL
        kept = _kept_bytes(layout, width, lengths, absent_seq, absent)
    return _HEADER + _join(rows, kept, readings.extra) + _TRAILER


def _layout(width: int, metrics: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("fields", ">i2"),
            ("device_id_length", ">i4"),
            ("device_id", f"S{width}"),
            *((f"{name}{part}", kind) for name in ("ts", "received_at", "seq", "batch_seq") for part, kind in _LONG),
            ("batch_row_length", ">i4"),
            ("batch_row", ">i4"),
            ("metrics", _METRIC, (metrics,)),
            ("extra_length", ">i4"),
        ]
    )


def _model_row(layout: np.dtype[np.void], metrics: int, batch_seq: int) -> bytes:
    """A row with everything in it that nearly all rows have."""
    row = np.zeros(1, layout)
    row["fields"] = len(FIXED_COLUMNS) + metrics + 1
    row["device_id_length"] = row["device_id"].dtype.itemsize
    for name in ("ts", "received_at", "seq", "batch_seq"):
        row[f"{name}_length"] = 8
    row["batch_seq"] = batch_seq
    row["batch_row_length"] = 4
    row["metrics"]["length"] = 8
    row["extra_length"] = _NULL
    return row.tobytes()


def _bytes_of(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


def _kept_bytes(
    layout: np.dtype[np.void],
    width: int,
    lengths: NDArray[np.intp],
    absent_seq: NDArray[np.bool_],
    absent: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which bytes of the full-width rows belong into the buffer, bool[n, row width]."""
    kept = np.ones((len(absent), layout.itemsize), dtype=np.bool_)
    start = _offset(layout, "device_id")
    kept[:, start : start + width] = np.arange(width) < lengths[:, None]
    start = _offset(layout, "seq")
    kept[absent_seq, start : start + 8] = False
    start, count = _offset(layout, "metrics"), absent.shape[1]
    if count:
        metrics = kept[:, start : start + 12 * count].reshape(len(absent), count, 12)
        metrics[..., 4:] = ~absent[..., None]
        kept[:, start : start + 12 * count] = metrics.reshape(len(absent), 12 * count)
    return kept


def _offset(layout: np.dtype[np.void], name: LiteralString) -> int:
    fields = layout.fields
    assert fields is not None
    return fields[name][1]


def _join(rows: NDArray[np.void], kept: NDArray[np.bool_] | None, extra: Mapping[int, Extra]) -> bytes:
    if kept is None and not extra:
        return rows.tobytes()
    flat = _bytes_of(rows)
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
