"""What trust asks in the turn of the inbox stays cheap however long the history is."""

from collections.abc import AsyncIterator

import pytest

from crm_sync.trust.verdicts import TAKEN_UP
from tests.services.case_world import CaseWorld, open_world


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


async def test_whether_a_crm_ever_called_is_found_by_an_index(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")  # the table is empty, and not worth an index
        plan = await conn.execute(b"EXPLAIN " + TAKEN_UP.encode(), {"case_id": "cas_1", "tenant_id": "default"})
        lines = [row[0] async for row in plan]
    assert any("case_transition_by_crm" in line for line in lines), lines
