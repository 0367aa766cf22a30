"""Instants as helpdesks write them."""

import pytest

from crm_sync.adapters.rest.instants import parse_instant_s
from devices.clock import to_datetime


@pytest.mark.parametrize(
    ("text", "epoch_s"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000.0),
        ("2023-11-14 22:13:20", 1_700_000_000.0),
        ("1700000000", 1_700_000_000.0),
        ("1700000000000", 1_700_000_000.0),
        ("/Date(1700000000000+0000)/", 1_700_000_000.0),
    ],
)
def test_an_instant_is_read_however_it_is_written(text: str, epoch_s: float) -> None:
    assert parse_instant_s(text) == epoch_s


@pytest.mark.parametrize(
    "text", ["", "soon", "nan", "inf", "1e300", "-1e20", "0001-01-01T00:00:00+02:00", "/Date(9999999999999999)/"]
)
def test_what_no_calendar_has_is_no_instant_so_that_one_record_cannot_stop_the_rest(text: str) -> None:
    assert parse_instant_s(text) is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_first_and_last_instants_can_be_kept(text: str) -> None:
    told_s = parse_instant_s(text)
    assert told_s is not None
    assert to_datetime(told_s).isoformat().startswith(text.removesuffix("Z"))
