"""The benchmark of machines that run to failure: what its fleets are, and how leads are counted."""

import json

import numpy as np
import pytest

from simulators.machines.plant import LONGEST, SHORTEST, Plant, Unit, lines_of, make_fleet
from simulators.machines.run import HELD_OUT, TUNING
from simulators.machines.score import TOO_EARLY, plain_z, score


def flat(name: str, cycles: int) -> Unit:
    return Unit(name, 0.0, 3600.0, np.zeros((cycles, 1)))


@pytest.mark.parametrize("plant", Plant)
def test_a_seed_is_always_the_same_fleet(plant: Plant) -> None:
    first, again, other = make_fleet(plant, 1, 5), make_fleet(plant, 1, 5), make_fleet(plant, 2, 5)
    assert all(np.array_equal(a.readings, b.readings) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].readings[:100], other[0].readings[:100])
    assert all(SHORTEST <= unit.cycles <= LONGEST for unit in first)


def test_sensors_have_moved_by_the_end_and_not_at_the_beginning() -> None:
    for unit in make_fleet(Plant.HOURLY, 1, 10):
        early, late = unit.readings[:30], unit.readings[-5:]
        spread = np.maximum(early.std(axis=0), 1e-12)
        moved = np.abs(late.mean(axis=0) - early.mean(axis=0)) / spread
        assert np.sort(moved[2:16])[-8:].min() > 2  # most of the sensors that feel it
        assert moved[:2].max() < 4  # no setting


def test_units_of_uneven_wear_differ_in_how_worn_they_are_long_before_the_end() -> None:
    def worn(unit: Unit) -> float:
        """Share of the way that the sensors have gone a hundred cycles before the end."""
        sensors = unit.readings[:, 2:16]
        first, then, last = sensors[:30].mean(axis=0), sensors[-110:-90].mean(axis=0), sensors[-5:].mean(axis=0)
        far = np.abs(last - first) / sensors[:30].std(axis=0) > 3
        return float(np.median(((then - first) / (last - first))[far]))

    hourly, uneven = ([worn(unit) for unit in make_fleet(plant, 1, 40)] for plant in (Plant.HOURLY, Plant.UNEVEN))
    assert np.median(uneven) > 1.5 * np.median(hourly)
    assert np.percentile(uneven, 90) - np.percentile(uneven, 10) > np.percentile(hourly, 90) - np.percentile(hourly, 10)


def test_lines_come_in_the_order_of_time() -> None:
    fleet = make_fleet(Plant.DAILY, 1, 3)
    lines = [json.loads(line) for line in lines_of(fleet)]
    assert len(lines) == sum(unit.cycles for unit in fleet)
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)
    assert len(lines[0]["metrics"]) == fleet[0].readings.shape[1]


def test_leads_are_counted_from_the_last_cycle() -> None:
    fleet = [flat("good", 201), flat("late", 201), flat("early", 201), flat("never", 201)]
    found = score(fleet, {"good": 120, "late": 190, "early": 200 - TOO_EARLY - 1})
    assert found.median_lead == 80
    assert found.warned == 0.5
    assert found.too_early == 0.25


def test_the_plain_score_finds_what_runs_away() -> None:
    rng = np.random.default_rng(1)
    readings = rng.normal(size=(200, 3))
    readings[150:, 1] += np.linspace(0, 10, 50)
    worn, calm = Unit("worn", 0.0, 3600.0, readings), Unit("calm", 0.0, 3600.0, rng.normal(size=(200, 3)))
    assert 150 < plain_z([worn, calm])["worn"] < 180


def test_nothing_is_tuned_on_what_is_held_out() -> None:
    assert not set(TUNING) & set(HELD_OUT)
