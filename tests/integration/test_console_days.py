"""What the charts of a case are drawn from, on a real database: sums of days, and days on which an event came."""

import pytest

from gateway.console.series import Stretch, count_events, sum_days
from tests.ingest.rig import NOW_S, Rig, reading
from tests.integration.test_rollups import roll_up

DAY_S = 86_400.0
TODAY_S = NOW_S // DAY_S * DAY_S


async def test_a_day_is_drawn_as_what_it_came_to(plain_database_url: str) -> None:
    at_s = TODAY_S - 2 * DAY_S - NOW_S  # a day before yesterday, as seen from now
    told = [reading(at_s + 3600 * hour, boils=10 + hour, celsius=20) for hour in range(5)]
    told += [reading(at_s + DAY_S + 3600 * hour, boils=20 + 2 * hour, celsius=30) for hour in range(3)]
    async with Rig(plain_database_url).running() as rig:
        await rig.tell("k1", *told)
        await roll_up(rig)
        async with await rig.connect() as conn:
            stretch = Stretch("k1", TODAY_S - 5 * DAY_S, TODAY_S)
            days, rises = await sum_days(conn, "boils", stretch)
            assert days.tolist() == [TODAY_S - 2 * DAY_S, TODAY_S - DAY_S]  # a day without readings is none
            assert rises.tolist() == [4.0, 10.0]  # a counter's rise, from the last one of the day before on
            assert (await sum_days(conn, "celsius", stretch))[1].tolist() == [100.0, 90.0]
            assert len((await sum_days(conn, "nothing", stretch))[0]) == 0
            assert len((await sum_days(conn, "boils", Stretch("k2", stretch.since_s, stretch.until_s)))[0]) == 0


@pytest.mark.parametrize(("code", "counts"), [("boiled-dry", [2.0, 0.0, 1.0]), ("*", [3.0, 0.0, 1.0])])
async def test_events_are_counted_by_the_day_for_their_own_tenant(
    plain_database_url: str, code: str, counts: list[float]
) -> None:
    moments = [(0.0, "boiled-dry"), (60.0, "boiled-dry"), (90.0, "opened"), (2 * DAY_S, "boiled-dry")]
    first_s = TODAY_S - 2 * DAY_S
    async with Rig(plain_database_url).running() as rig, await rig.connect() as conn:
        for after_s, what in moments:
            await conn.execute(
                "INSERT INTO device_event (tenant_id, device_id, ts, code, received_at, batch_seq, batch_row) "
                "VALUES ('default', 'k1', to_timestamp(%s), %s, now(), 1, 1)",
                [first_s + after_s, what],
            )
        stretch = Stretch("k1", first_s, TODAY_S + 3600)
        days, counted = await count_events(conn, "default", code, stretch)
        assert days.tolist() == [first_s, first_s + DAY_S, TODAY_S]
        assert counted.tolist() == counts
        assert (await count_events(conn, "other", code, stretch))[1].sum() == 0
