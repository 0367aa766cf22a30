"""Charts of whatever devices send."""

import numpy as np
import pytest

from gateway.console.chart import Series, draw_series
from gateway.console.show import Shown
from gateway.console.words import load_words


@pytest.mark.parametrize("values", [(1e308, -1e308), (1.0, 1.0), (1e17, 1e17 + 16), (5e-324, 0.0), (float("nan"), 1.0)])
@pytest.mark.parametrize("span_s", [0.0, 100.0])
def test_no_value_of_a_broken_device_keeps_its_page_from_being_shown(
    values: tuple[float, float], span_s: float
) -> None:
    series = Series("k", "temperature", "K", np.array([1e9, 1e9 + span_s]), np.array(values))
    drawn = draw_series(series, Shown(load_words()["en"], 1e9 + 200))
    assert "nan" not in drawn.svg
    assert "inf" not in drawn.svg
