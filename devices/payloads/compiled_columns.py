"""JSON readings of one product model: plain ones by the compiled loop, the others as `json_columns.py` does."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from devices.payloads.columnar import ColumnDecoder, ReadingColumns
from devices.payloads.json_columns import PLAIN_NAME
from devices.payloads.native import MOST_METRICS, MakeReader, Rows


def can_read(metrics: Sequence[str]) -> bool:
    """Whether there are not too many columns for the loop."""
    return 0 < len(metrics) <= MOST_METRICS


class CompiledColumns:
    """Decodes JSON payloads whose metrics are all known."""

    def __init__(self, metrics: Sequence[str], make: MakeReader, others: ColumnDecoder) -> None:
        """`metrics` are the columns, in their order; `others` decodes what is not plain."""
        is_plain = [name.isascii() and PLAIN_NAME.fullmatch(name) is not None for name in metrics]
        self._read = make([name if plain else "" for name, plain in zip(metrics, is_plain, strict=True)])
        self._others = others

    def decode(self, payloads: Sequence[bytes]) -> ReadingColumns:
        """Decode payloads, or leave them."""
        text = b"".join(payloads)
        ends = np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)))
        rows = self._read(text, ends)
        if rows.read == len(payloads):
            return _columns_of(rows, text)
        left = np.flatnonzero(~rows.is_read).astype(np.int32)
        others = self._others.decode([payloads[number] for number in left.tolist()])
        return _merge(_columns_of(rows, text), np.flatnonzero(rows.is_read), others, left)


def _columns_of(rows: Rows, text: bytes) -> ReadingColumns:
    count = len(rows.ts_us)
    told = np.flatnonzero(rows.firmware[:, 1] * rows.is_read)
    places: list[tuple[int, int]] = rows.firmware[told].tolist()
    return ReadingColumns(
        payload=np.arange(count, dtype=np.int32),
        element=np.zeros(count, np.int32),
        ts_us=rows.ts_us,
        seq=rows.seq,
        firmware={
            position: text[at : at + size].decode() for position, (at, size) in zip(told.tolist(), places, strict=True)
        },
        values=rows.values,
        left=(),
    )


def _merge(
    ours: ReadingColumns, read: NDArray[np.intp], others: ReadingColumns, left: NDArray[np.int32]
) -> ReadingColumns:
    """Some rows of ours and all of the others, whose payloads are numbered as in `left`, by payload."""
    payload = np.concatenate([read.astype(np.int32), left[others.payload]])
    order = np.argsort(payload, kind="stable")
    position = np.empty(len(order), np.intp)
    position[order] = np.arange(len(order))
    was = np.zeros(len(ours.payload), np.intp)  # a row of ours among those that were read
    was[read] = np.arange(len(read))
    firmware = chain(
        ((int(position[was[at]]), text) for at, text in ours.firmware.items()),
        ((int(position[len(read) + at]), text) for at, text in others.firmware.items()),
    )
    return ReadingColumns(
        payload=payload[order],
        element=np.concatenate([ours.element[read], others.element])[order],
        ts_us=np.concatenate([ours.ts_us[read], others.ts_us])[order],
        seq=np.concatenate([ours.seq[read], others.seq])[order],
        firmware=dict(sorted(firmware)),
        values=np.concatenate([ours.values[read], others.values])[order],
        left=left[np.asarray(others.left, np.intp)].tolist(),
    )
