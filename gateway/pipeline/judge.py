"""The detectors' part in a transaction: judged with it, kept when it commits, undone when it does not."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from devices.profiles.model import Profile
from gateway.detect.cohort import Habits, Prior
from gateway.detect.model import AlarmChange, Events, Samples
from gateway.pipeline.samples import events_of, samples_of
from gateway.pipeline.told import OFFLINE
from gateway.store.rows import EventRow, Fill, Readings


class Engine(Protocol):
    """The detection engine, as the pipeline uses it."""

    version: int

    def judge(self, samples: Sequence[Samples], events: Events | None = None) -> list[AlarmChange]:
        """Take readings and events in arrival order."""
        ...

    def alive(self, device_ids: Sequence[str], alive_s: float) -> list[AlarmChange]:
        """Take signs of life that are no readings."""
        ...

    def due(self, alive_s: float, now_s: float) -> list[AlarmChange]:
        """Judge the silences whose deadline has passed."""
        ...

    def forget(self, device_id: str) -> None:
        """Drop everything known of a device, undone with the open turn."""
        ...

    def survey(self) -> Iterator[Sequence[Habits]]:
        """What the devices have in common, a piece of the work at a time."""
        ...

    def adopt(self, prior: Prior) -> None:
        """Let what is known beforehand be in force for what is new from now on."""
        ...

    def prior_of(self, device_id: str) -> int:
        """The number of what was in force at a device's birth."""
        ...

    def device_ids(self) -> list[str]:
        """Every device of which anything is known."""
        ...

    def begin(self) -> None:
        """Open a turn."""
        ...

    def commit(self) -> None:
        """Keep what the turn has changed."""
        ...

    def rollback(self) -> None:
        """Undo what the turn has changed."""
        ...

    def checkpoint(self, partition: int) -> bytes:
        """The state of a partition."""
        ...

    def restore(self, partition: int, state: bytes) -> None:
        """Take a partition's state back."""
        ...

    def take_out(self, device_id: str) -> bytes | None:
        """A copy of one device's state; None for a device that nothing is known of."""
        ...

    def put_in(self, device_id: str, state: bytes) -> None:
        """Replace everything known of a device, undone with the open turn."""
        ...

    def dirty(self) -> set[int]:
        """Partitions that have changed since their last checkpoint."""
        ...


class Judge:
    """One turn of the engine per transaction.

    A detector that fails costs the judgement of that batch, never its readings.
    """

    def __init__(
        self,
        engine: Engine,
        profiles: Mapping[str, Profile],
        log: structlog.typing.FilteringBoundLogger,
        profile_of: Callable[[str], Profile | None],
    ) -> None:
        """`profile_of` knows the registered devices; it is asked of those that send events."""
        self._engine = engine
        self._profile_of = profile_of
        self._profiles = profiles
        self._log = log
        self._is_open = False

    def judge(
        self, told: Sequence[tuple[Readings, Sequence[Fill]]], events: Iterable[EventRow], alive_s: float
    ) -> list[AlarmChange]:
        """Open a turn and judge a batch: readings by model, then the events and births in it."""
        samples = [samples_of(self._profiles[new.table.model], new, fills, alive_s) for new, fills in told]
        present = [part for part in samples if part is not None]
        told_events = list(events)
        # A will says that a device has gone: no sign of life.
        alive = list(dict.fromkeys(event.device_id for event in told_events if event.code != OFFLINE))
        happened = events_of(told_events, self._profile_of)
        self._begin()
        try:
            changes = self._engine.judge(present, happened) if present or happened is not None else []
            return changes + (self._engine.alive(alive, alive_s) if alive else [])
        except Exception:  # noqa: BLE001 - detectors are plug-ins, and must not stop the pipeline
            self._log.exception("detect.failed", readings=sum(len(part.ts_s) for part in present))
            self.rollback()
            return []

    def due(self, alive_s: float, now_s: float) -> list[AlarmChange]:
        """Open a turn and judge silences."""
        self._begin()
        try:
            return self._engine.due(alive_s, now_s)
        except Exception:  # noqa: BLE001 - as above
            self._log.exception("detect.failed", readings=0)
            self.rollback()
            return []

    def take_out(self, device_id: str) -> bytes | None:
        """One device's state; None for a device that nothing is known of."""
        return self._engine.take_out(device_id)

    def prior_of(self, device_id: str) -> int:
        """The number of what was known beforehand when a device was new."""
        return self._engine.prior_of(device_id)

    def replace(self, states: Mapping[str, bytes]) -> None:
        """Open a turn and put devices into the states that they were judged anew to have."""
        self._begin()
        for device_id, state in states.items():
            self._engine.put_in(device_id, state)

    def forget(self, device_ids: Iterable[str]) -> None:
        """Open a turn and drop everything known of devices."""
        self._begin()
        for device_id in device_ids:
            self._engine.forget(device_id)

    def _begin(self) -> None:
        self.rollback()
        self._engine.begin()
        self._is_open = True

    def commit(self) -> None:
        """Keep what the turn has changed, if one is open."""
        if self._is_open:
            self._engine.commit()
            self._is_open = False

    def rollback(self) -> None:
        """Undo what the turn has changed, if one is open."""
        if self._is_open:
            self._engine.rollback()
            self._is_open = False
