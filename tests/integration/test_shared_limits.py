"""Several processes that speak to one account of a CRM use up one budget."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from psycopg_pool import AsyncConnectionPool

from crm_sync.adapters.rest.limits import Bucket, Budget, Limits
from crm_sync.adapters.rest.shared_limits import Pool, SharedBudget, share
from tests.services.case_world import open_world

NOW_S = 1_800_000_000.0
LIMITS = Limits(requests=101, per=101)


@pytest.fixture
async def pool(plain_database_url: str) -> AsyncIterator[Pool]:
    async with open_world(plain_database_url) as world:
        yield world.pool


def process(pool: Pool, account: str = "https://desk.example.com", now_s: float = NOW_S) -> SharedBudget:
    """A process that has just begun, and whose own bucket is full."""
    shared = share(pool, "default", account, Budget(Bucket(LIMITS, now_s)))
    assert isinstance(shared, SharedBudget)
    return shared


async def test_what_one_process_spends_the_others_lack(pool: Pool) -> None:
    first, second = process(pool), process(pool)
    assert await second.wait_s(NOW_S) == 0
    await asyncio.gather(*[each.spend(NOW_S) for each in (first, second) for _ in range(51)])
    for each in (first, second, process(pool)):  # the third began only now
        assert await each.wait_s(NOW_S) == pytest.approx(2.0)
        assert await each.wait_s(NOW_S, can_wait=True) == pytest.approx(27.0)
        assert await each.wait_s(NOW_S + 2) == 0
    assert await process(pool, "https://other.example.com").wait_s(NOW_S) == 0


async def test_it_fills_up_again_and_no_further_than_it_holds(pool: Pool) -> None:
    first, second = process(pool), process(pool)
    for _ in range(101):
        await first.spend(NOW_S)
    for _ in range(101):
        await second.spend(NOW_S + 10_000)
    assert await first.wait_s(NOW_S + 10_000) == pytest.approx(1.0)
    await second.spend(NOW_S)  # a clock that goes behind gives nothing back
    assert await first.wait_s(NOW_S + 10_000) == pytest.approx(2.0)


async def test_all_rest_where_one_was_told_that_it_asks_too_much(pool: Pool) -> None:
    first, second = process(pool), process(pool)
    await first.rest(NOW_S, NOW_S + 30)
    await second.rest(NOW_S, NOW_S + 10)
    assert await second.wait_s(NOW_S) == pytest.approx(30.0)
    assert await process(pool).wait_s(NOW_S + 31) == 0


async def test_a_process_without_a_database_counts_for_itself(pool: Pool) -> None:
    away: Pool = AsyncConnectionPool("host=127.0.0.1 port=1", min_size=0, max_size=1, open=False, timeout=0.1)
    alone = process(away)
    for _ in range(102):
        await alone.spend(NOW_S)
    assert await alone.wait_s(NOW_S) == pytest.approx(2.0)
    assert await process(pool).wait_s(NOW_S) == 0


def test_a_budget_of_another_kind_stays_as_it_is(pool: Pool) -> None:
    assert share(pool, "default", "x", 7) == 7
