"""Which readings a device publishes: a function of its number alone, so that a run can be told again from its seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tests.ledger.book import Key, Told

IMPOSSIBLE = 5000.0
"""Degrees that no probe can have: the profile's range ends at 300."""

HOT = 95.0
"""Degrees above the watch's bound of 90."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A device: its readings are `step_ms` apart, from `first_ms` on."""

    device_id: str
    first_ms: int
    step_ms: int
    bad_each: int = 0  # every so many readings one is impossible; 0: none is
    hot_each: int = 0  # every so many readings it runs hot…
    hot_for: int = 0  # …for so many
    ill_from: int = -1  # from this reading on it stays hot; -1: never
    readings: int = 1 << 30  # how many it publishes in its life

    def metrics_of(self, number: int) -> Mapping[str, float]:
        """What reading `number` says; no two of a device are equal."""
        if self.is_bad(number):
            return {"celsius": IMPOSSIBLE + number, "ticks": float(number)}
        celsius = 20.0 + (number * 7919 % 10_007) / 1000
        is_hot = self.hot_each and number % self.hot_each >= self.hot_each - self.hot_for
        if is_hot or 0 <= self.ill_from <= number:
            celsius += HOT - 20.0
        return {"celsius": round(celsius, 3), "ticks": float(number)}

    def is_bad(self, number: int) -> bool:
        """Whether reading `number` is impossible."""
        return bool(self.bad_each) and number % self.bad_each == self.bad_each - 1

    def told(self, number: int, round_number: int, via: str) -> Told:
        """Reading `number` as the book keeps it."""
        ts_ms = self.first_ms + number * self.step_ms
        key = Key(self.device_id, number)
        return Told(key, ts_ms, self.metrics_of(number), self.is_bad(number), round_number, via)


def payload_of(readings: Sequence[Told]) -> bytes:
    """The payload of a packet: one object, or an array of several."""
    elements = [{"ts": told.ts_ms, "seq": told.key.number, "metrics": dict(told.metrics)} for told in readings]
    return json.dumps(elements[0] if len(elements) == 1 else elements, separators=(",", ":")).encode()


def keys_in(device_id: str, payload: bytes) -> list[Key]:
    """The readings that a packet's payload, or a piece of it, bears."""
    said = cast("object", json.loads(payload))
    elements = cast("Iterable[Mapping[str, int]]", said if isinstance(said, list) else [said])
    return [Key(device_id, element["seq"]) for element in elements]
