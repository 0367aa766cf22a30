"""Whether contact helped, by the numbers of a textbook."""

from datetime import UTC, datetime

import pytest

from crm_sync.journey.hold_out import Followed, compare
from crm_sync.journey.model import Compared, HoldOut, Journey, Leg, Span, SpanTimes, Stage
from crm_sync.trust.precision import Precision
from gateway.cli.journey import WIDTH, print_journey, say_effect


def sides(told: tuple[int, int], held: tuple[int, int], compared: Compared = "contact") -> HoldOut:
    """Of `told` and `held`: how many were gone, and of how many owners."""
    rows = [Followed(compared, held_out, cases, gone) for held_out, (gone, cases) in ((False, told), (True, held))]
    return compare(rows)


def test_the_interval_is_newcombes() -> None:
    """56 of 70 against 48 of 80: 0.0524 to 0.3339, as Newcombe (1998, table II, method 10) has it."""
    found = sides((56, 70), (48, 80))
    assert found.effect == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert found.is_shown


def test_an_interval_that_holds_nothing_shows_nothing() -> None:
    found = sides((30, 40), (28, 40))
    assert found.verdict == "open"
    assert "too few to tell it from chance" in say_effect(found)


def test_of_a_handful_nothing_is_claimed_though_the_interval_leaves_zero_out() -> None:
    found = sides((3, 3), (0, 2))
    assert found.low is not None
    assert found.low > 0
    assert (found.verdict, found.is_shown) == ("too_few", False)
    assert say_effect(found).startswith("Effect of contact: too few to tell; that takes 20 owners on each side.")


def test_without_a_held_out_owner_nothing_is_claimed() -> None:
    found = compare([Followed("contact", is_held_out=False, cases=900, gone=890)])
    assert (found.effect, found.verdict) == (None, "nobody")
    assert say_effect(found).startswith("Effect of contact: not known")


def test_where_owners_went_without_a_case_that_is_what_is_compared() -> None:
    rows = [Followed("contact", is_held_out=False, cases=90, gone=80)]  # of those who had one
    rows += [
        Followed("case", is_held_out=False, cases=100, gone=85),
        Followed("case", is_held_out=True, cases=30, gone=9),
    ]
    found = compare(rows)
    assert (found.compared, found.verdict, found.contacted.outcomes, found.held_out.right) == ("case", "shown", 100, 9)
    assert say_effect(found).startswith("Effect of a case: +55%")


def test_no_line_is_wider_than_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    most = dict.fromkeys(Stage, 123_456)
    took = dict.fromkeys(Span, SpanTimes(123_456, 86_400.0 * 400, 86_400.0 * 4000))
    legs = [Leg(f"a product model with a very long name, number {number}", most, took) for number in range(3)]
    reasons = {f"for_a_reason_of_many_words_{number}": 12_345 for number in range(9)}
    side = Precision(120.0, 30.0, 0.8, 0.7, 0.9)
    hold_out = HoldOut("case", "open", 20, 30, side, side, 0.1, -0.1, 0.3)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    print_journey(Journey(start, start, 999_999, reasons, reasons, 99_999, legs[0], tuple(legs), hold_out))
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines()) <= WIDTH
    assert "123,456" in said
    assert all(reason.replace("_", " ").split()[-1] in said for reason in reasons)


@pytest.mark.parametrize(("alarms", "said"), [(0, ": 0 alarms"), (1, ": 1 alarm"), (2, ": 2 alarms")])
def test_a_single_alarm_is_one(alarms: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    start, took = datetime(2026, 1, 1, tzinfo=UTC), dict.fromkeys(Span, SpanTimes(0, None, None))
    leg = Leg("all", dict.fromkeys(Stage, 0), took)
    print_journey(Journey(start, start, alarms, {}, {}, 0, leg, (), compare([])))
    assert capsys.readouterr().out.splitlines()[0].endswith(said)
