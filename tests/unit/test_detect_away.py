"""What goes on being away from where it lies, or swings otherwise, keeps a score for as long as it does."""

import numpy as np
import pytest

from gateway.detect.arrays import Floats
from gateway.detect.away import MOST, Away
from gateway.detect.lines import Row
from gateway.detect.stream import Scorer


def _flow(count: int = 1100) -> Floats:
    """A pump's flow, once a second."""
    return 32.0 + np.random.default_rng(4).normal(0.0, 0.5, count)


def _scores(values: Floats) -> Floats:
    scorer = Scorer()
    return np.array([scorer.score(Row(float(at), float(value))) for at, value in enumerate(values)])


def _away(values: Floats) -> Floats:
    away = Away()
    return np.array([away.score(float(value)) for value in values])


def test_a_valve_that_closes_slowly_keeps_its_score() -> None:
    flow = _flow()
    flow[600:] -= np.minimum(np.arange(500) / 25.0, 1.0) * 10.0
    scores = _scores(flow)
    assert scores[640:900].min() > 2.0 * scores[300:600].mean()
    assert scores[640:900].min() > 0.15


def test_noise_that_grows_keeps_its_score() -> None:
    flow = _flow()
    flow[600:] += np.random.default_rng(5).normal(0.0, 2.0, 500)
    scores = _away(flow)
    assert np.quantile(scores[650:900], 0.1) > scores[300:600].max()


def test_it_never_comes_to_what_news_does() -> None:
    assert _away(np.r_[_flow(500), np.full(500, 1e29)]).max() < MOST


@pytest.mark.parametrize(("unit", "zero"), [(1024.0, 0.0), (1.0, 1e5), (-1.0, 0.0), (0.01, -273.15)])
def test_unit_and_zero_do_not_matter(unit: float, zero: float) -> None:
    flow = _flow()
    flow[600:] -= 3.0
    assert _away(flow * unit + zero) == pytest.approx(_away(flow), abs=1e-6)


def test_the_future_does_not_matter() -> None:
    flow = _flow()
    assert _scores(flow)[:400].tolist() == _scores(flow[:400]).tolist()


def test_what_never_changed_and_then_does_is_away() -> None:
    scores = _away(np.r_[np.full(300, 7.0), np.full(100, 9.0)])
    assert scores[:301].max() == 0.0
    assert scores[340] > 0.1


def test_a_late_row_says_and_teaches_nothing() -> None:
    flow, scorer, without = _flow(400), Scorer(), Scorer()
    for at, value in enumerate(flow):
        given = scorer.score(Row(float(at), float(value)))
        assert scorer.score(Row(float(at) - 50.0, 1000.0)) == 0.0
        assert given == without.score(Row(float(at), float(value)))
