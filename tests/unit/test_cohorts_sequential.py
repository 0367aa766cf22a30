"""The fleet layer's tests are right as often as they say, however often they are looked at."""

import math

import numpy as np
import pytest

from gateway.cohorts import sequential
from gateway.cohorts.comparison import Comparison, Place, Sign, Updated
from gateway.cohorts.dips import Scope

ALPHA = 0.05
HERE = Place("eu", 0)
DAY_S = 86_400.0


def crossings(ratio: float, *, runs: int, alarms: int, share: float) -> int:
    """In how many runs the evidence passes its bar, looked at after each alarm, where the true ratio is `ratio`."""
    rng = np.random.default_rng(7)
    new, others = 1000.0 * share, 1000.0 * (1 - share)
    is_new = rng.random((runs, alarms)) < ratio * new / (ratio * new + others)
    hit, missed = (sequential.steps(np.array([flag]), np.array([new]), np.array([others])) for flag in (True, False))
    course = np.where(is_new[:, :, None], hit, missed).cumsum(axis=1)
    return int((np.log(np.exp(course).mean(axis=2)).max(axis=1) > sequential.bar(ALPHA)).sum())


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("ratio", [1.0, sequential.HARMLESS])
def test_a_harmless_firmware_is_called_bad_at_most_as_often_as_alpha_says(ratio: float, share: float) -> None:
    runs = 2000
    # Three standard deviations above alpha would be bad luck of one in a thousand.
    most = runs * ALPHA + 3 * math.sqrt(runs * ALPHA)
    assert crossings(ratio, runs=runs, alarms=120, share=share) <= most


def test_a_bad_firmware_is_found_after_a_few_alarms() -> None:
    assert crossings(20.0, runs=100, alarms=12, share=0.2) >= 95


def test_steps_of_many_alarms_are_the_sum_of_their_steps() -> None:
    rng = np.random.default_rng(1)
    is_new, new, others = (
        rng.random(50) < 0.4,
        rng.integers(1, 9, 50).astype(np.float64),
        rng.integers(1, 9, 50).astype(np.float64),
    )
    each = [sequential.steps(is_new[i : i + 1], new[i : i + 1], others[i : i + 1]) for i in range(50)]
    np.testing.assert_allclose(sequential.steps(is_new, new, others), np.sum(each, axis=0))


def test_without_anybody_to_compare_with_an_alarm_proves_nothing() -> None:
    assert not sequential.steps(np.array([True]), np.array([50.0]), np.array([0.0])).any()


def test_a_past_that_was_no_better_proves_nothing_however_often_one_looks() -> None:
    rng = np.random.default_rng(3)
    runs, crossed = 300, 0
    for _ in range(runs):
        before = rng.poisson(0.01 * 14 * 500)
        after, passed = 0, False
        for day in range(1, 30):
            after += rng.poisson(0.01 * 500 * 2.0)
            passed = passed or sequential.before_after(before, 14 * 500, after, day * 500, 2.0) > sequential.bar(ALPHA)
        crossed += passed
    assert crossed <= runs * ALPHA


def test_a_past_that_was_much_better_is_proof() -> None:
    assert sequential.before_after(5, 70_000, 20, 10_000, 3.0) > sequential.bar(0.01, 0)
    assert sequential.before_after(5, 70_000, 2, 10_000, 3.0) < 0


def test_the_shares_of_alpha_add_up_to_no_more_than_alpha() -> None:
    spent = sum(math.exp(-sequential.bar(ALPHA, place)) for place in range(5000))
    assert 0.99 * ALPHA < spent < ALPHA


def comparison(new: int = 200, others: int = 800) -> Comparison:
    return Comparison.begin("2.0", 0.0, {HERE: new}, {HERE: others})


def test_signs_taken_together_weigh_as_much_as_one_after_the_other() -> None:
    rng = np.random.default_rng(5)
    signs = [Sign(Place(("eu", "us")[rng.integers(2)], 0), "brew", bool(rng.random() < 0.5)) for _ in range(60)]
    places = {Place("eu", 0): 100, Place("us", 0): 150}
    together, alone = (Comparison.begin("2.0", 0.0, places, places) for _ in range(2))
    together.count(signs)
    for sign in signs:
        alone.count([sign])
    np.testing.assert_allclose(together.log_e, alone.log_e)
    assert together.new_affected == alone.new_affected


def rollout(rng: np.random.Generator, harm: float) -> bool:
    """Whether a firmware is ever called bad that reaches 600 devices within five days, each looked at every hour.

    Alarms of three problems come twice as often at night, and thrice as often in the second region.
    """
    region, updated_h = rng.integers(2, size=600), rng.uniform(0, 120, 600)
    compared = Comparison.begin("2.0", 0.0, {}, {Place(str(r), 0): int((region == r).sum()) for r in range(2)})
    seen: set[tuple[int, int, bool]] = set()
    had = rng.random((600, 3)) < 0.002 * 14 * np.where(region == 1, 3.0, 1.0)[:, None]
    for hour in range(240):
        compared.advance(hour * 3600.0)
        for device in np.flatnonzero((updated_h >= hour) & (updated_h < hour + 1)).tolist():
            affected = frozenset(f"p{p}" for p in range(3) if (device, p, False) in seen)
            before = frozenset(f"p{p}" for p in range(3) if had[device, p])
            place = Place(str(region[device]), 0)
            compared.update([Updated(place, affected, 14.0, before)], counted=False)
        is_new = updated_h < hour + 1
        rate = (
            0.002 / 24 * np.where(region == 1, 3.0, 1.0) * (2.0 if hour % 24 < 8 else 0.5) * np.where(is_new, harm, 1.0)
        )
        for device, problem in np.argwhere(rng.random((600, 3)) < rate[:, None]).tolist():
            key = (device, problem, bool(is_new[device]))
            if key not in seen:
                seen.add(key)
                compared.count([Sign(Place(str(region[device]), 0), f"p{problem}", key[2])])
        if compared.verdicts(ALPHA, 20):
            return True
    return False


def test_a_whole_rollout_of_a_harmless_firmware_is_called_bad_no_more_often_than_alpha_says() -> None:
    rng = np.random.default_rng(2)
    assert sum(rollout(rng, 1.0) for _ in range(40)) <= 40 * ALPHA + 3
    assert sum(rollout(rng, 30.0) for _ in range(5)) == 5


def test_a_firmware_that_is_bad_in_one_region_is_called_bad_there() -> None:
    places = {Place(region, 0): 100 for region in ("eu", "us", "apac")}
    compared = Comparison.begin("2.0", 0.0, places, {place: 8 * count for place, count in places.items()})
    for _ in range(12):
        compared.count([Sign(Place("us", 0), "radio", is_new=True), Sign(Place("eu", 0), "radio", is_new=False)])
        compared.count([Sign(Place("apac", 0), "radio", is_new=False), Sign(Place("eu", 0), "radio", is_new=False)])
        compared.count([Sign(Place("apac", 0), "radio", is_new=False), Sign(Place("apac", 0), "radio", is_new=False)])
    assert [(found.problem, found.region) for found in compared.verdicts(0.01, 20)] == [("radio", "us")]


def test_new_devices_that_differ_in_age_are_compared_with_their_like() -> None:
    """Old devices fail, and only old ones were updated: that is their age's doing, and nobody else's."""
    old, young = Place("eu", 0), Place("eu", 40)
    compared = Comparison.begin("2.0", 0.0, {old: 100}, {old: 100, young: 2000})
    for _ in range(40):
        compared.count([Sign(old, "pump", is_new=True), Sign(old, "pump", is_new=False)])
    assert not compared.verdicts(0.01, 20)


def test_when_all_have_it_they_are_compared_with_their_own_past() -> None:
    compared = comparison(new=0, others=1000)
    past = [Updated(HERE, frozenset(), 14.0, frozenset({"brew"} if n < 2 else ())) for n in range(1000)]
    compared.update(past, counted=False)
    assert (sum(compared.new), sum(compared.others)) == (1000, 0)
    compared.advance(2 * DAY_S)
    compared.count([Sign(HERE, "brew", is_new=True)] * 3)
    assert compared.is_suspected("brew", 20)
    assert not compared.verdicts(0.01, 20)
    compared.count([Sign(HERE, "brew", is_new=True)] * 17)
    (verdict,) = compared.verdicts(0.01, 20)
    assert (verdict.affected, verdict.others) == (20, 0)


def test_one_alarm_makes_nobody_suspicious() -> None:
    compared = comparison()
    compared.count([Sign(HERE, "brew", is_new=True)])
    assert not compared.is_suspected("brew", 20)
    compared.count([Sign(HERE, "brew", is_new=True)])
    assert compared.is_suspected("brew", 20)
    assert not compared.is_suspected("pump", 20)


def test_devices_that_come_and_go_are_counted_on_the_side_they_are_on() -> None:
    compared = comparison(10, 10)
    compared.update([Updated(HERE, frozenset(), 0.0, frozenset())] * 3, counted=False)
    compared.leave([(HERE, True)])
    compared.join([HERE])
    compared.arrive(HERE)
    assert (compared.new, compared.others) == ([13], [8])


def dipping(size: int = 1000) -> Scope:
    return Scope(0.0, 0.0, {"mug": size // 2, "pot": size // 2})


def test_usual_life_is_no_dip_in_a_year_of_looks() -> None:
    rng, scope = np.random.default_rng(11), dipping()
    for hour in range(1, 365 * 24):
        scope.advance(hour * 3600.0)
        signs = rng.poisson(0.02 * 1000 / 24)
        scope.count({"mug": int(signs) // 2, "pot": int(signs) - int(signs) // 2})
        assert scope.judge("*", 0.05, 20) is None


def test_many_of_all_models_at_once_are_a_dip_and_few_or_one_model_are_none() -> None:
    wide, narrow, few = dipping(), dipping(), dipping()
    for scope in (wide, narrow, few):
        for hour in range(1, 24 * 20):
            scope.advance(hour * 3600.0)
    wide.count({"mug": 40, "pot": 30})
    narrow.count({"mug": 70})
    few.count({"mug": 15, "pot": 15})
    dip = wide.judge("*", 0.05, 20)
    assert dip is not None
    assert (dip.affected, dip.devices) == (70, 1000)
    assert narrow.judge("*", 0.05, 20) is None
    assert narrow.judge("model:mug", 0.05, 20) is not None
    assert few.judge("*", 0.05, 20) is None
    assert few.is_suspected(0.05, 20)
