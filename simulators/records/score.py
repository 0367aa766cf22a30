"""How well alarms, or scores, tell of the labelled ranges: by events, by rows, and by how much they say of nothing."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from simulators.records.faults import Fault, FaultKind
from simulators.records.machine import Floats, Mask
from simulators.records.record import Record

TAIL: Final = 10  # rows after a fault in which an alarm still tells of it
MERGED: Final = 10  # rows below a limit that end no alarm


@dataclass(frozen=True, slots=True)
class Span:
    """Rows during which an alarm was up; raised at the first of them."""

    first: int
    end: int
    by: str = ""  # the watch that raised it


Alarms = Mapping[str, Sequence[Span]]
"""By the name of the record."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one fault."""

    kind: FaultKind
    delay_s: float | None  # until the first alarm that was raised in it


@dataclass(frozen=True, slots=True)
class AlarmScore:
    """The alarms of some records."""

    faults: Sequence[Found]
    told: int  # alarms that tell of a fault
    false_by: Mapping[str, int]  # all others, by watch
    both: int  # rows that are faulty while an alarm is up
    only_alarm: int
    only_fault: int
    records: int
    device_30_days: float

    @property
    def false(self) -> int:
        """Alarms that tell of no fault."""
        return sum(self.false_by.values())

    @property
    def recall(self) -> float:
        """Share of the faults in which an alarm was raised."""
        return _share(sum(one.delay_s is not None for one in self.faults), len(self.faults))

    @property
    def precision(self) -> float:
        """Share of the alarms that tell of a fault."""
        return _share(self.told, self.told + self.false)

    @property
    def event_f1(self) -> float:
        """Of recall and precision."""
        return _share(2 * self.recall * self.precision, self.recall + self.precision)

    @property
    def point_f1(self) -> float:
        """Of rows, each by itself: no row counts as found because another one of its fault was."""
        return _share(2 * self.both, 2 * self.both + self.only_alarm + self.only_fault)

    @property
    def false_rate(self) -> float:
        """False alarms per device and 30 days."""
        return _share(self.false, self.device_30_days)

    @property
    def median_delay_s(self) -> float | None:
        """From a fault's first row to its first alarm, of those that were found."""
        delays = [one.delay_s for one in self.faults if one.delay_s is not None]
        return median(delays) if delays else None

    def of_kind(self, kind: FaultKind) -> tuple[int, int]:
        """How many faults of a kind were found, of how many."""
        mine = [one for one in self.faults if one.kind is kind]
        return sum(one.delay_s is not None for one in mine), len(mine)


def score_alarms(records: Sequence[Record], alarms: Alarms) -> AlarmScore:
    """An alarm tells of a fault if it was raised while that lasted, or just after it; all others are false."""
    faults: list[Found] = []
    false: Counter[str] = Counter()
    told = both = only_alarm = only_fault = 0
    for record in records:
        spans = sorted(alarms.get(record.name, ()), key=lambda span: span.first)
        for fault in record.faults:
            raised = [span.first for span in spans if _tells(span, fault)]
            faults.append(Found(fault.kind, (raised[0] - fault.first) * record.every_s if raised else None))
        wild = [span.by for span in spans if not any(_tells(span, fault) for fault in record.faults)]
        told += len(spans) - len(wild)
        false.update(wild)
        up, wrong = np.zeros(len(record.values), np.bool_), record.wrong
        for span in spans:
            up[span.first : span.end] = True
        both += int(np.count_nonzero(up & wrong))
        only_alarm += int(np.count_nonzero(up & ~wrong))
        only_fault += int(np.count_nonzero(~up & wrong))
    days = sum(record.days for record in records)
    return AlarmScore(faults, told, dict(false.most_common()), both, only_alarm, only_fault, len(records), days / 30)


def spans_above(scores: Floats, limit: float) -> list[Span]:
    """The alarms of a limit: from the first row at or above it to the last one, with short pauses bridged."""
    rows = np.flatnonzero(scores >= limit).tolist()
    spans: list[Span] = []
    for row in rows:
        if spans and row - spans[-1].end <= MERGED:
            spans[-1] = Span(spans[-1].first, row + 1)
        else:
            spans.append(Span(row, row + 1))
    return spans


def alarms_above(scores: Mapping[str, Floats], limit: float) -> Alarms:
    """The alarms of one limit over all records."""
    return {name: spans_above(some, limit) for name, some in scores.items()}


def limit_for(scores: Mapping[str, Floats], judge: Callable[[Alarms], AlarmScore], false: int) -> AlarmScore:
    """What comes of the lowest limit down to which there are at most so many false alarms."""
    pooled = np.concatenate(list(scores.values()))
    limits = np.unique(np.quantile(pooled, 1 - np.geomspace(1e-5, 0.5, 60)))[::-1].tolist()
    found, lowest = judge({}), float(pooled.min())
    for limit in limits:
        if limit <= lowest:
            break  # where every row is above it, there is one alarm and nothing told
        now = judge(alarms_above(scores, limit))
        if now.false > false:
            break
        found = now
    return found


def area_under_curve(records: Sequence[Record], scores: Mapping[str, Floats]) -> float:
    """Mean over the records with faults of how likely a faulty row's score is above a healthy one's."""
    areas = [_area(record.wrong, scores[record.name]) for record in records if record.faults]
    return float(np.mean(areas)) if areas else float("nan")


def _area(wrong: Mask, scores: Floats) -> float:
    values, which, count = np.unique(scores, return_inverse=True, return_counts=True)
    del values
    rank = (np.cumsum(count) - (count - 1) / 2)[which]  # equal scores share their mean rank
    faulty, healthy = int(np.count_nonzero(wrong)), int(np.count_nonzero(~wrong))
    return float((rank[wrong].sum() - faulty * (faulty + 1) / 2) / (faulty * healthy))


def _tells(span: Span, fault: Fault) -> bool:
    return fault.first <= span.first < fault.end + TAIL


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
