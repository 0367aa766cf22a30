"""Times for readings of devices without a clock.

The receipt time stands in for the device's. It is made unique per device, so that two messages received in one
microsecond do not become one reading; it also means that a message delivered twice cannot be recognised when it carries
no time of its own. What lies in quarantine comes again on purpose, and gets the same times again.
"""

import hashlib
from collections import Counter
from typing import Final

import numpy as np

from gateway.intake import Counted, Kept, Origin
from gateway.store.rows import Readings

_CLEAR_US: Final = 1000  # of the times that messages of the same read have been given


class ReceiptTimes:
    """Gives each clockless reading of a device a receipt time of its own."""

    def __init__(self) -> None:
        self._last_us: dict[str, int] = {}

    def next_us(self, device_id: str, received_us: int) -> int:
        """`received_us`, or the first free microsecond after it."""
        unique_us = max(received_us, self._last_us.get(device_id, -1) + 1)
        self._last_us[device_id] = unique_us
        return unique_us

    def note(self, device_id: str, us: int) -> None:
        """Something has this time already: what follows comes after it."""
        self._last_us[device_id] = max(us, self._last_us.get(device_id, -1))


class BatchTimes:
    """The same for a batch, in which messages may be that are told again; packets are known by their numbers."""

    def __init__(self, receipt_times: ReceiptTimes) -> None:
        self._receipt_times = receipt_times
        self._counted: dict[int, Counted] = {}
        self._told: Counter[tuple[int, str, bool]] = Counter()
        self.kept: set[int] = set()  # packets of which nobody knows when they were sent

    def take(self, numbers: range, origin: Origin) -> None:
        """Note what is known of packets' times by where they come from."""
        if isinstance(origin, Kept):
            self.kept.update(numbers)
        elif isinstance(origin, Counted):
            self._counted.update(dict.fromkeys(numbers, origin))

    def next_us(self, number: int, device_id: str, received_us: int, *, is_event: bool) -> int:
        """The time of the packet's next reading, or event, that bears none."""
        message = self._counted.get(number)
        if message is None:
            return self._receipt_times.next_us(device_id, received_us)
        key = (id(message), device_id, is_event)
        us = message.from_us + self._told[key]
        self._told[key] += 1
        self._receipt_times.note(device_id, us)
        return us


def from_us_by_bytes(received_us: int, raw: bytes) -> int:
    """Where to count from: 1 to 66 ms after the receipt, by the bytes, so that messages of one read do not meet."""
    return received_us + _CLEAR_US + int.from_bytes(hashlib.sha256(raw).digest()[:2])


def from_us_of(readings: Readings, position: int, *, is_whole: bool) -> int | None:
    """Where to count from, so that a reading without a time gets the one again that it has now.

    `is_whole`: the message comes again as a whole, and the reading not as its first. None where it has its own time.
    """
    ts_us, received_us, packet = readings.ts_us, readings.received_us, readings.packet
    if ts_us[position] != received_us[position]:
        return None
    first = position
    while is_whole and first and packet[first - 1] == packet[position]:
        first -= 1
    before = int(np.count_nonzero(ts_us[first:position] == received_us[first:position]))
    return int(ts_us[position]) - before
