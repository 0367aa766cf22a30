"""Whatever happens to accounts and cells, what they promise holds."""

from hypothesis import given
from hypothesis import strategies as st

from crm_sync.trust.belief import Cell, Tail, believe, tail_of
from crm_sync.trust.budget import DAY_S, Accounts, Verdict, book, pass_time, rule
from crm_sync.trust.settings import BudgetSettings

weights = st.floats(0, 1e6)
cells = st.lists(st.builds(Cell, st.integers(0, 60), st.integers(0, 28), weights, weights, weights), max_size=20)
levels = st.tuples(st.integers(0, 60), st.integers(0, 28))


@given(cells, levels, levels)
def test_a_stronger_and_longer_alarm_has_no_more_to_be_compared_with(
    found: list[Cell], level: tuple[int, int], more: tuple[int, int]
) -> None:
    lower, upper = tail_of(found, *level), tail_of(found, max(level[0], more[0]), max(level[1], more[1]))
    slack = 1e-6 * (1.0 + lower.standing + lower.right + lower.wrong)
    assert upper.standing <= lower.standing + slack
    assert upper.right <= lower.right + slack
    assert upper.wrong <= lower.wrong + slack


@given(weights, weights, weights, st.floats(0, 1e9))
def test_a_belief_is_a_probability_and_more_wrong_ones_never_raise_it(
    standing: float, right: float, wrong: float, device_days: float
) -> None:
    tail, more = Tail(standing, right, wrong), Tail(standing, right, wrong + 1)
    before, after = believe(tail, tail, device_days, 1e-4), believe(more, more, device_days, 1e-4)
    assert 0.0 <= after.true <= before.true <= 1.0
    assert 0.0 <= before.p_value <= 1.0


alarms = st.lists(st.tuples(st.floats(0, 3 * DAY_S), st.floats(0, 1), st.booleans()), min_size=1, max_size=120)


@given(alarms, st.integers(1, 12), st.floats(0, 50), st.integers(0, 100_000))
def test_the_cap_and_the_figure_hold_for_any_alarms(
    found: list[tuple[float, float, bool]], cap: int, learning: float, devices: int
) -> None:
    settings = BudgetSettings(cases_per_day=cap, learning_cases=learning)
    accounts = Accounts.fresh(settings, 0.0)
    spent, opened, critical = 0.0, dict[int, int](), dict[int, int]()
    for at_s, true, is_critical in sorted(found):
        tail = Tail(right=true * 1000, wrong=(1 - true) * 1000)
        belief = believe(tail, tail, 0.0, 1e-4)
        accounts = pass_time(accounts, settings, devices, at_s)
        ruling = rule(accounts, settings, belief, 0.0, critical=is_critical)
        day = int(at_s // DAY_S)
        if ruling.verdict.passes:
            accounts = book(accounts, settings, belief.cost)
            opened[day] = opened.get(day, 0) + 1
        if ruling.verdict is Verdict.CRITICAL:
            critical[day] = critical.get(day, 0) + 1
        if ruling.verdict is Verdict.ROOM:
            spent += belief.cost
            assert belief.true >= settings.least_belief
    a_day = settings.expected_false_cases_per_thousand_devices_per_day * devices / 1000
    assert spent <= max(learning, 2 * a_day) + 3 * a_day + 1e-6
    for day, count in opened.items():
        assert count - critical.get(day, 0) <= cap
