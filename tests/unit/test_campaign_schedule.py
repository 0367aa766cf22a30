"""Which strikes a campaign throws, and when: told by its seed alone, and none of them forgotten."""

import random
from collections import Counter

import pytest

from tests.faults.campaign.broker import documented_settings
from tests.faults.campaign.strikes import STRIKES, named, schedule


def test_the_same_seed_makes_the_same_campaign() -> None:
    assert schedule(50, random.Random(3)) == schedule(50, random.Random(3))
    assert schedule(50, random.Random(3)) != schedule(50, random.Random(4))


def test_every_cycle_has_each_strike_as_often_as_it_weighs() -> None:
    cycle = sum(strike.weight for strike in STRIKES)
    counts = Counter(strike.name for strike in schedule(3 * cycle, random.Random(1)))
    assert counts == {strike.name: 3 * strike.weight for strike in STRIKES}


def test_a_hundred_rounds_have_every_strike_at_least_three_times() -> None:
    counts = Counter(strike.name for strike in schedule(100, random.Random(1)))
    assert min(counts[strike.name] for strike in STRIKES) >= 3


def test_only_some_strikes_can_be_asked_for() -> None:
    names = {strike.name for strike in schedule(40, random.Random(1), "half-open,paused")}
    assert names == {"devices half-open", "subscription half-open", "database half-open", "database paused"}
    assert [strike.name for strike in named("disk full")] == ["disk full"]
    with pytest.raises(ValueError, match="gateway killed"):
        schedule(1, random.Random(1), "earthquake")


def test_the_broker_is_set_as_its_page_says() -> None:
    assert {"persistence true", "autosave_on_changes true"} <= set(documented_settings())
