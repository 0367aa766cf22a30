"""The spans of device time that native partitions cover: months, and longer ones where hardly anything lies.

The spans are a function of time alone, never of the present moment, so that two gateways, or two years, agree about
them: months from 2020 to 2049, years from 2010 to 2099 outside, decades before and centuries after. A device whose
clock runs wild in the past makes fewer than a hundred, and one to which every future is allowed some five hundred, once
and for all.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.store.rows import Longs

_YEARS: Final = range(2010, 2100)
_YEARS_OF_MONTHS: Final = range(2020, 2050)
_EPOCH_YEAR: Final = 1970
_DECEMBER: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A span of time, as bounds that PostgreSQL reads, and a suffix for the partition's name."""

    start: str  # inclusive
    end: str  # exclusive
    suffix: str


def spans_of(ts_us: Longs) -> set[Span]:
    """The spans that cover the device times, microseconds since the epoch."""
    months = np.unique(ts_us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64))
    return {_span(_EPOCH_YEAR + month // 12, month % 12 + 1) for month in months.tolist()}


def _span(year: int, month: int) -> Span:
    if year not in _YEARS:
        length = 10 if year < _YEARS.start else 100
        first = year // length * length
        return Span(_instant(first, 1), _instant(first + length, 1), f"{first}s")
    if year not in _YEARS_OF_MONTHS:
        return Span(_instant(year, 1), _instant(year + 1, 1), f"{year}")
    following = (year, month + 1) if month < _DECEMBER else (year + 1, 1)
    return Span(_instant(year, month), _instant(*following), f"{year}_{month:02}")


def _instant(year: int, month: int) -> str:
    return f"{year:04}-{month:02}-01 00:00:00+00"
