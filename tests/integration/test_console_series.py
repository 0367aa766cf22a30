"""What charts draw of a device: the same extremes, whether the readings are asked or what was rolled up of them."""

from collections import defaultdict
from collections.abc import Iterable

import pytest

from gateway.api.device_queries import find_held
from gateway.console.series import Stretch, count_readings, read_metrics
from tests.ingest.rig import NOW_S, Rig, reading
from tests.integration.test_rollups import roll_up

DAY_S = 86_400.0
TOLD = {NOW_S - 80 * DAY_S + at * 7_000.0: float((at * 37) % 101) for at in range(980)}
"""Values of eighty days, one each two hours."""


def extremes(values: Iterable[tuple[float, float]]) -> dict[float, tuple[float, float]]:
    """The least and the greatest of each day."""
    days: dict[float, list[float]] = defaultdict(list)
    for at_s, value in values:
        days[at_s // DAY_S].append(value)
    return {day: (min(each), max(each)) for day, each in days.items()}


@pytest.mark.parametrize("is_rolled_up", [False, True])
async def test_a_long_stretch_shows_the_extremes_of_each_day(database_url: str, *, is_rolled_up: bool) -> None:
    stretch = Stretch("k1", NOW_S - 90 * DAY_S, NOW_S + 1)
    async with Rig(database_url).running() as rig:
        await rig.tell("k1", *(reading(at_s - NOW_S, celsius=value) for at_s, value in TOLD.items()))
        if is_rolled_up:
            await roll_up(rig)
        async with await rig.connect() as conn:
            tables = [held.table for held in await find_held(conn, "k1")]
            ts, values = (await read_metrics(conn, tables, ("celsius",), stretch))["celsius"]
            steps, counts = await count_readings(conn, stretch, DAY_S)
    wanted = extremes(TOLD.items())
    if is_rolled_up:  # and not where readings of two days share a step
        assert len(ts) < 200
        assert extremes(zip(ts.tolist(), values.tolist(), strict=True)) == wanted
    assert (values.min(), values.max()) == (min(TOLD.values()), max(TOLD.values()))
    told = {float(step) // DAY_S: count for step, count in zip(steps, counts.tolist(), strict=True) if count}
    assert told == {day: sum(at_s // DAY_S == day for at_s in TOLD) for day in wanted}
