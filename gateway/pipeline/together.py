"""Payloads that are decoded many at once, where their codec can; and the devices whose payloads never fit in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

import numpy as np

from devices.payloads import Codec
from devices.payloads.columnar import ABSENT, ColumnCodec, ColumnDecoder, ReadingColumns
from gateway.intake import Bunch, Mixed
from gateway.pipeline.columns import Columns
from gateway.store.rows import MAX_TS_US, Ints, Longs, ReadingTable

_BUNCHES_APART: Final = 200
"""Bunches of a device that are decoded one by one after one that did not fit in, before the next attempt."""

_MOST_APART: Final = 200_000


@dataclass(slots=True, eq=False)
class Together:
    """Payloads of one product model that one codec decodes at once, run after run of packets."""

    decoder: ColumnDecoder
    columns: Columns  # into which they go
    payloads: list[bytes] = field(default_factory=list[bytes])
    starts: list[int] = field(default_factory=list[int])  # of each run of packets: the number of its first
    counts: list[int] = field(default_factory=list[int])  # of each run: its packets
    received_s: list[float] = field(default_factory=list[float])  # of each run
    devices: list[int] = field(default_factory=list[int])  # one after the other: their index in the columns…
    turns: list[int] = field(default_factory=list[int])  # …and for how many payloads

    def add(self, start: int, bunch: Bunch) -> None:
        """Take the payloads of a bunch, whose first packet has the number `start`."""
        self._add_run(start, bunch.payloads, bunch.received_s)
        self.devices.append(self.index(bunch.device_id))
        self.turns.append(len(bunch.payloads))

    def add_mixed(self, start: int, mixed: Mixed, devices: Sequence[int]) -> None:
        """Take payloads of several devices; `devices` are their indices."""
        self._add_run(start, mixed.payloads, mixed.received_s)
        self.devices += devices
        self.turns += repeat(1, len(devices))

    def add_some(self, start: int, mixed: Mixed, places: Sequence[int], devices: Sequence[int]) -> None:
        """Take some of the payloads only."""
        count = len(places)
        self.payloads += map(mixed.payloads.__getitem__, places)
        self.starts += [start + place for place in places]
        self.counts += repeat(1, count)
        self.received_s += repeat(mixed.received_s, count)
        self.devices += map(devices.__getitem__, places)
        self.turns += repeat(1, count)

    def index(self, device_id: str) -> int:
        """A device's index in the columns."""
        index_of = self.columns.index_of
        return index_of.setdefault(device_id, len(index_of))

    def _add_run(self, start: int, payloads: Sequence[bytes], received_s: float) -> None:
        self.payloads += payloads
        self.starts.append(start)
        self.counts.append(len(payloads))
        self.received_s.append(received_s)

    def decode(self) -> ReadingColumns | None:
        """What the codec makes of them; None where it breaks its promises, so that nothing of it counts."""
        try:
            found = self.decoder.decode(self.payloads)
            is_lawful = _is_lawful(found, len(self.payloads), len(self.columns.table.metrics))
        except Exception:  # noqa: BLE001 - codecs are plug-ins; what fails here is decoded one by one
            return None
        return found if is_lawful else None

    def of_payloads(self) -> tuple[Ints, Longs, Ints]:
        """For each payload: its device, its receipt time in microseconds, and its packet."""
        counts = np.array(self.counts, np.intp)
        before = np.cumsum(counts) - counts
        packet = np.repeat(np.array(self.starts, np.intp) - before, counts) + np.arange(len(self.payloads))
        received_us = np.rint(np.array(self.received_s) * 1e6).astype(np.int64)
        device = np.repeat(np.array(self.devices, np.int32), self.turns)
        return device, np.repeat(received_us, counts), packet.astype(np.int32)


def _is_lawful(found: ReadingColumns, payloads: int, width: int) -> bool:
    """Whether the columns fit each other, and hold what can be stored."""
    count = len(found.ts_us)
    if found.values.shape != (count, width) or not len(found.payload) == len(found.element) == len(found.seq) == count:
        return False
    if not count:
        return True
    limits = ((found.payload, 0, payloads - 1), (found.element, 0, np.inf), (found.ts_us, ABSENT, MAX_TS_US))
    return all(low <= column.min() and column.max() <= high for column, low, high in limits)


class Decoders:
    """The column decoders in use, one for each codec and product model; and who is kept out of them.

    A payload that does not fit makes its neighbours be decoded again in smaller groups. A device that sends such
    payloads, by its nature or in a storm, therefore costs the others nothing after the first of them.
    """

    def __init__(self, codecs: Mapping[str, Codec]) -> None:
        self._codecs = {name: codec for name, codec in codecs.items() if isinstance(codec, ColumnCodec)}
        self._made: dict[tuple[str, str], tuple[Sequence[str], ColumnDecoder | None]] = {}
        self._apart: dict[str, int] = {}

    def find(self, codec: str, table: ReadingTable) -> ColumnDecoder | None:
        """The decoder for a table as it is now, where the codec has one."""
        if codec not in self._codecs or not table.metrics:
            return None
        made = self._made.get((codec, table.model))
        if made is None or made[0] != table.metrics:
            made = self._made[codec, table.model] = (table.metrics, self._make(codec, table))
        return made[1]

    def _make(self, codec: str, table: ReadingTable) -> ColumnDecoder | None:
        try:
            return self._codecs[codec].column_decoder(table.metrics)
        except Exception:  # noqa: BLE001 - a plug-in that cannot is one that does not offer it
            return None

    def fits(self, device_id: str) -> bool:
        """Whether a device's next bunch is worth decoding with those of others."""
        left = self._apart.get(device_id)
        if left is None:
            return True
        if left > 1:
            self._apart[device_id] = left - 1
        else:
            del self._apart[device_id]
        return False

    def is_apart(self, device_id: str) -> bool:
        """Whether a device's payloads are decoded one by one for now."""
        return device_id in self._apart

    def keep_apart(self, device_id: str) -> None:
        """Decode the next bunches of a device one by one."""
        if len(self._apart) >= _MOST_APART:
            self._apart.clear()
        self._apart[device_id] = _BUNCHES_APART
