"""How a deadline is shown: urgent until somebody has acted, and then met or missed."""

import pytest

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
