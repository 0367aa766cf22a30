"""What a plain method comes to: a rolling z-score, as NAB's Windowed Gaussian has it, of every column."""

from typing import Final

import numpy as np

from simulators.records.machine import Floats

WINDOW: Final = 300  # rows that the mean and the spread look back
LATELY: Final = 5  # rows whose mean is compared with them
LEAST: Final = 0.1  # of the spread so far, that a window's counts for at least


def rolling_z(values: Floats) -> Floats:
    """Of each row: how many spreads the mean of the latest values is off, of the column where it is most; [rows]."""
    filled = _filled(values)
    rows = len(filled)
    sums, squares = _running(filled), _running(filled * filled)
    lately = _mean_before(sums, np.arange(1, rows + 1), LATELY)
    ends = np.maximum(np.arange(1, rows + 1) - LATELY, 0)
    mean, square = _mean_before(sums, ends, WINDOW), _mean_before(squares, ends, WINDOW)
    ever, ever_square = _mean_before(sums, ends, rows), _mean_before(squares, ends, rows)
    spread = np.sqrt(np.maximum(square - mean * mean, 0.0))
    spread = np.maximum(spread, LEAST * np.sqrt(np.maximum(ever_square - ever * ever, 0.0)))
    z = np.where(spread > 0, np.abs(lately - mean) / np.where(spread > 0, spread, 1.0), 0.0)
    z[:WINDOW] = 0.0
    return np.asarray(z.max(axis=1), np.float64)


def _filled(values: Floats) -> Floats:
    """Each missing cell as the one before it; about a middle, so that squares are exact enough."""
    there = ~np.isnan(values)
    latest = np.maximum.accumulate(np.where(there, np.arange(len(values))[:, None], 0), axis=0)
    filled = np.nan_to_num(np.take_along_axis(values, latest, axis=0))
    spread = filled.std(axis=0)
    return (filled - filled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _running(values: Floats) -> Floats:
    return np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0)])


def _mean_before(sums: Floats, ends: np.typing.NDArray[np.int64], window: int) -> Floats:
    """Means of the rows before each end, so many at most."""
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / np.maximum(ends - starts, 1)[:, None]
