"""Readings one after the other, as if time stood still between them: the detectors without a gateway.

The clock is the newest device time over all devices. What comes out depends on the readings so far, and not on how they
were handed over.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Profile
from gateway.detect.arrays import Floats
from gateway.detect.away import Away
from gateway.detect.detector import Batch, Detector, load_detectors
from gateway.detect.engine import Engine
from gateway.detect.kinds import LearntKind
from gateway.detect.lines import Line, Row
from gateway.detect.model import LARGEST, AlarmChange, Events, Samples
from gateway.detect.native.compiled import Arrived, LoopsTogether
from gateway.detect.native.ledger import load_ledger
from gateway.detect.settings import DetectSettings
from gateway.detect.station import FOR, KEEP_FIRING_FOR, Station
from gateway.detect.table import Journal

LONGEST: Final = 5000  # readings judged at once
AT_LEAST_TWO: Final = 2  # devices


class Stream:
    """Devices of one profile, read line by line."""

    def __init__(
        self, profile: Profile, settings: DetectSettings, detectors: Mapping[str, Detector] | None = None
    ) -> None:
        self._profile = profile
        self._engine = Engine({profile.model: profile}, settings, detectors)
        self._clock_s = -np.inf
        self._devices: set[str] = set()

    def take(self, lines: Sequence[Line]) -> list[AlarmChange]:
        """Judge readings in their order; every change is decided by the lines up to its own."""
        if not lines:
            return []
        clock_s = np.maximum.accumulate(np.array([line.ts_s for line in lines]))
        np.maximum(clock_s, self._clock_s, out=clock_s)
        changes: list[AlarmChange] = []
        start = 0
        while start < len(lines):
            end = self._end(lines, clock_s, start)
            samples = self._samples(lines[start:end], clock_s[start:end])
            changes += self._engine.judge([samples], self._events(lines[start:end]))
            self._clock_s = float(clock_s[end - 1])
            changes += self._engine.due(self._clock_s, self._clock_s)
            start = end
        return changes

    def _end(self, lines: Sequence[Line], clock_s: Floats, start: int) -> int:
        """One past the first line that may pass a deadline, known now or set by the lines before it.

        A reading is a sign of life before it moves the clock, so a device alone cannot pass its own deadline.
        """
        limit = min(len(lines), start + LONGEST)
        if len(self._devices) < AT_LEAST_TWO:  # more than that nobody asks, and each line only once
            self._devices.update(line.device for line in lines[start:limit])
        if len(self._devices) < AT_LEAST_TWO:
            return limit
        bound_s = min(self._engine.next_due_s(), clock_s[start] + self._engine.shortest_silence_s)
        passing = int(np.searchsorted(clock_s[start:limit], bound_s, side="right"))
        return min(limit, start + passing + 1)

    def _samples(self, lines: Sequence[Line], clock_s: Floats) -> Samples:
        devices: dict[str, int] = {}
        metrics: dict[str, int] = {}
        device = np.array([devices.setdefault(line.device, len(devices)) for line in lines], np.int32)
        cells = [
            (row, metrics.setdefault(name, len(metrics)), value)
            for row, line in enumerate(lines)
            for name, value in line.metrics.items()
        ]
        values = np.full((len(lines), len(metrics)), np.nan)
        if cells:
            rows, columns, numbers = zip(*cells, strict=True)
            values[rows, columns] = numbers
        return Samples(
            profile=self._profile,
            device_ids=tuple(devices),
            device=device,
            ts_s=np.array([line.ts_s for line in lines]),
            alive_s=clock_s,
            metrics=tuple(metrics),
            values=values,
            row=np.arange(len(lines)) * 2 + 1,
        )

    def _events(self, lines: Sequence[Line]) -> Events | None:
        """The events among lines; each counts before what its own line has measured."""
        happened = [(row, line.device, line.ts_s, line.event) for row, line in enumerate(lines) if line.event]
        if not happened:
            return None
        rows, devices, ts_s, codes = zip(*happened, strict=True)
        device_ids, known = tuple(dict.fromkeys(devices)), tuple(sorted(set(codes)))
        return Events(
            device_ids=device_ids,
            profiles=(self._profile,) * len(device_ids),
            device=np.array([device_ids.index(device) for device in devices], np.int32),
            ts_s=np.array(ts_s),
            codes=known,
            code=np.array([known.index(code) for code in codes], np.int32),
            row=np.array(rows) * 2,
        )


class Scorer:
    """Anomaly scores of one series, row by row: news by the record detector, and while it lasts how far it is away."""

    def __init__(self, detectors: Mapping[str, Detector] | None = None, *, compiled: bool = True) -> None:
        named = load_detectors() if detectors is None else detectors
        journal = Journal()
        self._station = Station("record", named["record"], journal, load_ledger(journal) if compiled else None)
        # Every series is judged by its values as they stand, so that one threshold means the same on all; and none is
        # ever raised, after which it would be judged otherwise.
        level = {parameter.name: parameter.default for parameter in named["record"].parameters}
        never = {FOR: float("inf"), KEEP_FIRING_FOR: 0.0}
        self._station.parameters.append({**never, **level, "kind": float(LearntKind.LEVEL)})
        self._slot = self._station.open(np.zeros(1, np.int64), np.zeros(1, np.int64))
        first = np.zeros(1, np.int64)
        loop = self._station.loop((first, first, first, first[:0], first[:0]), DetectSettings())
        self._loop = None if loop is None else LoopsTogether([loop])
        self._newest_s = -np.inf
        self._away = Away()

    def score(self, row: Row) -> float:
        """From 0 to 1, by the rows so far; 0 for a row without a value and for one that is late."""
        if not abs(row.number) <= LARGEST:
            return 0.0
        late = row.ts_s < self._newest_s
        ts_s, value = np.array([row.ts_s]), np.array([row.number])
        news = self._judge(ts_s, value) if self._loop is None else self._judge_compiled(self._loop, ts_s, value)
        self._newest_s = max(self._newest_s, row.ts_s)
        return 0.0 if late else max(news, self._away.score(row.number))

    def _judge_compiled(self, loop: LoopsTogether, ts_s: Floats, value: Floats) -> float:
        scores = np.zeros(1)
        arrived = Arrived(np.zeros(1, np.int64), ts_s, ts_s, value[:, None])
        for _ in loop.go(arrived, self._slot.astype(np.int32)[:, None], scores):
            raise AssertionError("a series that is only scored has nothing to tell")
        return float(scores[0])

    def _judge(self, ts_s: Floats, value: Floats) -> float:
        station, no = self._station, np.zeros(1, np.bool_)
        assert station.series is not None
        late = ts_s < self._newest_s
        state = station.table.rows(self._slot)
        batch = Batch(ts_s, value, late, no, np.zeros(1, np.int64), station.parameters)
        score = float(station.series.judge(state, batch).score[0])
        state.flush()
        return score
