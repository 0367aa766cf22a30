"""A range of dead letters is counted, confirmed, and sent again no faster than was said."""

from collections.abc import AsyncIterator

import pytest

from crm_sync.delivery.records import DeliveryFilter
from crm_sync.delivery.replay_range import DeadLetters, Ranged, count_dead, replay_range
from crm_sync.settings import MessageType
from devices.errors import CareloopError
from gateway.api.deliveries import deliveries_router
from gateway.api.router import Router
from gateway.people.model import Role
from gateway.people.people import Pool
from tests.services.delivery_rig import Rig, endpoint, message, open_rig
from tests.services.people import open_house
from tests.services.receiver import Receiver, reply

DEAD = [message(f"case_{letter}") for letter in "abcd"]
BEHIND = message("case_a", MessageType.CASE_UPDATED)


@pytest.fixture
async def rig(plain_database_url: str) -> AsyncIterator[Rig]:
    """Four cases whose opening is dead, and one message that waits behind the first of them."""
    async with Receiver() as receiver:
        receiver.script += [reply(422, b"no such queue")] * len(DEAD)
        async with open_rig(plain_database_url, endpoint(receiver.url)) as opened:
            for each in DEAD:
                await opened.enqueue(each)
                await opened.run()
            await opened.enqueue(BEHIND)
            yield opened


async def seen(rig: Rig, which: DeliveryFilter) -> DeadLetters:
    async with rig.pool.connection() as conn:
        return await count_dead(conn, "default", which)


async def again(rig: Rig, which: DeliveryFilter, letters: DeadLetters, per_minute: int = 6) -> Ranged:
    async with rig.pool.connection() as conn:
        now_s = rig.hands.now_s
        return await replay_range(conn, "default", which, letters, per_minute=per_minute, now_s=now_s)


async def delivered(rig: Rig) -> int:
    return len(await rig.listed(state="delivered"))


async def test_it_goes_no_faster_than_was_said_and_in_the_order_of_each_case(rig: Rig) -> None:
    letters = await seen(rig, DeliveryFilter("dead"))
    assert (letters.count, letters.by_endpoint) == (4, {"crm": 4})
    assert await again(rig, DeliveryFilter("dead"), letters) == Ranged(again=4, left=0, lasts_s=30.0)
    await rig.run()
    assert await delivered(rig) == 2  # the first, and what waited behind it
    for count in (3, 4, 5):
        await rig.run(later_s=9)
        assert await delivered(rig) == count - 1
        await rig.run(later_s=1)
        assert await delivered(rig) == count


async def test_only_what_was_looked_at_is_sent_again(rig: Rig) -> None:
    letters = await seen(rig, DeliveryFilter("dead"))
    await again(
        rig, DeliveryFilter("dead", case_id="case_b"), await seen(rig, DeliveryFilter("dead", case_id="case_b"))
    )
    with pytest.raises(CareloopError, match="look again"):
        await again(rig, DeliveryFilter("dead"), letters)
    assert len(await rig.listed(state="dead")) == 3
    assert (await seen(rig, DeliveryFilter("dead", endpoint="another"))).count == 0


async def test_one_call_takes_a_bounded_number(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_sync.delivery.replay_range.MOST", 3)
    letters = await seen(rig, DeliveryFilter("dead"))
    assert await again(rig, DeliveryFilter("dead"), letters) == Ranged(again=3, left=1, lasts_s=20.0)
    rest = await seen(rig, DeliveryFilter("dead"))
    assert (await again(rig, DeliveryFilter("dead"), rest)).left == 0


async def test_the_api_counts_confirms_and_writes_down_who_did_it(rig: Rig, plain_database_url: str) -> None:
    def build(pool: Pool) -> list[Router]:
        return [deliveries_router(pool)]

    async with open_house(plain_database_url, build) as house:
        async with house.client(await house.token(Role.VIEWER)) as viewer:
            counted = (await viewer.get("/v1/deliveries/dead", params={"endpoint": "crm"})).json()
            asked = {"endpoint": "crm", "count": counted["count"], "up_to": counted["up_to"], "per_minute": 600}
            assert (await viewer.post("/v1/deliveries/replay", json=asked)).status_code == 403
        async with house.client(await house.token(Role.OPERATOR)) as operator:
            wrong = await operator.post("/v1/deliveries/replay", json=asked | {"count": 3})
            assert (wrong.status_code, "look again" in wrong.json()["detail"]) == (409, True)
            done = await operator.post("/v1/deliveries/replay", json=asked)
            assert (done.status_code, done.json()["again"]) == (202, 4)
        ((who, inputs),) = await house.rows("SELECT who, inputs FROM audit WHERE what = 'delivery.replay_range'")
    assert who == "token:default-operator"
    assert inputs["count"] == 4
    assert not await rig.listed(state="dead")
