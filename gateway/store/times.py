"""Microseconds since the epoch as datetimes, exactly."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from gateway.store.rows import Longs

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def datetime_of(us: int) -> datetime:
    """An aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=us)


def datetimes_of(us: Longs) -> list[datetime]:
    """Aware UTC datetimes."""
    return [_EPOCH + timedelta(microseconds=value) for value in us.tolist()]


def us_of(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def us_of_all(moments: list[datetime]) -> Longs:
    """Microseconds since the epoch, int64[n]."""
    return np.array([(moment - _EPOCH) // _MICROSECOND for moment in moments], np.int64)
