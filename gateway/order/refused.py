"""What can still be read in messages that were refused: a number, which says that they did reach us, and a time."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from devices.errors import QuarantineReason
from devices.payloads.codec import timestamp_us
from gateway.order.tracker import Arrivals
from gateway.store.rows import MAX_TS_US, MIN_TS_US, NO_SEQ, QuarantineRow

_JSON: Final = "json"
_MAX_SEQ: Final = 2**63 - 1
_SEQ: Final = re.compile(rb'"seq"\s*:\s*(\d{1,18})\s*[,}]')
_MOST_RAW: Final = 65_536  # bytes; what is longer is no single message

# Refusals of their own kind: the messages of a conflict are known as readings.
_KNOWN: Final = frozenset({QuarantineReason.CONFLICT, QuarantineReason.UNKNOWN_DEVICE, QuarantineReason.UNKNOWN_TOPIC})


class _Wire(msgspec.Struct):
    seq: object = None
    ts: object = None


_ONE_OR_MANY: Final[msgspec.json.Decoder[list[_Wire] | _Wire]] = msgspec.json.Decoder(list[_Wire] | _Wire)


def read_refused(refused: Sequence[QuarantineRow]) -> tuple[Arrivals, npt.NDArray[np.bool_]] | None:
    """The refused messages of which something can be read; None where there is none."""
    found = [
        (row.device_id, *told, row.received_us)
        for row in refused
        if row.codec == _JSON and row.device_id and row.reason not in _KNOWN and len(row.raw) <= _MOST_RAW
        for told in _read(row.raw, row.received_us)
    ]
    if not found:
        return None
    index_of: dict[str, int] = {}
    device = np.array([index_of.setdefault(row[0], len(index_of)) for row in found], np.int32)
    seq, ts_us, received_us = (np.array([row[n] for row in found], np.int64) for n in (1, 2, 3))
    return Arrivals(tuple(index_of), device, seq, ts_us, received_us), np.zeros(len(found), np.bool_)


def _read(raw: bytes, received_us: int) -> list[tuple[int, int]]:
    """Number and time of each message; one without a time has that of its receipt."""
    try:
        wires = _ONE_OR_MANY.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return [(int(match[1]), received_us) for match in _SEQ.finditer(raw)]
    wires = [wires] if isinstance(wires, _Wire) else wires
    return [(_seq(wire.seq), _ts_us(wire.ts, received_us)) for wire in wires]


def _seq(seq: object) -> int:
    return seq if isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq <= _MAX_SEQ else NO_SEQ


def _ts_us(ts: object, received_us: int) -> int:
    if not isinstance(ts, str | int | float) or isinstance(ts, bool):
        return received_us
    ts_us = timestamp_us(ts)
    return ts_us if ts_us is not None and MIN_TS_US <= ts_us <= MAX_TS_US else received_us
