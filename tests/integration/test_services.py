"""The services that other tests rely on are what they say."""

import subprocess

import psycopg
import pytest

from gateway.database.edition import EditionKind, detect_edition
from tests.services.mosquitto import Mosquitto


async def test_the_plain_database_is_plain(plain_database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(plain_database_url) as conn:
        assert (await detect_edition(conn)).kind is EditionKind.PLAIN


async def test_the_timescale_database_has_the_extension(timescale_database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(timescale_database_url) as conn:
        edition = await detect_edition(conn)
    assert edition.kind is EditionKind.TIMESCALEDB
    assert edition.describe().startswith("TimescaleDB 2.")


@pytest.mark.parametrize("turn", [1, 2])
async def test_every_test_gets_a_fresh_database(database_url: str, turn: int) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        await conn.execute("CREATE TABLE left_behind AS SELECT %s::int AS turn", [turn])
        await conn.commit()


def test_the_broker_keeps_retained_messages_over_a_restart(mosquitto: Mosquitto) -> None:
    address = ["-h", mosquitto.host, "-p", str(mosquitto.port), "-t", "greeting"]
    subprocess.run([mosquitto.binaries.mosquitto_pub, *address, "-q", "1", "-r", "-m", "hello"], check=True)
    mosquitto.stop()
    mosquitto.start("max_packet_size 1000")
    heard = subprocess.run(
        [mosquitto.binaries.mosquitto_sub, *address, "-C", "1", "-W", "10"], check=True, capture_output=True
    )
    assert heard.stdout == b"hello\n"
