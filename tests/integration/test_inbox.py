"""The inbox: in order, each notice once, and a bad one harms only itself."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest
import structlog

from crm_sync import inbox
from crm_sync.cases.notices import take_notice
from crm_sync.inbox import AlarmNotice, put_alarms
from crm_sync.inbox_worker import WORK_AT_MOST_S, InboxWorker
from tests.services.case_world import HOUR, NOON, CaseWorld, notice, open_world
from tests.services.patience import PATIENCE_S

WHEN = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


async def states(world: CaseWorld) -> list[str]:
    return [row["state"] for row in await world.rows("SELECT state FROM inbox ORDER BY inbox_id")]


async def test_notices_share_the_fate_of_the_transaction_that_puts_them(world: CaseWorld) -> None:
    async with world.pool.connection() as conn, conn.transaction(force_rollback=True):
        await put_alarms(conn, [notice()])
    assert await world.work() == 0
    assert await world.cases() == []


async def test_an_explanation_comes_through_unharmed(world: CaseWorld) -> None:
    text = 'Ünïcode, "quotes", \\ and \n lines'
    explained = type(notice().explanation)(text, "", "", 0.1, ((NOON, 1e-300), (NOON, 1.7976931348623157e308)))
    await world.happens(notice(kind="other", explanation=explained))
    (message,) = await world.messages()
    assert message["data"]["alarms"][0]["explanation"]["text"] == text
    assert [point["value"] for point in message["data"]["alarms"][0]["evidence"]] == [1e-300, 1.7976931348623157e308]


async def test_what_a_database_cannot_hold_does_not_come_back_at_ingest(world: CaseWorld) -> None:
    odd = type(notice().explanation)("a\x00b", "c\x00", "\x00", float("nan"), ((NOON, float("inf")), (NOON, 2.0)))
    await world.happens(notice(kind="other", metric="m\x00", score=float("nan"), explanation=odd))
    (message,) = await world.messages()
    (alarm,) = message["data"]["alarms"]
    assert alarm["explanation"] == {"text": "ab", "expected": "c", "observed": "", "window_s": 0.0}
    assert (alarm["metric"], alarm["evidence"]) == ("m", [{"ts": "2026-03-03T11:00:00Z", "value": 2.0}])


async def test_what_a_long_transaction_would_hold_back_is_seen_and_sent_after_a_short_one(world: CaseWorld) -> None:
    await world.put(*(notice(watch=f"watch-{number}", problem=f"problem-{number}") for number in range(5)))
    moments = itertools.count(0.0, WORK_AT_MOST_S * 0.6)  # two notices, then it is late
    worker = InboxWorker(world.desk, world.pool, world.clock, structlog.get_logger(), real_s=lambda: next(moments))
    assert [await worker.work_batch() for _ in range(4)] == [2, 2, 1, 0]
    assert await states(world) == ["done"] * 5
    assert [case["problem"] for case in await world.cases()] == [f"problem-{number}" for number in range(5)]


async def test_a_poison_notice_is_parked_and_stops_nobody(world: CaseWorld) -> None:
    await world.put(notice(watch="pump-weak", problem="pump"))
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO inbox (tenant_id, device_id, alarm_id, event, notice, recorded_at)"
            """ VALUES ('default', 'cm-1', 'alm_x', 'raised', '{"alarm_id": 7}', now())"""
        )
    await world.put(notice(severity="terrible", watch="worse"), notice())
    assert await world.work() == 4
    assert await states(world) == ["done", "parked", "parked", "done"]
    assert {case["problem"] for case in await world.cases()} == {"pump", "boiler"}
    first, second = await world.rows("SELECT error FROM inbox WHERE state = 'parked' ORDER BY inbox_id")
    assert "ValidationError" in first["error"]
    assert "CheckViolation" in second["error"]


async def park(world: CaseWorld, monkeypatch: pytest.MonkeyPatch, told: AlarmNotice) -> None:
    """A notice comes while there is a bug of ours."""

    async def faulty(*_args: Any, **_kwargs: Any) -> None:
        raise KeyError("a bug of ours")

    with monkeypatch.context() as broken:
        broken.setattr("crm_sync.inbox_worker.take_notice", faulty)
        await world.happens(told)


async def test_what_was_parked_can_be_worked_after_a_fix(world: CaseWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await park(world, monkeypatch, notice())
    assert await states(world) == ["parked"]
    async with world.pool.connection() as conn:
        assert await inbox.unpark(conn, "somebody-else", WHEN) == inbox.Unparked([], [])
        (parked,) = await inbox.list_parked(conn, "default", 10)
        assert (parked.device_id, parked.event, parked.error) == ("cm-1", "raised", "KeyError: 'a bug of ours'")
        assert await inbox.unpark(conn, "default", WHEN) == inbox.Unparked([parked.inbox_id], [])
        assert await inbox.list_parked(conn, "default", 10) == []
    await world.work()
    assert len(await world.cases()) == 1


async def test_what_has_ended_since_it_was_parked_opens_no_case(
    world: CaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await park(world, monkeypatch, notice())
    await park(world, monkeypatch, notice(problem="pump", watch="pump-weak"))
    await world.happens(notice(event="cleared"))
    assert await states(world) == ["parked", "parked", "done"]
    async with world.pool.connection() as conn:
        over, again = (each.inbox_id for each in await inbox.list_parked(conn, "default", 10))
        assert await inbox.unpark(conn, "default", WHEN, [over, 999]) == inbox.Unparked([], [over])
        assert await inbox.unpark(conn, "default", WHEN) == inbox.Unparked([again], [])
    await world.work()
    assert await states(world) == ["done"] * 3
    assert [case["problem"] for case in await world.cases()] == ["pump"]


async def test_what_is_ending_just_now_is_waited_for(world: CaseWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await park(world, monkeypatch, notice())
    await world.put(notice(event="cleared"))

    async def ask_again() -> inbox.Unparked:
        async with world.pool.connection() as conn:
            return await inbox.unpark(conn, "default", WHEN)

    wait = """
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    async with world.pool.connection() as conn, conn.transaction():
        assert await inbox.take_turn(conn)
        asked = asyncio.create_task(ask_again())
        waiting: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_S):
            while not waiting and not asked.done():
                waiting = await world.rows(wait)
        assert not asked.done()
        await inbox.finish(conn, [row.inbox_id for row in await inbox.waiting(conn, 10)], WHEN)
    assert (await asked).again == []
    assert await states(world) == ["done", "done"]


async def test_trouble_of_the_database_parks_nothing(world: CaseWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put(notice(), notice(problem="pump", watch="pump-weak"))

    async def cut(conn: psycopg.AsyncConnection, *_args: Any, **_kwargs: Any) -> None:
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as broken:
        broken.setattr("crm_sync.inbox_worker.take_notice", cut)
        with pytest.raises(psycopg.OperationalError):
            await world.work()
    assert await states(world) == ["pending", "pending"]
    assert await world.work() == 2


async def test_what_waits_behind_statements_that_are_not_answered_yet_is_parked_by_what_they_were_refused_for(
    world: CaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put(notice(), notice(problem="pump", watch="pump-weak"))

    async def refused(conn: psycopg.AsyncConnection, *_args: Any, **_kwargs: Any) -> None:
        await conn.execute("UPDATE inbox SET state = 'unheard of'")  # nobody waits for the answer
        await conn.execute("UPDATE inbox SET error = 'written after it'")

    with monkeypatch.context() as broken:
        broken.setattr("crm_sync.inbox_worker.take_notice", refused)
        assert await world.work() == 2
    assert await states(world) == ["parked", "parked"]
    errors = [row["error"] for row in await world.rows("SELECT error FROM inbox")]
    assert [error.partition(":")[0] for error in errors] == ["CheckViolation"] * 2


@pytest.mark.parametrize(
    "trouble",
    ["DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END $$", "SELECT pg_terminate_backend(pg_backend_pid())"],
    ids=["deadlock", "connection lost"],
)
async def test_trouble_of_the_database_in_statements_nobody_waits_for_loses_and_doubles_nothing(
    world: CaseWorld, monkeypatch: pytest.MonkeyPatch, trouble: LiteralString
) -> None:
    await world.put(notice(), notice(problem="pump", watch="pump-weak"))

    async def troubled(conn: psycopg.AsyncConnection, *args: Any, **kwargs: Any) -> None:
        await take_notice(conn, *args, **kwargs)
        await conn.execute(trouble)
        await conn.execute("UPDATE inbox SET error = 'written after it'")

    with monkeypatch.context() as broken:
        broken.setattr("crm_sync.inbox_worker.take_notice", troubled)
        with pytest.raises(psycopg.OperationalError):
            await world.work()
    assert await states(world) == ["pending", "pending"]
    assert await world.rows("SELECT error FROM inbox WHERE error IS NOT NULL") == []
    assert await world.rows("SELECT * FROM service_case") == []
    assert await world.work() == 2
    assert await states(world) == ["done", "done"]


async def test_while_one_works_another_finds_nothing_to_do(world: CaseWorld) -> None:
    await world.put(notice())
    async with world.pool.connection() as conn, conn.transaction():
        assert await inbox.take_turn(conn)
        assert await world.worker().work_batch() == 0
    assert await world.worker().work_batch() == 1


async def test_a_batch_is_no_larger_than_set_and_order_is_kept(plain_database_url: str) -> None:
    async with open_world(plain_database_url, inbox_batch=2) as world:
        await world.put(
            notice(),
            notice(event="unknown", ts_s=NOON + 1),
            notice(event="updated", ts_s=NOON + 2),
            notice(event="unknown", ts_s=NOON + 3),
            notice(event="updated", ts_s=NOON + 4),
        )
        assert await world.worker().work_batch() == 2
        assert await world.work() == 3
        changes = [message["data"]["change"] for message in await world.messages()]
        assert changes == ["opened", "silent", "heard_again", "silent", "heard_again"]


async def test_even_without_turns_two_transactions_open_one_case(world: CaseWorld) -> None:
    """The unique index decides where the turn, or a bug in it, does not."""
    async with world.pool.connection() as first, world.pool.connection() as second:
        async with first.transaction():
            await take_notice(first, world.desk, notice(), NOON, has_ended=False)
            other = asyncio.create_task(_take(second, world, notice(watch="energy-high")))
            await _wait_until_blocked(world)
        await other
    assert len(await world.cases()) == 1
    assert len(await world.rows("SELECT 1 FROM case_alarm WHERE case_id IS NOT NULL")) == 2
    assert await world.types() == ["case.opened", "case.updated"]


async def _take(conn: psycopg.AsyncConnection, world: CaseWorld, what: Any) -> None:
    async with conn.transaction():
        await take_notice(conn, world.desk, what, NOON, has_ended=False)


BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def _wait_until_blocked(world: CaseWorld) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await world.rows(BLOCKED):  # noqa: ASYNC110 - another connection's wait can only be looked for
            await asyncio.sleep(0.01)


async def test_old_work_is_forgotten_and_what_waits_or_is_parked_is_not(world: CaseWorld) -> None:
    await world.happens(notice(), notice(watch="worse", severity="terrible"))
    await world.put(notice(event="updated", at_s=NOON + HOUR, started_at_s=NOON - HOUR))
    async with world.pool.connection() as conn:
        await inbox.prune(conn, datetime.fromtimestamp(NOON + HOUR, UTC))
    assert await states(world) == ["parked", "pending"]
