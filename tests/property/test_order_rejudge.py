"""In whatever order readings come: once late ones were judged in their place, alarms are as in the right order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.profiles.model import Metric, MetricKind, Profile, Watch
from gateway.detect.arrays import Floats
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange, Explanation, Samples
from gateway.detect.settings import DetectSettings
from gateway.order.episodes import Lateness, Outcome, Recorded, correct, episodes_of
from gateway.order.rejudge import joined, live_detectors

START_S = 1_760_000_400.0
HOUR_S = 3600.0
HOURS = 24 * 24
NOT_TOLD = Explanation("", "", "", 0.0, (), "", 1, 0.0)
PROFILE = Profile(
    model="band",
    title="Band",
    metrics={
        "celsius": Metric(kind=MetricKind.GAUGE, unit="Cel"),
        "level": Metric(kind=MetricKind.GAUGE, unit="1"),
        "steps": Metric(kind=MetricKind.DELTA, unit="1"),
    },
    watches=(
        Watch.model_validate(
            {"name": "hot", "detector": "threshold", "metric": "celsius", "severity": "major", "for": "2h"}
            | {"keep_firing_for": "3h", "parameters": {"above": 60.0, "clear_below": 50.0}}
        ),
        Watch.model_validate({"name": "odd", "detector": "record", "metric": "level", "severity": "minor"}),
        Watch.model_validate({"name": "less", "detector": "usage_drop", "metric": "steps", "severity": "minor"}),
        Watch.model_validate(
            {"name": "quiet", "detector": "silence", "severity": "minor", "parameters": {"after": "900d"}}
        ),
    ),
)


@dataclass
class Life:
    """A device's readings, one an hour, in the order of their time."""

    values: Floats

    def samples(self, rows: Sequence[int]) -> Samples:
        """Some of them, in this order."""
        chosen = np.array(rows, np.intp)
        return Samples(
            PROFILE,
            ("d",),
            np.zeros(len(rows), np.int32),
            START_S + chosen.astype(np.float64) * HOUR_S,
            0.0,
            ("celsius", "level", "steps"),
            self.values[chosen],
        )


def make_life(seed: int) -> Life:
    """Weeks of use, with heat, odd levels and days without use."""
    rng = np.random.default_rng(seed)
    hour = np.arange(HOURS)
    celsius = 40.0 + rng.normal(0, 1, HOURS)
    level = 10.0 + np.sin(hour / 24 * 2 * np.pi) + rng.normal(0, 0.2, HOURS)
    steps = np.where((hour % 24 > 7) & (hour % 24 < 20), rng.uniform(400, 900, HOURS), 0.0)
    for _ in range(rng.integers(1, 4)):
        begins, lasts = rng.integers(0, HOURS - 10), rng.integers(1, 20)
        celsius[begins : begins + lasts] += 30.0
    for _ in range(rng.integers(0, 3)):
        begins, lasts = rng.integers(HOURS // 2, HOURS - 10), rng.integers(2, 30)
        level[begins : begins + lasts] += rng.uniform(5, 20)
    begins = rng.integers(HOURS // 2, HOURS - 48)
    steps[begins : begins + rng.integers(24, 150)] *= 0.05
    return Life(np.column_stack([celsius, level, steps]))


@dataclass
class Book:
    """Alarms as they are told, by id; an episode whose beginning was corrected goes on under its first one's id."""

    alarms: dict[str, Recorded] = field(default_factory=dict[str, Recorded])
    names: dict[tuple[str, float], str] = field(default_factory=dict[tuple[str, float], str])

    def take(self, changes: Sequence[AlarmChange]) -> None:
        """What the database does with changes."""
        for change in changes:
            key = (change.watch, change.started_at_s)
            alarm_id = self.names.get(key, f"{change.watch} {change.started_at_s}")
            before = self.alarms.get(alarm_id)
            is_over = change.event in {"cleared", "retracted"}
            state = {"raised": "active", "updated": "active"}.get(change.event, change.event)
            self.alarms[alarm_id] = Recorded(
                alarm_id, "d", change.watch, str(change.kind), change.metric, change.problem, str(change.severity),
                state,
                started_at_s=change.started_at_s,
                raised_ts_s=change.ts_s if before is None or change.event == "raised" else before.raised_ts_s,
                decided_ts_s=change.ts_s,
                ended_at_s=change.ts_s if is_over else None,
                score=change.score,
                explanation=NOT_TOLD,
                came_since=0,
            )  # fmt: skip

    def told(self) -> set[tuple[str, float, str, float | None]]:
        """Every alarm that was not taken back."""
        return {
            (alarm.watch, alarm.started_at_s, alarm.state, alarm.ended_at_s)
            for alarm in self.alarms.values()
            if alarm.state != "retracted"
        }


class Gateway:
    """Live detectors, the book of alarms, and the judging anew of what came late."""

    def __init__(self, life: Life) -> None:
        self.engine = Engine({PROFILE.model: PROFILE}, DetectSettings())
        self.book = Book()
        self.stored: set[int] = set()
        self.first_late: int | None = None
        self.unsure = 0
        self.life = life

    def arrive(self, rows: Sequence[int]) -> None:
        """Take readings as they come."""
        for row in rows:
            if self.stored and row < max(self.stored):
                self.first_late = row if self.first_late is None else min(self.first_late, row)
            self.stored.add(row)
        self.engine.begin()
        self.book.take(self.engine.judge([self.life.samples(rows)]))
        self.engine.commit()

    def rejudge(self) -> None:
        """Judge what came late in its place."""
        if self.first_late is None:
            return
        anew = Engine({PROFILE.model: PROFILE}, DetectSettings())
        changes = anew.judge([self.life.samples(sorted(self.stored))])
        lateness = Lateness(START_S + self.first_late * HOUR_S, HOUR_S)
        found = correct(episodes_of(changes), list(self.book.alarms.values()), lateness)
        self.first_late = None
        if found.outcome is Outcome.UNSURE:
            self.unsure += 1
            return
        for watch, started_at_s, alarm_id in found.names:
            self.book.names[watch, started_at_s] = alarm_id
        self.book.take(found.changes)
        state, live = anew.take_out("d"), self.engine.take_out("d")
        assert state is not None
        self.engine.begin()
        self.engine.put_in("d", joined(state, live, live_detectors(), is_silent=False))
        self.engine.commit()


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[int]]:
    """All readings in batches: blocks of them come hours or days late, in any order among themselves."""
    due = np.arange(HOURS, dtype=np.float64)
    for _ in range(draw(st.integers(1, 4))):
        begins, lasts = draw(st.integers(1, HOURS - 2)), draw(st.integers(1, 100))
        due[begins : begins + lasts] = due[begins : begins + lasts].max() + draw(st.integers(1, 150))
        if draw(st.booleans()):
            due[begins : begins + lasts] -= np.arange(len(due[begins : begins + lasts])) / 1000  # newest first
    order = np.argsort(due, kind="stable").tolist()
    size = draw(st.integers(5, 60))
    return [order[first : first + size] for first in range(0, HOURS, size)]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), arrivals(), st.sets(st.integers(0, 100), max_size=5))
def test_the_alarms_are_those_of_in_order_arrival(seed: int, told: list[list[int]], pauses: set[int]) -> None:
    life = make_life(seed)
    settled = Gateway(life)
    for number, rows in enumerate(told):
        settled.arrive(rows)
        if number in pauses:
            settled.rejudge()
    settled.rejudge()
    in_order = Gateway(life)
    in_order.arrive(range(HOURS))
    assert settled.unsure == 0
    assert settled.book.told() == in_order.book.told()
    assert settled.engine.take_out("d") == in_order.engine.take_out("d") or _same_ends(settled, in_order)


def _same_ends(settled: Gateway, in_order: Gateway) -> bool:
    """Whether both go on in the same way: the same readings lead to the same alarms."""
    more = make_life(77)
    later = Life(np.vstack([settled.life.values, more.values]))
    rows = range(HOURS, 2 * HOURS)
    ends: list[set[tuple[str, float, str, float | None]]] = []
    for gateway in (settled, in_order):
        gateway.life = later
        gateway.arrive(rows)
        ends.append(gateway.book.told())
    return ends[0] == ends[1]


def test_the_stories_have_alarms_of_each_kind() -> None:
    """Or the property above would hold of nothing."""
    kinds: set[str] = set()
    for seed in range(40):
        gateway = Gateway(make_life(seed))
        gateway.arrive(range(HOURS))
        kinds |= {watch for watch, *_ in gateway.book.told()}
    assert kinds == {"hot", "odd", "less"}
