"""A dip is told of the narrowest place that it befell."""

from gateway.cohorts.dips import DAY_S, Scope, is_of_one_region

SHARE, SMALLEST = 0.05, 20


def scopes_of(**fallen: int) -> dict[str, Scope]:
    """A fleet of 200 devices in each region and 200 in none, after a quiet week; `fallen` fell silent, by region."""
    made = {name: Scope(0.0, 0.0, {"pump": 100, "kettle": 100}) for name in ("region:eu", "region:us", "region:apac")}
    made["*"] = Scope(0.0, 0.0, {"pump": 400, "kettle": 400})
    for scope in made.values():
        scope.advance(7 * DAY_S)
    for region, count in fallen.items():
        halves = {"pump": count // 2, "kettle": count - count // 2}
        made["*"].count(halves)
        if f"region:{region}" in made:
            made[f"region:{region}"].count(halves)
    return made


def is_regional(**fallen: int) -> bool:
    """Whether it is one region's, where the whole fleet dips."""
    scopes = scopes_of(**fallen)
    assert scopes["*"].judge("*", SHARE, SMALLEST) is not None
    return is_of_one_region(scopes, SHARE, SMALLEST)


def test_what_befalls_one_region_is_that_regions() -> None:
    assert is_regional(us=120)
    assert is_regional(us=120, eu=2)
    assert not is_regional(us=120, eu=60)
    assert not is_regional(us=60, eu=60, apac=60)
    assert not is_regional(us=120, nowhere=60)
    assert not is_regional(nowhere=60)


def test_a_fleet_of_one_region_is_the_whole_fleet() -> None:
    scopes = scopes_of(us=120)
    assert not is_of_one_region({"*": scopes["region:us"], "region:us": scopes["region:us"]}, SHARE, SMALLEST)
