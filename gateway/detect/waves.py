"""Several samples of one device in one batch, judged exactly as if they had come one by one."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gateway.detect.arrays import Indices


def ranks(key: npt.NDArray[np.integer], distinct: int) -> Indices:
    """For each element, how many equal ones stand before it; `key` is in [0, distinct)."""
    is_short = distinct <= np.iinfo(np.int16).max
    order = np.argsort(key.astype(np.int16) if is_short else key, kind="stable")  # int16 sorts by radix
    in_order = key[order]
    starts = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))
    lengths = np.diff(starts, append=len(key))
    rank = np.empty(len(key), np.int64)
    rank[order] = np.arange(len(key)) - np.repeat(starts, lengths)
    return rank


def waves(key: npt.NDArray[np.integer], distinct: int) -> Iterator[Indices]:
    """Positions in groups that hold each key at most once; every key's positions keep their order over the groups."""
    if not len(key):
        return
    if distinct == len(key) and np.bincount(key, minlength=distinct).max() <= 1:
        yield np.arange(len(key))
        return
    rank = ranks(key, distinct)
    order = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank))
    start = 0
    for end in ends:
        yield order[start:end]
        start = int(end)
