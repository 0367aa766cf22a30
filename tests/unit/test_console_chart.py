"""Charts of whatever devices send."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from gateway.console.chart import WIDTH, Series, draw_map, draw_series
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


@pytest.mark.parametrize("count", [1, 7, 28, 90])
def test_a_map_names_its_newest_day_and_keeps_every_name_and_day_inside(count: int) -> None:
    newest = datetime(2026, 11, 23, tzinfo=UTC)
    days = [newest - timedelta(days=count - 1 - number) for number in range(count)]
    drawn = draw_map("silence", "silent", days, {"e-bike": [0.5] * count}, Shown(load_words()["en"], 1e9))
    ends = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="24" text-anchor="end">', drawn.svg)]
    assert ends[0] == WIDTH
    assert ends == sorted(ends, reverse=True)
    assert min(ends) >= WIDTH / 8  # a day's name ends there, and begins on the picture
    assert ">23 Nov<" in drawn.svg
    assert drawn.svg.count("<rect") == count
