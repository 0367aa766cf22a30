"""An engine that remembers everything it was shown, and raises an alarm where a value is high."""

import json
import math
from collections.abc import Iterator, Sequence

from devices.ids import PARTITIONS, partition_of
from devices.profiles.model import Severity
from gateway.detect.cohort import NOBODY, Habits, Prior
from gateway.detect.model import AlarmChange, Events, Explanation, Kind, Samples

HIGH = 90.0


class RecordingEngine:
    """Its state is the whole history of each device, so that any difference in order or content shows."""

    version: int = 1

    def __init__(self) -> None:
        self.history: dict[str, list[list[object]]] = {}
        self.turns: list[str] = []
        self._undo: dict[str, int] | None = None
        self._dirty: set[int] = set()
        self.silent_after_s = float("inf")
        self._last_s: dict[str, float] = {}

    def begin(self) -> None:
        """Open a turn."""
        assert self._undo is None, "a turn is open already"
        self._undo = {device: len(told) for device, told in self.history.items()}

    def commit(self) -> None:
        """Keep it."""
        assert self._undo is not None, "no turn is open"
        self._undo = None
        self.turns.append("commit")

    def rollback(self) -> None:
        """Forget it."""
        assert self._undo is not None, "no turn is open"
        for device in list(self.history):
            del self.history[device][self._undo.get(device, 0) :]
        self._undo = None
        self.turns.append("rollback")

    def judge(self, samples: Sequence[Samples], events: Events | None = None) -> list[AlarmChange]:
        """Remember readings, then events."""
        changes: list[AlarmChange] = []
        for some in samples:
            indices: list[int] = some.device.tolist()
            for row, index in enumerate(indices):
                device = some.device_ids[index]
                metrics = {
                    name: value
                    for name, value in zip(some.metrics, some.values[row].tolist(), strict=True)
                    if not math.isnan(value)
                }
                self._note(device, ["reading", float(some.ts_s[row]), metrics, some.alive_s])
                changes += [
                    self.change(device, name, float(some.ts_s[row])) for name, value in metrics.items() if value > HIGH
                ]
        if events is not None:
            which: list[int] = events.device.tolist()
            for place, index in enumerate(which):
                code, ts_s = events.codes[int(events.code[place])], float(events.ts_s[place])
                self._note(events.device_ids[index], ["event", code, ts_s])
        return changes

    def survey(self) -> Iterator[Sequence[Habits]]:
        """Nothing is known of anybody."""
        return iter(())

    def adopt(self, prior: Prior) -> None:
        """Nothing is asked of it."""

    def prior_of(self, device_id: str) -> int:
        """Nothing was known."""
        del device_id
        return NOBODY

    def alive(self, device_ids: Sequence[str], alive_s: float) -> list[AlarmChange]:
        """Remember a sign of life."""
        for device in device_ids:
            self._note(device, ["alive", alive_s])
        return []

    def due(self, alive_s: float, now_s: float) -> list[AlarmChange]:
        """Remember a silence."""
        changes: list[AlarmChange] = []
        for device, told in self.history.items():
            heard_s = max(
                (float(str(entry[-1])) for entry in told if entry[0] not in {"silent", "event"}), default=alive_s
            )
            if alive_s - heard_s > self.silent_after_s and told[-1][0] != "silent":
                self._note(device, ["silent", alive_s])
                changes.append(self.change(device, "silence", now_s))
        return changes

    def change(self, device: str, metric: str, ts_s: float) -> AlarmChange:
        """An alarm that is raised."""
        explanation = Explanation("high", "low", "high", 60.0, ((ts_s, 1.0),), "recorder", 1, 0.9)
        kind = Kind.SILENCE if metric == "silence" else Kind.THRESHOLD
        return AlarmChange(
            device, f"{metric}-high", kind, metric, "heat", Severity.MAJOR, "raised", ts_s, ts_s, 0.9, explanation
        )

    def _note(self, device: str, entry: list[object]) -> None:
        assert self._undo is not None, "no turn is open"
        self.history.setdefault(device, []).append(entry)
        self._dirty.add(partition_of(device))

    def checkpoint(self, partition: int) -> bytes:
        """The history of a partition."""
        self._dirty.discard(partition)
        return json.dumps({d: h for d, h in self.history.items() if h and partition_of(d) == partition}).encode()

    def restore(self, partition: int, state: bytes) -> None:
        """Take a history back."""
        assert 0 <= partition < PARTITIONS
        self.history.update(json.loads(state))

    def take_out(self, device_id: str) -> bytes | None:
        """One device's history."""
        return json.dumps(self.history[device_id]).encode() if device_id in self.history else None

    def put_in(self, device_id: str, state: bytes) -> None:
        """Replace one device's history."""
        self.history[device_id] = json.loads(state)

    def forget(self, device_id: str) -> None:
        """Drop one device's history."""
        self.history.pop(device_id, None)
        self._dirty.add(partition_of(device_id))

    def device_ids(self) -> list[str]:
        """Every device that has a history."""
        return list(self.history)

    def dirty(self) -> set[int]:
        """Partitions with something new."""
        return set(self._dirty)

    def told(self) -> dict[str, list[list[object]]]:
        """The history of every device that has one."""
        return {device: told for device, told in self.history.items() if told}
