"""A database that stands still while devices send ten times what the gateway may hold: its memory stays bounded."""

import asyncio
from collections.abc import Callable

import psutil
import psycopg
from psycopg import AsyncConnection

from devices.credentials import hash_generated
from devices.registry.passwords import add_credentials
from devices.registry.queries import register_device
from tests.doors import raw
from tests.doors.raw import PUBACK, RawClient
from tests.services.gateway import GatewayProcess
from tests.services.patience import PATIENCE_S

DEVICES, MESSAGES, SIZE = 12, 300, 20_000
QUEUE_BYTES = 4_000_000
SLACK_BYTES = 32_000_000
"""What reads in progress, kept reads and the allocator may take beside the queue; a third of what is sent."""


async def register(gateway: GatewayProcess) -> None:
    async with await AsyncConnection.connect(gateway.database_url) as conn:
        for number in range(DEVICES):
            await register_device(conn, "default", f"d{number}", None, "add")
            await add_credentials(conn, "default", [(f"d{number}", hash_generated("correct horse"))])


async def log_in(port: int, number: int) -> RawClient:
    """A device; its credentials may still be on their way to the gateway."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            client = RawClient(port)
            await client.__aenter__()
            if (await client.log_in(raw.connect(4, f"d{number}", f"d{number}"))).code == 0:
                return client
            client.vanish()
            await asyncio.sleep(0.05)


async def acknowledged(client: RawClient) -> int:
    answers = [await client.read() for _ in range(MESSAGES)]
    assert [(answer.kind, answer.packet_id) for answer in answers] == [(PUBACK, at + 1) for at in range(MESSAGES)]
    return len(answers)


async def test_memory_is_bounded_while_the_database_stands_still(new_gateway: Callable[[], GatewayProcess]) -> None:
    gateway = new_gateway()
    text = gateway.config.read_text().replace("[listen]\n", "[listen]\nfailed_logins_burst = 0\n")
    gateway.config.write_text(f"{text}\n[batch]\nqueue_bytes = {QUEUE_BYTES}\n")
    await asyncio.to_thread(gateway.start)
    await register(gateway)
    clients = [await log_in(gateway.port, number) for number in range(DEVICES)]
    process = psutil.Process(int(gateway.address["pid"]))
    before = process.memory_info().rss
    with psycopg.connect(gateway.database_url) as standstill:
        standstill.execute("LOCK TABLE quarantine, batch IN ACCESS EXCLUSIVE MODE")
        for number, client in enumerate(clients):
            topic = f"devices/d{number}/telemetry"
            client.send(*(raw.publish(topic, b"{" + bytes(SIZE), at + 1, version=4) for at in range(MESSAGES)))
        most, unchanged = before, 0
        while unchanged < 20:  # a second in which nothing more was taken
            await asyncio.sleep(0.05)
            found = process.memory_info().rss
            most, unchanged = (found, 0) if found > most else (most, unchanged + 1)
        answers = [asyncio.create_task(acknowledged(client)) for client in clients]
        await asyncio.sleep(0)
        assert not any(answer.done() for answer in answers)
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*answers) == [MESSAGES] * DEVICES
    assert DEVICES * MESSAGES * SIZE > 10 * QUEUE_BYTES
    assert most - before < QUEUE_BYTES + SLACK_BYTES
    for client in clients:
        client.vanish()
