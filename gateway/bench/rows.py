"""The rows that every contestant of a benchmark is given: e-bikes on their way, eight metrics a reading."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.store.rows import Readings, ReadingTable

MODEL: Final = "e-bike"
METRICS: Final = (
    "distance",
    "assist_energy",
    "consumption",
    "motor_temperature",
    "battery",
    "battery_temperature",
    "cell_imbalance",
    "full_capacity",
)
"""Eight of the profile's nine metrics, among them all that it watches."""

INTERVAL_S: Final = 300
PASSWORD: Final = "a secret that all devices of a benchmark share"  # noqa: S105 - of databases that do not outlive the run

_CENTRE: Final = np.array([1.7, 15.0, 9.0, 55.0, 62.0, 24.0, 14.0, 497.0])
_SPREAD: Final = np.array([0.3, 4.0, 0.8, 6.0, 9.0, 3.0, 3.0, 1.0])
_LOW: Final = np.array([1.2, 6.0, 5.0, 35.0, 20.0, 5.0, 5.0, 490.0])
_HIGH: Final = np.array([2.3, 25.0, 14.0, 90.0, 100.0, 38.0, 25.0, 505.0])


@dataclass(frozen=True, slots=True)
class Block:
    """Readings in the order of their sending, a turn of all devices after the other; all arrays have n rows."""

    device: NDArray[np.int32]  # into the fleet's device_ids
    ts_ms: NDArray[np.int64]
    seq: NDArray[np.int64]
    values: NDArray[np.float64]  # [n, 8], METRICS

    def __len__(self) -> int:
        return len(self.ts_ms)

    def first(self, count: int) -> "Block":
        """Its first readings."""
        return Block(self.device[:count], self.ts_ms[:count], self.seq[:count], self.values[:count])


@dataclass(frozen=True)
class Fleet:
    """Devices that send, each a reading every five minutes of its own time, and are well."""

    senders: int
    start_s: int  # device time of the first readings
    seed: int = 1
    interval_s: int = INTERVAL_S
    first: int = 0  # number of the first one, where another fleet has those before

    @cached_property
    def device_ids(self) -> Sequence[str]:
        """The senders: serial numbers in no order, as a factory's batches come to be connected."""
        return [device_id(self.first + number, self.seed) for number in range(self.senders)]

    def block(self, first: int, per_device: int) -> Block:
        """Each device's readings from number `first` on."""
        random = np.random.default_rng((self.seed, first))
        count = self.senders * per_device
        values = np.clip(random.normal(_CENTRE, _SPREAD, (count, len(METRICS))), _LOW, _HIGH).round(2)
        turn = np.repeat(np.arange(first, first + per_device, dtype=np.int64), self.senders)
        device = np.tile(np.arange(self.senders, dtype=np.int32), per_device)
        jitter_ms = random.integers(0, 60_000, count)
        ts_ms = (self.start_s + turn * self.interval_s) * 1000 + jitter_ms
        return Block(device, ts_ms, turn, values)


def device_id(number: int, seed: int) -> str:
    """The serial number of a device."""
    return f"EB{number:07d}-{zlib.crc32(f'{seed}/{number}'.encode()) & 0xFFFF:04X}"


def payloads(block: Block) -> list[bytes]:
    """Each reading as a device sends it."""
    form = '{"ts":%d,"seq":%d,"metrics":{' + ",".join(f'"{name}":%s' for name in METRICS) + "}}"
    rows = zip(block.ts_ms.tolist(), block.seq.tolist(), block.values.tolist(), strict=True)
    return [(form % (ts_ms, seq, *values)).encode() for ts_ms, seq, values in rows]


def readings(fleet: Fleet, block: Block, table: ReadingTable) -> Readings:
    """The same rows as the store takes them, for the table of their model."""
    count = len(block)
    values = np.full((count, len(table.metrics)), np.nan)
    values[:, [table.metrics.index(name) for name in METRICS]] = block.values
    ts_us = block.ts_ms * 1000
    nothing = np.zeros(count, np.int32)
    return Readings(
        table=table,
        device_ids=tuple(fleet.device_ids),
        device=block.device,
        ts_us=ts_us,
        received_us=ts_us + 1_000_000,
        seq=block.seq,
        values=values,
        extra={},
        packet=nothing,
        element=nothing,
        row=np.arange(count, dtype=np.int32),
    )
