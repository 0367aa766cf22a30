"""The values of a row are judged together: what goes its own way shows, for as long as it does."""

import numpy as np
import pytest

from gateway.detect.arrays import Floats
from gateway.detect.whole import FIRST, MOST_VALUES, RowScorer

ALARM = 0.4  # a threshold for tables
FAULT = slice(600, 800)


def _rig(rows: int = 1000, columns: int = 8) -> Floats:
    """Sensors of one loop, once a second: noise of their own, and half of them swing together."""
    rng = np.random.default_rng(3)
    swing = np.sin(np.arange(rows) / 25.0)[:, None] * (np.arange(columns) % 2)
    return 20.0 + 3.0 * swing + 0.3 * rng.normal(size=(rows, columns))


def _scores(values: Floats) -> Floats:
    scorer = RowScorer()
    rows = [{f"s{k}": float(value) for k, value in enumerate(row)} for row in values]
    return np.array([scorer.score(float(at), row) for at, row in enumerate(rows)])


def test_a_fault_of_two_sensors_scores_for_as_long_as_it_lasts_and_no_longer() -> None:
    values = _rig()
    values[FAULT, :2] += 2.0
    scores = _scores(values)
    assert scores[:600].max() < ALARM
    assert scores[615:800].min() > ALARM
    assert scores[830:].max() < ALARM


def test_a_sensor_that_goes_its_own_way_shows_though_its_values_are_usual() -> None:
    values = _rig()
    values[FAULT, 1] = 40.0 - values[FAULT, 1]
    scores = _scores(values)
    assert scores[FAULT].max() > 1.5 * scores[:600].max()
    assert scores[605:680].mean() > 5.0 * scores[100:600].mean()


def test_noise_that_has_grown_shows_for_as_long_as_it_does_though_every_level_is_usual() -> None:
    """Without leaps its mean was 0.26."""
    values = _rig(3300)
    values[3000:3200, 2] += 2.0 * np.random.default_rng(4).normal(size=200)
    scores = _scores(values)
    assert scores[3020:3200].mean() > ALARM
    assert scores[3240:].max() < 0.15


def test_a_sensor_that_was_noisy_and_is_gone_scores_no_longer() -> None:
    """Its last leaps stayed: all rows that came without it scored 0.5."""
    values, scorer = _rig(3300), RowScorer()
    values[3000:3200, 2] += 3.0 * np.random.default_rng(4).normal(size=200)
    scores: list[float] = []
    for at, row in enumerate(values):
        there = [k for k in range(8) if k != 2 or at < 3200]
        scores.append(scorer.score(float(at), {f"s{k}": float(row[k]) for k in there}))
    assert min(scores[3190:3200]) > ALARM
    assert max(scores[3220:]) < 0.2


def test_a_swing_that_all_share_says_less_than_one_sensors() -> None:
    together, alone = _rig(), _rig()
    together[FAULT, 1::2] += 1.5
    alone[FAULT, 1] += 1.5
    assert _scores(together)[FAULT].mean() < _scores(alone)[FAULT].mean()


def test_nothing_is_said_of_the_first_rows_and_much_soon_after() -> None:
    values = _rig(200)
    values[100:, 2] += 3.0
    scores = _scores(values)
    assert scores[: int(FIRST)].max() == 0.0
    assert scores[110:].max() > ALARM


def test_a_small_fault_of_a_machine_that_is_known_for_thousands_of_rows_shows() -> None:
    """With a memory of 1,500 rows its first hundred rows came to 0.13; chance takes single ones to 0.06."""
    values = _rig(4120, 16)
    values[4000:, :2] += 1.2
    scores = _scores(values)
    assert scores[4020:].mean() > 0.25
    assert scores[3000:4000].max() < 0.15


def test_the_rows_to_come_do_not_matter() -> None:
    values = _rig()
    values[FAULT] += 5.0
    assert _scores(values)[:700].tolist() == _scores(values[:700]).tolist()


@pytest.mark.parametrize(("unit", "zero"), [(1024.0, 0.0), (0.01, -273.15), (-1.0, 1e4)])
def test_unit_and_zero_do_not_matter(unit: float, zero: float) -> None:
    values = _rig()
    values[FAULT, 3] += 2.0
    assert _scores(values * unit + zero) == pytest.approx(_scores(values), abs=1e-6)


def test_rows_that_are_late_empty_or_no_numbers_score_nothing_and_change_nothing() -> None:
    values, scorer = _rig(300), RowScorer()
    scores: list[float] = []
    for at, row in enumerate(values):
        if at == 200:
            assert scorer.score(50.0, {"s0": 1e6}) == 0.0
            assert scorer.score(199.5, {}) == 0.0
            assert scorer.score(199.5, {"s0": float("inf"), "s1": float("nan")}) == 0.0
        scores.append(scorer.score(float(at), {f"s{k}": float(value) for k, value in enumerate(row)}))
    assert scores == _scores(values).tolist()


def test_values_that_are_missing_now_and_then_or_come_later_are_no_fault() -> None:
    values, scorer = _rig(), RowScorer()
    scores: list[float] = []
    for at, row in enumerate(values):
        there = [k for k in range(8) if (at + k) % 5 and (k != 6 or at > 400)]
        scores.append(scorer.score(float(at), {f"s{k}": float(row[k]) for k in there}))
    assert max(scores) < ALARM


def test_what_never_changed_and_does_shows() -> None:
    values = np.c_[_rig(), np.full(1000, 7.0)]
    values[FAULT, 8] = 9.0
    scores = _scores(values)
    assert scores[:600].max() < ALARM
    assert scores[FAULT].max() > ALARM


def test_a_table_that_is_very_wide_is_judged_by_its_first_columns_and_each_by_itself() -> None:
    values = _rig(700, MOST_VALUES + 6)
    values[600:, MOST_VALUES + 5] += 3.0
    scores = _scores(values)
    assert scores[300:600].max() < scores[650:].max()
