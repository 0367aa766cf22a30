"""What a payload codec may offer beside decoding payloads one by one: many at once, straight into columns.

A gateway that takes a hundred thousand readings a second cannot make objects of each. A codec that offers nothing here
works as well, only more slowly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ABSENT: Final = -1
"""Stands for a `ts` or `seq` that a payload does not tell; told ones are 0 or more."""


@dataclass(frozen=True, slots=True)
class ReadingColumns:
    """Readings of many payloads, as columns of length n, in the order of the payloads and of the readings in them.

    `payload`, `element` int32[n] say which payload each is of, and its place there; `ts_us`, `seq` int64[n], ABSENT
    where not told; `firmware` by position, of those that tell one; `values` float64[n, m], a column per metric asked
    for, NaN where absent and never infinite. `left` are the payloads, by their number and in order, that have to be
    decoded one by one: nothing of theirs is in the columns.
    """

    payload: NDArray[np.int32]
    element: NDArray[np.int32]
    ts_us: NDArray[np.int64]
    seq: NDArray[np.int64]
    firmware: Mapping[int, str]
    values: NDArray[np.float64]
    left: Sequence[int]


class ColumnDecoder(Protocol):
    """Decodes payloads whose metrics are among those that it was made for."""

    def decode(self, payloads: Sequence[bytes]) -> ReadingColumns:
        """Decode payloads, or leave them; what is decoded says exactly what `decode_readings` would have said.

        A payload in which anything is wrong, or that tells a metric not asked for, is left. It never raises.
        """
        ...


@runtime_checkable
class ColumnCodec(Protocol):
    """A codec that can decode many payloads at once."""

    def column_decoder(self, metrics: Sequence[str]) -> ColumnDecoder:
        """A decoder that puts these metrics into columns, in this order."""
        ...
