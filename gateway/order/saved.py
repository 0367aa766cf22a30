"""What is known of devices' numbers and clocks as bytes, and back."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.order.tracker import Arrivals, Odd, Tracker

VERSION: Final = 1
_COLUMNS: Final = ("low", "next", "base", "since_us", "newest_us", "missing", "has_puzzles")


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    """One partition: a column of numbers per field, and what is odd by place in `ids`."""

    ids: list[str]
    columns: dict[str, bytes]
    odd: dict[int, Odd]


class _Told(msgspec.Struct, frozen=True, array_like=True):
    """Messages that were not stored for themselves."""

    ids: list[str]
    device: bytes
    seq: bytes
    ts_us: bytes
    received_us: bytes
    completes: bytes


def odd_by_partition(tracker: Tracker) -> dict[int, list[int]]:
    """The slots of which something odd is known, by partition."""
    found: dict[int, list[int]] = {}
    for slot in tracker.odd:
        found.setdefault(int(tracker.partitions[slot]), []).append(slot)
    return found


def save_partition(tracker: Tracker, partition: int, odd: Sequence[int]) -> bytes:
    """All that is known of a partition's devices; `odd` are the slots of which something odd is known."""
    slots = np.flatnonzero(tracker.partitions[: len(tracker.ids)] == partition)
    columns: dict[str, npt.NDArray[Any]] = {name: getattr(tracker, name) for name in _COLUMNS}
    columns |= tracker.clocks.columns
    return msgspec.msgpack.encode(
        _Saved(
            ids=[tracker.ids[slot] for slot in slots.tolist()],
            columns={name: column[slots].tobytes() for name, column in columns.items()},
            odd={int(np.searchsorted(slots, slot)): tracker.odd[slot] for slot in odd},
        )
    )


def load_partition(tracker: Tracker, state: bytes) -> None:
    """Take over what `save_partition` gave, beside what is there."""
    saved = msgspec.msgpack.decode(state, type=_Saved)
    slots = tracker.enrol(saved.ids)
    columns: dict[str, npt.NDArray[Any]] = {name: getattr(tracker, name) for name in _COLUMNS}
    columns |= tracker.clocks.columns
    for name, column in columns.items():
        if name in saved.columns:
            column[slots] = np.frombuffer(saved.columns[name], column.dtype)
    for place, odd in saved.odd.items():
        tracker.odd[int(slots[place])] = odd


def save_aside(arrivals: Arrivals, completes: npt.NDArray[np.bool_]) -> bytes:
    """Messages that were not stored for themselves."""
    return msgspec.msgpack.encode(
        _Told(
            ids=list(arrivals.device_ids),
            device=arrivals.device.tobytes(),
            seq=arrivals.seq.tobytes(),
            ts_us=arrivals.ts_us.tobytes(),
            received_us=arrivals.received_us.tobytes(),
            completes=completes.tobytes(),
        )
    )


def load_aside(told: bytes) -> tuple[Arrivals, npt.NDArray[np.bool_]]:
    """What `save_aside` was given."""
    saved = msgspec.msgpack.decode(told, type=_Told)
    return (
        Arrivals(
            device_ids=saved.ids,
            device=np.frombuffer(saved.device, np.int32),
            seq=np.frombuffer(saved.seq, np.int64),
            ts_us=np.frombuffer(saved.ts_us, np.int64),
            received_us=np.frombuffer(saved.received_us, np.int64),
        ),
        np.frombuffer(saved.completes, np.bool_),
    )


def join(parts: Sequence[tuple[Arrivals, npt.NDArray[np.bool_]]]) -> tuple[Arrivals, npt.NDArray[np.bool_]]:
    """Several lots of messages as one, in their order."""
    index_of: dict[str, int] = {}
    device: list[npt.NDArray[np.int32]] = []
    for arrivals, _ in parts:
        number = [index_of.setdefault(device_id, len(index_of)) for device_id in arrivals.device_ids]
        device.append(np.array(number, np.int32)[arrivals.device])
    return (
        Arrivals(
            device_ids=tuple(index_of),
            device=np.concatenate(device),
            seq=np.concatenate([arrivals.seq for arrivals, _ in parts]),
            ts_us=np.concatenate([arrivals.ts_us for arrivals, _ in parts]),
            received_us=np.concatenate([arrivals.received_us for arrivals, _ in parts]),
        ),
        np.concatenate([completes for _, completes in parts]),
    )
