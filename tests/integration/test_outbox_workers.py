"""The outbox under many writers and many workers: order, leases and fencing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from crm_sync.delivery.deliverer import MOST_LOST_LEASES, STUMBLES_S
from crm_sync.delivery.queries import begin_attempt, claim
from crm_sync.delivery.replay import Replayed, replay
from crm_sync.endpoints import LEASE_S
from crm_sync.outbox import enqueue_all
from crm_sync.settings import MessageType
from tests.services.delivery_rig import Rig, endpoint, message, open_rig
from tests.services.receiver import Receiver, hang, reply, reset

UPDATED = MessageType.CASE_UPDATED


@pytest.fixture
async def rig(plain_database_url: str, receiver: Receiver) -> AsyncIterator[Rig]:
    settings = endpoint(receiver.url, timeout=20)
    async with open_rig(plain_database_url, settings) as rig:
        yield rig


async def test_nothing_is_left_of_a_decision_that_was_rolled_back(rig: Rig) -> None:
    async def decide_and_fail() -> None:
        async with rig.pool.connection() as conn:
            await enqueue_all(conn, [message("case_a")])
            raise RuntimeError("rolled back")

    with pytest.raises(RuntimeError):
        await decide_and_fail()
    assert await rig.listed() == ()


async def test_concurrent_writers_of_many_cases_never_block_each_other_for_good(rig: Rig) -> None:
    async def write(seed: int) -> None:
        for number in range(10):
            order = [f"case_{(number * seed + step) % 5}" for step in range(5)]
            await rig.enqueue(*(message(case, UPDATED, seed=seed, number=number) for case in order))

    await asyncio.gather(*(write(seed) for seed in (1, 2, 3, 4)))
    streams = await rig.rows("SELECT next_seq FROM outbox_stream")
    assert [row["next_seq"] for row in streams] == [41] * 5


async def test_messages_of_a_case_arrive_in_order_under_many_workers(rig: Rig, receiver: Receiver) -> None:
    cases = [f"case_{number}" for number in range(12)]
    for number in range(5):
        await rig.enqueue(*(message(case, UPDATED, number=number) for case in reversed(cases)))
    receiver.script.extend([reply(500), reset(), reply(503)])
    engines = [rig.engine() for _ in range(4)]

    async def work(number: int) -> None:
        while await engines[number].deliver_due():
            pass
        await engines[number].drain(20)

    for _ in range(40):
        await asyncio.gather(*(work(number) for number in range(4)))
        rig.hands.now_s += 10
        if all(each.state == "delivered" for each in await rig.listed()):
            break
    taken: dict[object, list[object]] = {}
    for heard in receiver.heard:
        numbers = taken.setdefault(heard.data["case_id"], [])
        if heard.data["number"] not in numbers:
            numbers.append(heard.data["number"])
    assert taken == {case: [0, 1, 2, 3, 4] for case in cases}
    assert len(receiver.heard) == 60 + 3  # nothing was sent twice but what had failed


async def test_a_dead_workers_message_is_sent_again_and_its_late_settlement_is_refused(
    rig: Rig, receiver: Receiver
) -> None:
    gives_up = asyncio.Event()

    async def break_late(writer: asyncio.StreamWriter) -> None:
        await gives_up.wait()
        await reset()(writer)

    receiver.script.append(break_late)
    opened = message("case_a")
    await rig.enqueue(opened)
    slow = rig.engine()
    await slow.deliver_due()
    await receiver.hears(1)
    await rig.run(later_s=59)
    assert len(receiver.heard) == 1  # the lease holds
    rig.hands.now_s += 2
    receiver.script.append(reply(422))  # the second worker's attempt dies for good
    await rig.run()
    gives_up.set()
    await slow.drain(20)  # the first one's request breaks only now, and changes nothing
    detail = await rig.one(opened)
    assert [(attempt.result, attempt.code) for attempt in detail.attempts] == [
        ("unknown", "worker_lost"),
        ("permanent", "http_422"),
    ]
    assert (detail.summary.state, detail.summary.stream) == ("dead", "parked")


async def test_a_late_success_of_a_worker_that_lost_its_lease_skips_nothing(rig: Rig, receiver: Receiver) -> None:
    go_on = asyncio.Event()

    async def answer_late(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await reply(200)(writer)

    receiver.script.extend([answer_late, reply(200), reply(503)])
    opened, updated = message("case_a"), message("case_a", UPDATED)
    await rig.enqueue(opened, updated)
    slow = rig.engine()
    await slow.deliver_due()
    await receiver.hears(1)
    await rig.run(later_s=61)  # another worker delivers the first message, and fails with the second
    go_on.set()
    await slow.drain(20)
    assert [each.state for each in await rig.listed()] == ["delivered", "pending"]
    await rig.run(later_s=6)
    assert [each.state for each in await rig.listed()] == ["delivered", "delivered"]
    assert [heard.headers["webhook-id"] for heard in receiver.heard][-2:] == [updated.message_id] * 2


async def test_a_worker_that_is_killed_while_sending_loses_nothing(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(hang())
    opened = message("case_a")
    await rig.enqueue(opened)
    engine = rig.engine()
    await engine.deliver_due()
    await receiver.hears(1)
    await engine.drain(0)  # cancelled in the middle
    await rig.run()
    assert len(receiver.heard) == 1
    await rig.run(later_s=61)
    assert (await rig.one(opened)).summary.state == "delivered"
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1


async def test_two_workers_never_claim_one_stream(rig: Rig) -> None:
    await rig.enqueue(*(message(f"case_{number}") for number in range(6)))
    async with rig.pool.connection() as first, rig.pool.connection() as second:
        one = await claim(first, "default", {"crm": 4}, now_s=rig.hands.now_s, lease_s=60)
        two = await claim(second, "default", {"crm": 4}, now_s=rig.hands.now_s, lease_s=60)
    assert len(one) == 4
    assert len(two) == 2
    assert {each.stream_id for each in one}.isdisjoint(each.stream_id for each in two)


async def test_a_message_that_stops_its_worker_again_and_again_is_given_up(plain_database_url: str) -> None:
    async with Receiver() as receiver, open_rig(plain_database_url, endpoint(receiver.url)) as rig:
        updated, behind = message("case_a", MessageType.CASE_UPDATED), message("case_a", MessageType.CASE_RESOLVED)
        await rig.enqueue(updated, behind)
        for _ in range(MOST_LOST_LEASES + 1):  # nobody settles what is claimed
            async with rig.pool.connection() as conn, conn.transaction():
                (claimed,) = await claim(conn, "default", {"crm": 1}, now_s=rig.hands.now_s, lease_s=LEASE_S)
                assert await begin_attempt(conn, claimed, rig.hands.now_s) is not None
            rig.hands.now_s += LEASE_S + 1
        await rig.run()
        detail = await rig.one(updated)
        assert (detail.summary.state, detail.summary.reason) == ("dead", "worker_lost")
        assert {attempt.code for attempt in detail.attempts} == {"worker_lost"}
        assert [heard.headers["webhook-id"] for heard in receiver.heard] == [behind.message_id]
        async with rig.pool.connection() as conn:
            await replay(conn, "default", updated.message_id)
        await rig.run()
        assert len(receiver.heard) == 2


async def test_a_message_that_the_policy_stumbles_over_is_given_up_in_the_end(plain_database_url: str) -> None:
    async with Receiver() as receiver, open_rig(plain_database_url, endpoint(receiver.url)) as rig:
        await rig.enqueue(opened := message("case_a"))
        rig.stumbles_over.add("case_a")
        await rig.run()
        for _ in range(8):
            await rig.run(later_s=300)
        assert (await rig.one(opened)).summary.state == "pending"
        assert len(rig.asked) == 9
        await rig.run(later_s=STUMBLES_S)
        assert [(each.state, each.reason, each.stream) for each in await rig.listed()] == [
            ("dead", "policy_failed", "parked")
        ]
        assert receiver.heard == []
        rig.stumbles_over.clear()
        async with rig.pool.connection() as conn:
            await replay(conn, "default", opened.message_id)
        await rig.run()
        assert len(receiver.heard) == 1


async def test_twenty_who_send_one_message_again_at_once_leave_no_hole_in_its_stream(
    rig: Rig, receiver: Receiver
) -> None:
    await rig.enqueue(opened := message("case_a"))
    await rig.run()

    async def send_again() -> Replayed:
        async with rig.pool.connection() as conn:
            return await replay(conn, "default", opened.message_id)

    became = await asyncio.gather(*(send_again() for _ in range(20)))
    assert (became.count(Replayed.AGAIN), became.count(Replayed.SOONER)) == (1, 19)
    await rig.enqueue(note := message("case_a", UPDATED))
    await rig.run()
    assert {each.state for each in await rig.listed()} == {"delivered"}
    assert [request.headers["webhook-id"] for request in receiver.heard] == [
        opened.message_id,
        opened.message_id,
        note.message_id,
    ]
