"""Judging early: on the presumption that all is new, and again where it was not."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from gateway.pipeline.judge import Judge
from gateway.pipeline.trial import Trial
from gateway.store.rows import Fate, Readings, StoredReadings


class Recorder:
    """Stands in for the judge: says what it was asked, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[Any, Any]]] = []

    def judge(self, told: Sequence[tuple[Any, Any]], events: object, alive_s: float) -> Any:
        """Say how often it was asked."""
        del events, alive_s
        self.asked.append(list(told))
        return [f"findings {len(self.asked)}"]


def part(name: str, *fates: Fate) -> StoredReadings:
    return StoredReadings(cast("Readings", name), np.array(fates, np.uint8), cast("Readings", f"new of {name}"))


def trial() -> tuple[Recorder, Trial]:
    recorder = Recorder()
    return recorder, Trial(cast("Judge", recorder), [], 0.0)


def test_what_was_presumed_and_held_is_judged_once() -> None:
    recorder, each = trial()
    each.presume([part("a", Fate.NEW, Fate.NEW)])
    assert each.findings([part("a", Fate.NEW, Fate.NEW)]) == ["findings 1"]
    assert recorder.asked == [[("new of a", ())]]


def test_a_presumption_that_did_not_hold_is_judged_anew() -> None:
    recorder, each = trial()
    each.presume([part("a", Fate.NEW, Fate.NEW)])
    assert each.findings([part("a", Fate.NEW, Fate.DUPLICATE)]) == ["findings 2"]
    assert len(recorder.asked) == 2


def test_a_second_try_at_storing_presumes_nothing_more() -> None:
    recorder, each = trial()
    each.presume([part("a", Fate.NEW)])
    each.presume([part("a", Fate.NEW)])
    assert len(recorder.asked) == 1


def test_without_a_presumption_it_is_judged_in_the_end() -> None:
    recorder, each = trial()
    assert each.findings([]) == ["findings 1"]
    assert recorder.asked == [[]]
