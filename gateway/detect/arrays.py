"""Names for the array types that detectors pass around."""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Shorts = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def address_of(array: npt.NDArray[Any]) -> int:
    """Where a contiguous array is, in a fifth of the time that `array.ctypes.data` takes to tell."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # pyright: ignore[reportArgumentType]  # numpy says so from Python 3.12 on
    except (TypeError, ValueError):  # it is read-only, or empty
        return array.ctypes.data
