"""Why, and why not, asked of a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_policy_steps import NIGHT, scale
from tests.services.case_world import HOUR, NOON, CaseWorld, open_world
from tests.services.gateway import run_careloop


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url) as opened:
        yield opened


async def explain(url: str, folder: Path, *arguments: str) -> tuple[int, str]:
    config = folder / "careloop.toml"
    config.write_text(f'[database]\nurl = "{url}"\n')
    done = await asyncio.to_thread(run_careloop, "explain", *arguments, "--config", config)
    return done.returncode, done.stdout + done.stderr


async def test_a_case_tells_how_it_came_about(world: CaseWorld, plain_database_url: str, tmp_path: Path) -> None:
    await world.happens(scale())
    await world.deliver()
    (case,) = await world.cases()
    code, said = await explain(plain_database_url, tmp_path, "case", case["case_id"])
    assert code == 0
    assert "crm-a: announced" in said.splitlines()[0]
    assert "grant: yes to a case for crm-a (basis contract, purpose service, recipient crm-a)" in said
    assert "grant: no to contacting the owner by email: the grant for service by email is: never asked" in said
    assert "approved → open, by policy: auto" in said
    assert await explain(plain_database_url, tmp_path, "case", "case_x") == (
        1,
        "unknown_case: there is no case case_x; the inbox lists them\n",
    )


async def test_a_case_tells_what_a_crm_has_not_taken(world: CaseWorld, plain_database_url: str, tmp_path: Path) -> None:
    await world.happens(scale())
    await world.deliver()
    (row,) = await world.messages()
    await world.loses_answer(row)
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE delivery_attempt SET code = 'http_503'")
    _, said = await explain(plain_database_url, tmp_path, "case", row["stream_key"])
    assert "crm-a: announced, but it has taken nothing yet, 1 message on the way (http 503)." in said
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE outbox_message SET state = 'dead', reason = 'field_dropped'")
    _, said = await explain(plain_database_url, tmp_path, "case", row["stream_key"])
    assert "crm-a: announced, but it has taken nothing yet, 1 message not taken (field dropped)." in said
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE outbox_message SET state = 'delivered', reason = NULL")
    _, said = await explain(plain_database_url, tmp_path, "case", row["stream_key"])
    assert said.splitlines()[0].endswith("crm-a: announced.")


async def test_an_owner_learns_why_nobody_wrote(world: CaseWorld, plain_database_url: str, tmp_path: Path) -> None:
    await world.grant("email")
    await world.happens(scale(NIGHT))
    code, said = await explain(plain_database_url, tmp_path, "owner", "own-1")
    assert (code, said.splitlines()[0]) == (0, "own-1 was never contacted.")
    assert "quiet hours: not yet until 2026-03-04 07:00 UTC to contacting the owner by email" in said


async def test_an_alarm_without_a_case_says_why(world: CaseWorld, plain_database_url: str, tmp_path: Path) -> None:
    await world.happens(scale(NOON, head_ts_s=NOON - 30 * HOUR))
    (alarm,) = await world.rows("SELECT alarm_id FROM case_alarm")
    code, said = await explain(plain_database_url, tmp_path, "alarm", alarm["alarm_id"], "--json")
    assert code == 0
    assert (
        "opened no case: when it was heard of it was over, or the newest reading 30.0 h old"
        in json.loads(said)["answer"]
    )
