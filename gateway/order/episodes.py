"""What a device's alarms would have been had everything come in its order, beside what was told of them.

Late readings change nothing that was decided before the oldest of them. So an alarm that was raised before it must be
found again when the device is judged anew: where it is not, the history at hand does not explain what was decided (it
is too short, or limits have changed since), and everything is left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from devices.profiles.model import Severity
from gateway.detect.model import AlarmChange, Explanation, Kind
from gateway.order.words import say_offset

RESCORED: Final = 0.1
"""An alarm whose score differs by less is the same as before."""


class Outcome(StrEnum):
    """What came of judging a device anew."""

    SAME = "same"
    CORRECTED = "corrected"
    UNSURE = "unsure"  # nothing was changed


@dataclass(frozen=True, slots=True)
class Recorded:
    """An alarm as it was told of."""

    alarm_id: str
    device_id: str
    watch: str
    kind: str
    metric: str | None
    problem: str
    severity: str
    state: str  # active, unknown, cleared or retracted
    started_at_s: float
    raised_ts_s: float  # device time of the reading that raised it
    decided_ts_s: float  # and of the one that last changed it
    ended_at_s: float | None
    score: float
    explanation: Explanation
    came_since: int  # readings of the time it speaks of that came after it was raised


@dataclass(frozen=True, slots=True)
class Episode:
    """An alarm as the device's history has it, from its raising to the last word."""

    changes: Sequence[AlarmChange]

    @property
    def first(self) -> AlarmChange:
        """How it was raised."""
        return self.changes[0]

    @property
    def last(self) -> AlarmChange:
        """What was last told of it."""
        return self.changes[-1]

    @property
    def ended_at_s(self) -> float | None:
        """When it was over; None while it goes on."""
        return self.last.ts_s if self.last.event == "cleared" else None

    def overlaps(self, alarm: Recorded) -> bool:
        """Whether both tell of the same time."""
        ended_s = self.ended_at_s
        starts_in_time = alarm.ended_at_s is None or self.first.started_at_s <= alarm.ended_at_s
        return starts_in_time and (ended_s is None or ended_s >= alarm.started_at_s)


@dataclass(frozen=True, slots=True)
class Lateness:
    """What the late readings of a device were."""

    first_ts_s: float  # device time of the oldest
    behind_s: float  # how late the latest of them was
    is_silent: bool = False  # the device is not heard now: what goes on is unknown


@dataclass(frozen=True, slots=True)
class Correction:
    """What is to be told of a device's alarms, in this order; and as which alarm an episode goes on."""

    outcome: Outcome
    changes: Sequence[AlarmChange] = ()
    names: Sequence[tuple[str, float, str]] = ()  # watch, its beginning now, the alarm's id


def episodes_of(changes: Sequence[AlarmChange]) -> list[Episode]:
    """The episodes of one device, by their beginning."""
    found: dict[tuple[str, float], list[AlarmChange]] = {}
    for change in changes:
        if change.kind not in {Kind.SILENCE, Kind.EVENT_BURST}:
            found.setdefault((change.watch, change.started_at_s), []).append(change)
    return sorted((Episode(told) for told in found.values()), key=lambda each: each.first.started_at_s)


def correct(episodes: Sequence[Episode], alarms: Sequence[Recorded], lateness: Lateness) -> Correction:
    """Compare what is right with what was told."""
    since_s = lateness.first_ts_s
    right = [each for each in episodes if each.ended_at_s is None or each.ended_at_s >= since_s]
    told = [each for each in alarms if each.ended_at_s is None or each.ended_at_s >= since_s]
    by_key = {(alarm.watch, _us(alarm.started_at_s)): alarm for alarm in told}
    pairs = [(each, by_key.pop((each.first.watch, _us(each.first.started_at_s)), None)) for each in right]
    left = [alarm for alarm in by_key.values() if alarm.state != "retracted"]
    if any(alarm is None and episode.first.ts_s < since_s for episode, alarm in pairs):
        return Correction(Outcome.UNSURE)
    if any(alarm.raised_ts_s < since_s for alarm in left):
        return Correction(Outcome.UNSURE)
    names: list[tuple[str, float, str]] = []
    changes: list[AlarmChange] = []
    for episode, same in pairs:
        alarm = same or _take_overlapping(episode, left)
        if alarm is None:
            changes += _raised(episode, lateness)
            continue
        if same is None:
            names.append((alarm.watch, episode.first.started_at_s, alarm.alarm_id))
        changes += _revised(episode, alarm, lateness)
    # Last, so that a case that keeps another sign of its trouble does not end in between.
    changes += [_retracted(alarm, lateness) for alarm in left]
    return Correction(Outcome.CORRECTED if changes else Outcome.SAME, changes, names)


def _take_overlapping(episode: Episode, left: list[Recorded]) -> Recorded | None:
    """The alarm that told of this episode with another beginning; it is not left any more."""
    for place, alarm in enumerate(left):
        if alarm.watch == episode.first.watch and episode.overlaps(alarm):
            return left.pop(place)
    return None


def _raised(episode: Episode, lateness: Lateness) -> list[AlarmChange]:
    """An alarm that nobody has been told of."""
    first = _with_words(episode.first, f"Seen in readings that came {_late(lateness)} late: ")
    changes = [first, *episode.changes[-1:]] if len(episode.changes) > 1 else [first]
    return changes + _gone_quiet(episode, lateness)


def _revised(episode: Episode, alarm: Recorded, lateness: Lateness) -> list[AlarmChange]:
    """An alarm that was told of, as it is right."""
    ended_s = episode.ended_at_s
    state = "cleared" if ended_s is not None else "unknown" if lateness.is_silent else "active"
    moved = _us(alarm.started_at_s) != _us(episode.first.started_at_s)
    is_same = state == alarm.state and not moved and _us(alarm.ended_at_s) == _us(ended_s)
    if is_same and (state != "active" or abs(alarm.score - episode.last.score) < RESCORED):
        return []
    revived = [episode.first] if alarm.state == "retracted" else []
    last = _with_words(episode.last, f"Corrected by readings that came {_late(lateness)} late: ")
    if state == "cleared":
        return [*revived, last]
    return [replace(last, event="raised" if revived else "updated"), *_gone_quiet(episode, lateness)]


def _gone_quiet(episode: Episode, lateness: Lateness) -> list[AlarmChange]:
    is_open = episode.ended_at_s is None
    return [replace(episode.last, event="unknown")] if is_open and lateness.is_silent else []


def _retracted(alarm: Recorded, lateness: Lateness) -> AlarmChange:
    """An alarm that would not have been raised."""
    before = alarm.explanation
    came = f"{alarm.came_since} readings of that time that came" if alarm.came_since > 1 else "Readings that came"
    text = f"Taken back. {came[0].upper()}{came[1:]} up to {_late(lateness)} late leave no cause for it; it said: "
    return AlarmChange(
        device_id=alarm.device_id,
        watch=alarm.watch,
        kind=Kind(alarm.kind),
        metric=alarm.metric,
        problem=alarm.problem,
        severity=Severity(alarm.severity),
        event="retracted",
        started_at_s=alarm.started_at_s,
        ts_s=max(alarm.decided_ts_s, alarm.started_at_s),
        score=0.0,
        explanation=replace(before, text=text + before.text, observed="nothing of the kind", score=0.0),
    )


def _with_words(change: AlarmChange, words: str) -> AlarmChange:
    return replace(change, explanation=replace(change.explanation, text=words + change.explanation.text))


def _late(lateness: Lateness) -> str:
    return say_offset(max(lateness.behind_s, 1.0))


def _us(at_s: float | None) -> int | None:
    return None if at_s is None else round(at_s * 1e6)
