"""What a payload codec makes of bytes: readings, events, and what could not be read."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Protocol

import msgspec

from devices.errors import QuarantineReason

MAX_TS_US: Final = 253_402_300_799_999_999
"""The last storable device time, 9999-12-31T23:59:59.999999Z; the first is the Unix epoch."""
MAX_TS_MS: Final = MAX_TS_US // 1000
MAX_SEQ: Final = 2**63 - 1
MAX_CODE: Final = 128
MAX_FIRMWARE: Final = 128

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]


class DecodedReading(msgspec.Struct, frozen=True, gc=False):
    """One reading: booleans are 0 and 1, absent (null) metrics are left out, every number is finite."""

    ts_us: int | None
    seq: int | None
    firmware: str | None
    metrics: dict[str, float]


class DecodedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event; `data` is compact JSON, or None."""

    ts_us: int | None
    seq: int | None
    code: str
    data: bytes | None


class Bad(msgspec.Struct, frozen=True, gc=False):
    """What could not be read: its bytes for quarantine, a closed reason, and words for a developer."""

    raw: bytes
    reason: QuarantineReason
    detail: str


class Codec(Protocol):
    """Turns the payload of one MQTT message into readings or events.

    It never raises. Elements of an array are judged one by one, each `Bad` carrying that element's bytes; where
    nothing can be read there is one `Bad` with the whole payload.
    """

    name: str

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """Readings in the order in which the payload has them."""
        ...

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """Events in the order in which the payload has them."""
        ...


def timestamp_us(ts: object) -> int | None:
    """Microseconds since the Unix epoch of a `ts` as devices send it; None where it is none.

    RFC 3339 text with any offset, or epoch milliseconds; from the epoch to the end of the year 9999.
    """
    if isinstance(ts, str):
        try:
            ts_us = (msgspec.convert(ts, AwareDatetime) - EPOCH) // timedelta(microseconds=1)
        except (msgspec.ValidationError, UnicodeError):  # the latter for half of a surrogate pair
            return None
        return ts_us if 0 <= ts_us <= MAX_TS_US else None
    if not isinstance(ts, int | float) or isinstance(ts, bool) or not 0 <= ts <= MAX_TS_MS:
        return None
    return round(ts * 1000)
