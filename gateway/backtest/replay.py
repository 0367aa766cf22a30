"""The detectors over history, with the clock that it was lived by."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np

from devices.profiles.model import Profile
from gateway.backtest.departures import Departure
from gateway.backtest.pieces import Piece, Pieces, Told
from gateway.backtest.windows import Window
from gateway.detect.acquainting import Acquainting
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Samples
from gateway.pipeline.departed import taken_back
from gateway.pipeline.samples import NO_EVENTS, events_of, samples_of
from gateway.store.history import TimeBase
from gateway.store.rows import Floats

LONGEST: Final = 5000
"""Readings judged at once."""
LOOK_EVERY_S: Final = 60.0  # between looks at silences while nothing comes
MANY: Final = 20
OUTAGE_S: Final = 900.0
"""With so many devices, so long without a word from any of them is our own outage, and nobody's silence…"""
PAUSE_S: Final = 60.0
UNUSUAL: Final = 3.0
"""…unless pauses are usual: one has to be so many times as long as the middle one of the last."""
PAUSES: Final = (5, 20)  # so many have to be known, and so many are remembered


@dataclass(frozen=True, slots=True)
class Decided:
    """A change of an alarm, and when it was decided on the history's clock."""

    change: AlarmChange
    at_s: float
    head_ts_s: float  # the newest device time known of its device by then
    because: str = ""  # why an alarm is taken back that nothing refutes


class Replay:
    """One set of profiles, and what its detectors have come to.

    A silence is judged on a clock that stands still while nobody at all is heard, as the gateway's healthy clock does
    in an outage of its own.
    """

    def __init__(self, engine: Engine, profiles: Mapping[str, Profile], base: TimeBase) -> None:
        self._engine = engine
        self._acquainting = Acquainting(engine)
        self._profiles = profiles
        self._base = base
        self._clock_s = -np.inf
        self._stood_s = 0.0  # for so long the healthy clock stood still
        self._pauses: deque[float] = deque(maxlen=PAUSES[1])
        self._profile_of: dict[str, Profile] = {}  # of devices with readings
        self._open: dict[str, dict[tuple[str, float], AlarmChange]] = {}  # alarms that are up, by device
        self.heads: dict[str, float] = {}

    def take(self, window: Window) -> Iterator[Decided]:
        """Judge a window; what is decided, in order."""
        yield from self._part(window.departures)
        pieces = Pieces(window, self._base, self._clock_s)
        moments = pieces.moments
        present = {device_id for part in window.parts for device_id in part.readings.device_ids}
        stood_s = self._standing(moments, len(present | self.heads.keys()))
        alive_s = moments - stood_s
        start = 0
        while start < len(moments):
            yield from self._wait_until(float(moments[start]), float(stood_s[start]))
            # A piece ends with the first moment that may pass a deadline, known now or set by what is in it.
            bound_s = min(self._engine.next_due_s(), float(alive_s[start]) + self._engine.shortest_silence_s)
            passing = int(np.searchsorted(alive_s, bound_s, side="right"))
            last = min(max(passing, start + 1), start + LONGEST, len(moments)) - 1
            piece = pieces.up_to(float(moments[last]))
            yield from self._judge(piece, moments, alive_s)
            self._clock_s = piece.until_s
            start = int(np.searchsorted(moments, piece.until_s, side="right"))
        self._stood_s = float(stood_s[-1]) if len(stood_s) else self._stood_s

    def _part(self, departures: Sequence[Departure]) -> Iterator[Decided]:
        """Forget devices that were removed or changed hands, and take their alarms back."""
        for each in departures:
            self._engine.forget(each.device_id)
            for change in self._open.pop(each.device_id, {}).values():
                said = taken_back(change.explanation, each.why)
                ended = replace(change, event="retracted", score=0.0, explanation=said)
                yield replace(self._decided(ended, each.at_s), because=str(each.why))

    def pass_time(self, until_s: float) -> Iterator[Decided]:
        """Let the clock go on to a moment, though nothing comes."""
        if self._clock_s < until_s and np.isfinite(self._clock_s):
            yield from self._wait_until(until_s, self._stood_s)
            self._clock_s = until_s

    def _standing(self, moments: Floats, devices: int) -> Floats:
        """For how long the healthy clock has stood still by each moment."""
        gaps = np.diff(moments, prepend=self._clock_s if np.isfinite(self._clock_s) else moments[:1])
        lost = np.zeros(len(gaps))
        for place in np.flatnonzero(gaps > PAUSE_S).tolist():
            usual_s = median(self._pauses) if len(self._pauses) >= PAUSES[0] else 0.0
            if devices >= MANY and gaps[place] > max(OUTAGE_S, UNUSUAL * usual_s):
                lost[place] = gaps[place]
            self._pauses.append(float(gaps[place]))
        return self._stood_s + np.cumsum(lost)

    def _wait_until(self, moment_s: float, stood_s: float) -> Iterator[Decided]:
        """Judge the silences whose deadline lies before a moment, each about when it passes."""
        looked_s = -np.inf
        while (due_s := self._engine.next_due_s()) < moment_s - stood_s and looked_s < moment_s - stood_s:
            looked_s = min(max(due_s, looked_s) + LOOK_EVERY_S, moment_s - stood_s)
            at_s = looked_s + stood_s
            yield from [self._decided(change, at_s) for change in self._engine.due(looked_s, at_s)]

    def _judge(self, piece: Piece, moments: Floats, alive_s: Floats) -> Iterator[Decided]:
        self._acquainting.look(piece.until_s)
        samples: list[Samples] = []
        for told in piece.told:
            profile = self._profiles.get(told.readings.table.model)
            some = None if profile is None else samples_of(profile, told.readings, (), 0.0)
            if some is not None:
                self._profile_of.update(dict.fromkeys(some.device_ids, some.profile))
                # What became known in one moment is judged in this order: events, then readings.
                place = 2 * np.searchsorted(moments, told.at_s) + 1
                samples.append(replace(some, alive_s=alive_s[place // 2], row=place))
        happened = events_of(piece.events, self._profile_of.get)
        if happened is not None:
            counted = np.array([event.code not in NO_EVENTS for event in piece.events], np.bool_)
            happened = replace(happened, row=2 * np.searchsorted(moments, piece.heard_s[counted]))
        changes = self._engine.judge(samples, happened) if samples or happened is not None else []
        heard = list(dict.fromkeys(event.device_id for event in piece.events if event.code != "offline"))
        if heard:
            changes += self._engine.alive(heard, float(alive_s[np.searchsorted(moments, piece.until_s)]))
        self._note_heads(samples)
        yield from [self._decided(change, _known_at(change, piece.told, piece.until_s)) for change in changes]

    def _note_heads(self, samples: Sequence[Samples]) -> None:
        for some in samples:
            newest = np.full(len(some.device_ids), -np.inf)
            np.maximum.at(newest, some.device, some.ts_s)
            for device_id, ts_s in zip(some.device_ids, newest.tolist(), strict=True):
                self.heads[device_id] = max(ts_s, self.heads.get(device_id, ts_s))

    def _decided(self, change: AlarmChange, at_s: float) -> Decided:
        its, key = self._open.setdefault(change.device_id, {}), (change.watch, change.started_at_s)
        if change.event in {"cleared", "retracted"}:
            its.pop(key, None)
        else:
            its[key] = change
        return Decided(change, at_s, self.heads.get(change.device_id, change.ts_s))


def _known_at(change: AlarmChange, told: Sequence[Told], otherwise_s: float) -> float:
    """When the reading that decided a change became known."""
    for each in told:
        readings = each.readings
        if change.device_id in readings.device_ids:
            its = readings.device == readings.device_ids.index(change.device_id)
            (places,) = np.nonzero(its & (np.abs(readings.ts_us - change.ts_s * 1e6) < 1.0))
            if len(places):
                return float(each.at_s[places[0]])
    return otherwise_s
