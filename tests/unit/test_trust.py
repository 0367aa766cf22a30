"""Trust by itself: scales, beliefs, the budget's promises, intervals, promotion, bars."""

import numpy as np
import pytest
from pydantic import ValidationError

from crm_sync.trust.bar import bar_now, moved
from crm_sync.trust.belief import Belief, Cell, Tail, believe, tail_of
from crm_sync.trust.budget import DAY_S, Accounts, Verdict, book, pass_time, rule, settle
from crm_sync.trust.precision import Precision, measure
from crm_sync.trust.promotion import judge_mode
from crm_sync.trust.scale import LONGEST, STRONGEST, fade, lasting_of, strength_of
from crm_sync.trust.settings import BudgetSettings, TrustSettings
from crm_sync.trust.shadows import is_shadow
from devices.profiles.model import WatchMode

RATE = 1e-4
TRUST = TrustSettings()


def sure(true: float) -> Belief:
    return Belief(true, 1e-4, Tail(), 0.0)


def test_scales_rise_and_end() -> None:
    levels = [strength_of(score) for score in (-1.0, 0.0, 0.5, 0.75, 0.9, 0.99, 1.0, 7.0)]
    assert levels == sorted(levels)
    assert (levels[0], levels[2], levels[3], levels[-1]) == (0, 4, 8, STRONGEST)
    spans = [lasting_of(hours * 3600) for hours in (-3, 0, 1, 12, 16, 24, 72, 10**9)]
    assert spans == sorted(spans)
    assert spans[3] < spans[5] < spans[6]
    assert spans[-1] == LONGEST


def test_what_is_old_counts_half_and_a_clock_set_back_changes_nothing() -> None:
    assert fade(0.0, 90.0, 90.0) == 0.5
    assert fade(100.0, 50.0, 90.0) == 1.0


def test_only_those_at_least_as_strong_and_as_lasting_speak() -> None:
    cells = [Cell(4, 0, 10, 1, 2), Cell(8, 0, 5, 1, 0), Cell(4, 6, 3, 0, 1), Cell(8, 6, 1, 1, 0)]
    assert tail_of(cells, 0, 0) == Tail(19, 3, 3)
    assert tail_of(cells, 8, 0) == Tail(6, 2, 0)
    assert tail_of(cells, 4, 6) == Tail(4, 1, 1)
    assert tail_of(cells, 9, 9) == Tail()


def test_with_nothing_known_one_in_four_is_taken_to_be_true() -> None:
    assert believe(Tail(), Tail(), 0.0, RATE).true == pytest.approx(0.25)


def test_a_watch_that_alarms_everywhere_is_hardly_believed_and_a_silent_one_is() -> None:
    chatty = believe(Tail(standing=300), Tail(standing=300), 10_000, RATE)
    quiet = believe(Tail(), Tail(), 90_000, RATE)
    assert chatty.true < 0.01
    assert quiet.true > 0.4
    assert chatty.p_value == pytest.approx(301 / (10_000 + 1 / (3 * RATE)))


@pytest.mark.parametrize("device_days", [10_000, 100_000, 10_000_000])
def test_the_first_alarm_of_a_watch_is_never_near_certain_for_being_the_first(device_days: float) -> None:
    """Months of silence speak against false alarms of a watch, and against its finding faults as well."""
    assert 0.25 < believe(Tail(), Tail(), device_days, RATE).true < 0.5
    found = Tail(right=3)
    assert believe(found, found, device_days, RATE).true > 0.8


def test_outcomes_outweigh_rarity() -> None:
    right, wrong = Tail(standing=30, right=20), Tail(wrong=9, right=1)
    assert believe(right, right, 10_000, RATE).true > 0.9
    assert believe(wrong, wrong, 1_000_000, RATE).true < 0.3


def test_a_watch_that_was_wrong_is_doubted_at_its_strongest_too() -> None:
    fresh = believe(Tail(), Tail(), 100_000, RATE)
    doubted = believe(Tail(), Tail(wrong=10), 100_000, RATE)
    assert doubted.true < 0.3 * fresh.true  # 2/7, and it is less rare
    assert doubted.p_value > fresh.p_value


@pytest.mark.parametrize("alike", [0.0, 0.7])  # how much strength and lasting have to do with each other
def test_that_none_is_both_stronger_and_more_lasting_is_no_rarity(alike: float) -> None:
    """Of a hundred false alarms several lead on the two scales together; p-values must not call each the strongest."""
    rng, days = np.random.default_rng(5), 1e6
    rare = 0
    for _ in range(60):
        strength = rng.integers(0, 60, 100)
        lasting = np.where(rng.random(100) < alike, strength, rng.integers(0, 60, 100))
        cells = [Cell(int(s), int(t), 1, 0, 0) for s, t in zip(strength, lasting, strict=True)]
        for cell in cells:
            others = tail_of(cells, cell.strength, cell.lasting)
            found = believe(Tail(others.standing - 1), Tail(99), days, RATE)
            rare += found.p_value < 2 / (days + 1 / (3 * RATE))
    assert rare == 0  # not even the leader of a hundred is as rare as one that came alone


def test_time_grants_the_figure_and_a_new_day_new_places() -> None:
    settings = BudgetSettings(learning_cases=0.0, expected_false_cases_per_thousand_devices_per_day=0.5)
    accounts = Accounts(0.0, 0.0, 100, 7, 100 * DAY_S)
    half_a_day = pass_time(accounts, settings, 4000, 100.5 * DAY_S)
    assert half_a_day.allowance == pytest.approx(1.0)
    assert half_a_day.opened == 7
    weeks = pass_time(accounts, settings, 4000, 130 * DAY_S)
    assert weeks.allowance == pytest.approx(4.0)  # two days' worth
    assert (weeks.day, weeks.opened) == (130, 0)
    assert pass_time(weeks, settings, 4000, 90 * DAY_S) == weeks  # a clock set back grants nothing


def test_what_is_in_hand_is_not_taken_away_when_the_fleet_shrinks() -> None:
    settings = BudgetSettings(learning_cases=0.0)
    assert pass_time(Accounts(9.0, 0.0, 1, 0, DAY_S), settings, 10, 2 * DAY_S).allowance == 9.0


def test_wealth_fades_towards_where_it_began() -> None:
    settings = BudgetSettings(learning_cases=10.0)
    rich = pass_time(Accounts(0, 50.0, 0, 0, 0.0), settings, 0, settings.memory)
    poor = pass_time(Accounts(0, -50.0, 0, 0, 0.0), settings, 0, settings.memory)
    assert (rich.wealth, poor.wealth) == (30.0, -20.0)


@pytest.mark.parametrize(
    ("accounts", "true", "bar", "verdict"),
    [
        (Accounts(5, 5, 0, 0, 0), 0.9, 0.0, Verdict.ROOM),
        (Accounts(5, 9, 0, 0, 0), 0.19, 0.0, Verdict.BELIEF),
        (Accounts(5, 5, 0, 0, 0), 0.3, 0.2, Verdict.BAR),
        (Accounts(0.3, 5, 0, 0, 0), 0.5, 0.0, Verdict.ALLOWANCE),
        (Accounts(5, 0.2, 0, 0, 0), 0.5, 0.0, Verdict.SHARE),
        (Accounts(5, 3.0, 0, 0, 0), 0.4, 0.0, Verdict.SHARE),  # it would stake more than a tenth
        (Accounts(5, -2.0, 0, 0, 0), 0.85, 0.0, Verdict.ROOM),  # a likely one pays for itself
        (Accounts(5, 5, 0, 9, 0), 0.9, 0.0, Verdict.CAP),  # the last place is for 0.95
        (Accounts(5, 5, 0, 9, 0), 0.96, 0.0, Verdict.ROOM),
        (Accounts(5, 5, 0, 10, 0), 1.0, 0.0, Verdict.CAP),
    ],
)
def test_each_verdict_has_its_cause(accounts: Accounts, true: float, bar: float, verdict: Verdict) -> None:
    assert rule(accounts, BudgetSettings(cases_per_day=10), sure(true), bar, critical=False).verdict is verdict


def test_what_is_critical_passes_and_is_booked() -> None:
    empty, settings = Accounts(-3, -3, 0, 500, 0), BudgetSettings()
    assert rule(empty, settings, sure(0.0), 0.4, critical=True).verdict is Verdict.CRITICAL
    booked = book(empty, settings, 1.0)
    assert (booked.allowance, booked.opened) == (-4, 501)


def test_a_case_costs_what_it_was_in_the_end() -> None:
    settings, start = BudgetSettings(), Accounts(5, 5, 0, 0, 0)
    assert settle(book(start, settings, 0.3), 0.3, 1.0).allowance == pytest.approx(4.0)
    assert settle(book(start, settings, 0.3), 0.3, 0.0).allowance == pytest.approx(5.0)


@pytest.mark.parametrize("believed", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_nothing_but_false_alarms_the_figure_holds_however_wrong_the_belief(believed: float, seed: int) -> None:
    """All alarms are false, come in storms, and are believed: outcomes, which come a day later, stop them."""
    settings = BudgetSettings(expected_false_cases_per_thousand_devices_per_day=0.2, learning_cases=5.0)
    rng, devices, days = np.random.default_rng(seed), 10_000, 120
    accounts, false = Accounts.fresh(settings, 0.0), 0
    booked: list[tuple[float, float]] = []
    for day in range(days):
        storm = 200 if rng.random() < 0.1 else 5
        moments = np.sort(rng.uniform(day, day + 1, storm)) * DAY_S
        for at_s in moments.tolist():
            accounts = pass_time(accounts, settings, devices, at_s)
            while booked and booked[0][0] <= at_s - DAY_S:
                accounts = settle(accounts, booked.pop(0)[1], 1.0)
            if rule(accounts, settings, sure(believed), 0.0, critical=False).verdict is Verdict.ROOM:
                accounts = book(accounts, settings, 1.0 - believed)
                booked.append((at_s, 1.0 - believed))
                false += 1
    granted = settings.learning_cases + 0.2 * devices / 1000 * days
    in_flight = (settings.learning_cases + 2 * 0.2 * devices / 1000) / (1.0 - believed)
    assert false <= granted + in_flight
    assert false > 0


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_share_of_false_cases_holds_over_many_watches_that_depend_on_each_other(seed: int) -> None:
    """Beliefs are right on average; what is true comes in clusters. A fifth may be false, and what is granted."""
    settings = BudgetSettings(
        expected_false_cases_per_thousand_devices_per_day=100.0, learning_cases=5.0, cases_per_day=10_000
    )
    rng, accounts = np.random.default_rng(seed), Accounts.fresh(settings, 0.0)
    opened = false = 0
    for day in range(200):
        for cluster in range(4):
            true = float(rng.beta(0.5, 0.5))
            are_true = rng.random() < true  # all of a cluster, or none
            accounts = pass_time(accounts, settings, 1000, (day + cluster / 4) * DAY_S)
            for _ in range(int(rng.integers(1, 6))):
                if rule(accounts, settings, sure(true), 0.0, critical=False).verdict is Verdict.ROOM:
                    accounts = settle(book(accounts, settings, 1 - true), 1 - true, 0.0 if are_true else 1.0)
                    opened, false = opened + 1, false + (not are_true)
    assert opened > 500
    regained = settings.learning_cases * (2 + 200 / (settings.memory / DAY_S))
    assert false <= settings.false_share * opened + regained


def test_wilsons_interval_is_wilsons() -> None:
    found = measure(8, 2, 0.95)  # the textbook's example
    assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert measure(0, 0, 0.9) == Precision(0, 0, None, 0.0, 1.0)
    assert measure(0, 5, 0.9).low == 0.0
    assert measure(5, 0, 0.9).high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("mode", "right", "wrong", "becomes"),
    [
        (WatchMode.APPROVE, 15, 0, WatchMode.AUTO),
        (WatchMode.APPROVE, 9, 0, None),  # too few
        (WatchMode.APPROVE, 10, 1, None),  # not sure enough
        (WatchMode.SHADOW, 15, 0, WatchMode.APPROVE),
        (WatchMode.AUTO, 15, 0, None),
        (WatchMode.AUTO, 2, 12, WatchMode.APPROVE),
        (WatchMode.AUTO, 6, 6, None),
        (WatchMode.APPROVE, 0, 12, WatchMode.SHADOW),
        (WatchMode.APPROVE, 3, 9, None),
        (WatchMode.SHADOW, 0, 50, None),
    ],
)
def test_modes_follow_the_interval(mode: WatchMode, right: int, wrong: int, becomes: WatchMode | None) -> None:
    change = judge_mode(mode, measure(right, wrong, TRUST.confidence), TRUST)
    assert (None if change is None else change.mode) == becomes


def test_no_outcomes_call_for_up_and_down() -> None:
    for right in range(60):
        for wrong in range(60):
            since = measure(right, wrong, TRUST.confidence)
            assert not (since.low >= TRUST.promote_above and since.high < TRUST.demote_below)


def test_a_bar_rises_sinks_fades_and_is_bounded() -> None:
    bar = 0.0
    for _ in range(20):
        bar = moved(bar, 1.0, 1.0, TRUST)
    assert bar == TRUST.bar_most
    assert moved(bar, 0.0, 1.0, TRUST) == pytest.approx(bar - TRUST.bar_step)
    assert moved(0.0, 0.0, 1.0, TRUST) == 0.0
    assert moved(0.0, 1.0, 0.25, TRUST) == pytest.approx(TRUST.bar_step / 4)
    assert bar_now(0.4, 0.0, TRUST.bar_memory, TRUST) == pytest.approx(0.2)


def test_settings_that_would_send_a_watch_to_and_fro_are_refused() -> None:
    with pytest.raises(ValidationError, match="to and fro"):
        TrustSettings(promote_above=0.5, demote_below=0.6)


def test_a_generic_watch_in_shadow_is_known_by_its_detector() -> None:
    shadows = {("automatic", "usage-drop"), ("e-bike", "rides-heavily")}
    assert is_shadow(shadows, "automatic", "usage-drop-steps", "usage_drop")
    assert is_shadow(shadows, "e-bike", "rides-heavily", "record")
    assert not is_shadow(shadows, "e-bike", "ridden-less", "usage_drop")
    assert not is_shadow(shadows, "automatic", "record-steps", "record")


def test_a_watch_that_the_automatic_profile_names_is_not_in_the_shadow_of_others_of_its_kind() -> None:
    assert is_shadow({("automatic", "stuck")}, "automatic", "stuck-heart-rate", "stuck")
    assert not is_shadow({("automatic", "stuck")}, "automatic", "sensors", "stuck")
    assert is_shadow({("automatic", "sensors")}, "automatic", "sensors", "stuck")
