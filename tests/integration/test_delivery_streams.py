"""Each case's messages to a CRM in their order, and what the first of them waits for."""

from collections.abc import AsyncIterator

import pytest

from crm_sync.delivery.replay import replay
from crm_sync.delivery.streams import CASES_STREAMS, MOST_MESSAGES, Stream, list_streams
from crm_sync.settings import MessageType
from tests.services.delivery_rig import Rig, endpoint, message, open_rig
from tests.services.receiver import Receiver, reply

OPENED, UPDATED = MessageType.CASE_OPENED, MessageType.CASE_UPDATED


@pytest.fixture
async def rig(plain_database_url: str, receiver: Receiver) -> AsyncIterator[Rig]:
    async with open_rig(plain_database_url, endpoint(receiver.url)) as rig:
        yield rig


async def streams(rig: Rig, case_id: str | None = None) -> list[Stream]:
    async with rig.pool.connection() as conn:
        return list((await list_streams(conn, "default", case_id)).items)


async def test_what_is_behind_a_dead_opening_waits_for_it_and_other_cases_go_on(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(reply(422))
    opened, updated = message("case_a"), message("case_a", UPDATED)
    await rig.enqueue(opened, updated)
    await rig.run()
    await rig.enqueue(message("case_b"))
    await rig.run()
    (parked,) = await streams(rig)
    assert (parked.case_id, parked.endpoint, parked.waits, parked.waiting) == ("case_a", "crm", "person", 2)
    head, behind = parked.messages
    assert (head.message_id, head.state, head.attempts, head.last_status) == (opened.message_id, "dead", 1, 422)
    assert (behind.state, parked.is_behind(head), parked.is_behind(behind)) == ("pending", False, True)
    (done,) = await streams(rig, "case_b")
    assert (done.waits, done.waiting, [each.state for each in done.messages]) == ("nothing", 0, ["delivered"])
    async with rig.pool.connection() as conn:
        await replay(conn, "default", opened.message_id)
    ((again,),) = [await streams(rig)]
    assert (again.waits, again.messages[0].state) == ("attempt", "pending")


async def test_an_endpoint_that_pauses_or_is_off_holds_all_of_them_up(rig: Rig) -> None:
    await rig.enqueue(message("case_a"), message("case_b"))
    put = """
        INSERT INTO endpoint_state (tenant_id, endpoint, {0}) VALUES ('default', 'crm', now() + interval '1 hour')
        ON CONFLICT (tenant_id, endpoint) DO UPDATE SET {0} = excluded.{0} RETURNING 1
    """
    await rig.rows(put.format("paused_until"))
    paused = await streams(rig)
    assert [(each.case_id, each.waits, each.until is not None) for each in paused] == [
        ("case_b", "endpoint_paused", True),
        ("case_a", "endpoint_paused", True),
    ]
    await rig.rows(put.format("disabled_at"))
    assert {each.waits for each in await streams(rig)} == {"endpoint_off"}


async def test_streams_come_in_pages_of_one_tenant_and_long_ones_are_cut(rig: Rig) -> None:
    await rig.enqueue(*(message(f"case_{number}") for number in range(5)))
    await rig.enqueue(*(message("case_0", UPDATED) for _ in range(MOST_MESSAGES + 3)))
    found: list[str] = []
    cursor: int | None = None
    async with rig.pool.connection() as conn:
        while True:
            page = await list_streams(conn, "default", cursor=cursor, limit=2)
            found += [each.case_id for each in page.items]
            if (cursor := page.next) is None:
                break
        assert (await list_streams(conn, "other")).items == []
    assert found == [f"case_{number}" for number in range(4, -1, -1)]
    waiting = (await streams(rig))[-1]
    assert (len(waiting.messages), waiting.waiting) == (MOST_MESSAGES, MOST_MESSAGES + 4)
    (whole,) = await streams(rig, "case_0")  # what the others wait for is among those shown
    assert (whole.messages[0].seq, len(whole.messages)) == (whole.head_seq, MOST_MESSAGES)
    await rig.run()
    (told,) = await streams(rig, "case_0")
    assert (told.waits, told.messages[0].seq, told.messages[-1].seq) == ("nothing", 5, MOST_MESSAGES + 4)


async def test_a_cases_streams_are_found_among_those_of_all_that_ever_were(rig: Rig) -> None:
    many = """
        INSERT INTO outbox_stream (tenant_id, endpoint, stream_key)
        SELECT 'default', 'crm', 'case_' || n FROM generate_series(1, 20000) AS n RETURNING 1
    """
    assert len(await rig.rows(many)) == 20_000
    async with rig.pool.connection() as conn:
        await conn.execute("ANALYZE outbox_stream")
        values = {"tenant_id": "default", "case_id": "case_7", "endpoint": None, "below": None, "limit": 51}
        plan = await conn.execute(b"EXPLAIN " + CASES_STREAMS.encode(), values)
        assert "outbox_stream_of_case" in str(await plan.fetchall())
    assert [each.case_id for each in await streams(rig, "case_7")] == ["case_7"]
