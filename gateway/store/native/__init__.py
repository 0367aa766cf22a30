"""`binary_copy.py` in C, where it was compiled when careloop was installed."""

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.native_library import open_library
from gateway.store.rows import Readings

FOLDER: Final = Path(__file__).parent
LIBRARY: Final = FOLDER / "rows.so"
_FRAME_BYTES: Final = 21  # before and behind all rows
_ROW_BYTES: Final = 66  # at most, without the device's id and the metrics
_METRIC_BYTES: Final = 12

Encoded = tuple[list[int], memoryview]
EncodeByDevice = Callable[[Readings, int], Encoded]
"""Of readings without `extra`, and a batch's number: which columns are told, and a COPY buffer of those."""


class _Rows(ctypes.Structure):
    """`Rows` of rows.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("order", "device")),
        *(("ids", ctypes.c_char_p), ("id_ends", ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("ts_us", "received_us", "seq", "row", "values", "columns")),
        *((name, ctypes.c_int64) for name in ("count", "width", "told", "batch_seq")),
    )


def load_encoder() -> EncodeByDevice | None:
    """The compiled loops, where they are installed and made of the source beside them."""
    library = open_library(LIBRARY, ctypes.CDLL)
    if library is None:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.order_by_device.argtypes = (pointer, number, number, pointer, pointer)
    library.find_told.argtypes = (pointer, number, number, pointer)
    library.encode_rows.argtypes = (ctypes.POINTER(_Rows), pointer)
    library.encode_rows.restype = number

    def encode(readings: Readings, batch_seq: int) -> Encoded:
        count, width = readings.values.shape
        ids = [device_id.encode() for device_id in readings.device_ids]
        id_ends = np.cumsum([len(each) for each in ids], dtype=np.int64)
        device, values = _whole(readings.device, np.int32), _whole(readings.values, np.float64)
        longs = [_whole(column, np.int64) for column in (readings.ts_us, readings.received_us, readings.seq)]
        row = _whole(readings.row, np.int32)
        order, starts = np.empty(count, np.int64), np.zeros(len(ids) + 1, np.int64)
        library.order_by_device(device.ctypes.data, count, len(ids), starts.ctypes.data, order.ctypes.data)
        is_told = np.zeros(width, np.bool_)
        library.find_told(values.ctypes.data, count, width, is_told.ctypes.data)
        columns = np.flatnonzero(is_told).astype(np.int32)
        out = np.empty(_FRAME_BYTES + count * _row_bytes(ids, len(columns)), np.uint8)
        rows = _Rows(
            *(order.ctypes.data, device.ctypes.data, b"".join(ids), id_ends.ctypes.data),
            *(array.ctypes.data for array in (*longs, row, values, columns)),
            *(count, width, len(columns), batch_seq),
        )
        size = int(library.encode_rows(rows, out.ctypes.data))
        return columns.tolist(), out.data[:size]

    return encode


def _whole(column: NDArray[np.generic], kind: type[np.generic]) -> NDArray[np.generic]:
    """The column as the loops take it: one number after the other."""
    return np.ascontiguousarray(column, kind)


def _row_bytes(ids: Sequence[bytes], metrics: int) -> int:
    """What a row takes at most."""
    return _ROW_BYTES + max(map(len, ids), default=0) + metrics * _METRIC_BYTES
