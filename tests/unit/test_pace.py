"""How much was stored of late."""

import pytest

from gateway.pipeline.pace import Pace


def test_rates_go_by_the_last_minute_and_the_last_hour() -> None:
    pace = Pace()
    pace.begin(0.0)
    for second in range(3600):
        pace.observe(2 if second < 3500 else 10, float(second))
    rates = pace.rates(3600.0)
    assert rates.readings_minute == pytest.approx(10.0)
    assert rates.readings_hour == pytest.approx((3500 * 2 + 100 * 10) / 3600, rel=0.01)
    assert rates.batches_minute == pytest.approx(1.0)


def test_what_is_over_an_hour_old_counts_no_more() -> None:
    pace = Pace()
    pace.observe(5000, 0.0)
    assert pace.rates(1800.0).readings_hour == pytest.approx(5000 / 1800)
    assert pace.rates(1800.0).readings_minute == 0
    assert pace.rates(4000.0).readings_hour == 0


def test_soon_after_the_start_rates_go_by_the_time_since_then() -> None:
    pace = Pace()
    assert pace.rates(100.0).readings_minute == 0
    pace.begin(100.0)
    pace.observe(50, 103.0)
    assert pace.rates(105.0).readings_minute == pytest.approx(10.0)
