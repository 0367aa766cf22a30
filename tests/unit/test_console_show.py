"""How a deadline is shown: urgent until somebody has acted, and then met or missed; and what has passed."""

from datetime import date

import pytest

from gateway.console.pages.backtests import say_duration
from gateway.console.show import DAY_S, HOUR_S, Shown
from gateway.console.words import load_words

NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("due_s", "done_s", "says", "kind"),
    [
        (NOW_S - 10 * DAY_S, None, "10 d late", "late"),
        (NOW_S - 10 * DAY_S, NOW_S - 11 * DAY_S, "taken up in time", "met"),
        (NOW_S - 10 * DAY_S, NOW_S - 10 * DAY_S + HOUR_S, "taken up 1 h late", "met"),
        (None, NOW_S, "taken up", "met"),
        (None, None, "no deadline", "none"),
        (NOW_S + HOUR_S, None, "1 h left", "soon"),
    ],
)
def test_what_has_been_taken_up_is_late_no_longer(
    due_s: float | None, done_s: float | None, says: str, kind: str
) -> None:
    shown = str(Shown(load_words()["en"], NOW_S).due(due_s, done_s))
    assert f">{says}<" in shown
    assert f'class="due {kind}"' in shown


def test_a_warranty_has_passed_after_its_last_day() -> None:
    shown = Shown(load_words()["en"], NOW_S)  # 15 January 2027
    days = (date(2027, 1, 14), date(2027, 1, 15), None)
    assert [shown.has_passed(day) for day in days] == [True, False, False]


def test_a_span_is_offered_as_one_may_write_it() -> None:
    spans = (32_400.0, 259_200.0, 60.0, 90.0, 0.0, 0.5)
    assert [say_duration(span) for span in spans] == ["9h", "3d", "1m", "90s", "0s", "0.5s"]
