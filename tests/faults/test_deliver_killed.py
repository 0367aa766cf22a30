"""Delivery when its process or its database is taken away while a request is under way."""

import asyncio
import signal
import sys
from pathlib import Path

import psycopg

from crm_sync.endpoints import LEASE_S
from crm_sync.settings import MessageType
from tests.services.delivery_rig import endpoint, message, open_rig
from tests.services.receiver import Receiver, hang

ROOT = Path(__file__).parents[2]

WORKER = """
import asyncio, sys
from tests.services.delivery_rig import endpoint, open_rig

async def work(database_url, url):
    async with open_rig(database_url, endpoint(url, timeout=30)) as rig:
        await rig.engine().run()

asyncio.run(work(*sys.argv[1:]))
"""


async def test_kill_9_while_a_case_is_being_sent_leaves_one_message_under_one_id(
    plain_database_url: str, receiver: Receiver
) -> None:
    receiver.script.append(hang())
    opened, updated = message("case_a"), message("case_a", MessageType.CASE_UPDATED)
    async with open_rig(plain_database_url, endpoint(receiver.url)) as rig:
        await rig.enqueue(opened, updated)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, plain_database_url, receiver.url, cwd=ROOT
        )
        await receiver.hears(1)
        worker.send_signal(signal.SIGKILL)
        assert await worker.wait() == -signal.SIGKILL
        await rig.run()
        assert len(receiver.heard) == 1  # the dead one's lease holds
        await rig.run(later_s=LEASE_S + 1)
        detail = await rig.one(opened)
        assert [attempt.code for attempt in detail.attempts] == ["worker_lost", "http_200"]
        assert [each.state for each in await rig.listed()] == ["delivered", "delivered"]
    ids = [heard.headers["webhook-id"] for heard in receiver.heard]
    assert ids == [opened.message_id, opened.message_id, updated.message_id]


async def test_a_database_that_is_away_when_the_answer_comes_does_not_cause_a_second_request(
    plain_database_url: str, receiver: Receiver
) -> None:
    go_on = asyncio.Event()

    async def answer_late(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    receiver.script.append(answer_late)
    opened = message("case_a")
    async with open_rig(plain_database_url, endpoint(receiver.url)) as rig:
        await rig.enqueue(opened)
        engine = rig.engine()
        await engine.deliver_due()
        await receiver.hears(1)
        assert await asyncio.to_thread(cut_all_connections, plain_database_url) > 0
        go_on.set()
        await engine.drain(20)
        assert (await rig.one(opened)).summary.state == "delivered"
    assert len(receiver.heard) == 1


def cut_all_connections(database_url: str) -> int:
    """What a restart of the database looks like from here; how many were cut."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        cursor = conn.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(cursor.fetchall())
