"""What devices have published and what was acknowledged to them, as they would write it down themselves."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Key(NamedTuple):
    """A reading's name: its device, and its number there, which the payload bears as `seq`."""

    device_id: str
    number: int


class State(Enum):
    """How far a reading has come, as its device knows."""

    PUBLISHED = "published"  # no acknowledgement yet
    ACKNOWLEDGED = "acknowledged"
    GIVEN_UP = "given up"  # the device has forgotten it: it may be stored, or not


@dataclass(frozen=True, slots=True)
class Told:
    """One reading as it was published."""

    key: Key
    ts_ms: int
    metrics: Mapping[str, float]
    is_bad: bool  # physically impossible: it belongs into quarantine
    round_number: int
    via: str  # the door it was published to


class Book:
    """Written by the senders' threads, read by the audit."""

    def __init__(self) -> None:
        self.round_number = 0
        self._lock = threading.Lock()
        self._told: dict[Key, Told] = {}
        self._states: dict[Key, State] = {}
        self._of_round: dict[int, list[Key]] = {}
        self._acknowledged: Counter[str] = Counter()

    def publish(self, readings: Iterable[Told]) -> None:
        """Readings are handed to MQTT for the first time."""
        with self._lock:
            for told in readings:
                self._told[told.key] = told
                self._states[told.key] = State.PUBLISHED
                self._of_round.setdefault(told.round_number, []).append(told.key)

    def acknowledge(self, keys: Iterable[Key]) -> None:
        """Their PUBACK came."""
        with self._lock:
            for key in keys:
                if self._states[key] is not State.ACKNOWLEDGED:
                    self._states[key] = State.ACKNOWLEDGED
                    self._acknowledged[self._told[key].via] += 1

    def give_up(self, keys: Iterable[Key]) -> None:
        """The device has lost its memory of what was not acknowledged."""
        with self._lock:
            self._states.update({key: State.GIVEN_UP for key in keys if self._states[key] is State.PUBLISHED})

    def page(self, round_number: int) -> list[tuple[Told, State]]:
        """The readings first published in a round."""
        with self._lock:
            return [(self._told[key], self._states[key]) for key in self._of_round.get(round_number, ())]

    def pages(self) -> list[tuple[Told, State]]:
        """Every reading."""
        with self._lock:
            return [(told, self._states[key]) for key, told in self._told.items()]

    def acknowledged_by(self, via: str) -> int:
        """Readings that a door has acknowledged so far."""
        with self._lock:
            return self._acknowledged[via]


def first_times(page: Sequence[tuple[Told, State]]) -> dict[str, int]:
    """The earliest device time, epoch milliseconds, that a page has of each device."""
    firsts: dict[str, int] = {}
    for told, _ in page:
        device_id = told.key.device_id
        firsts[device_id] = min(told.ts_ms, firsts.get(device_id, told.ts_ms))
    return firsts
