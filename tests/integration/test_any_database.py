"""A database that has ways of its own: its dates, its digits, its schemas, a pooler before it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.errors import UndefinedTable

from devices.errors import ConfigError
from gateway.database import session
from gateway.database.hold import build_pool
from gateway.database.migrate import migrate
from gateway.database.session import open_session
from gateway.doctor.database import examine_database
from gateway.settings import load_settings

WAYS: Sequence[bytes] = (
    b"datestyle = 'German, DMY'",
    b"timezone = 'America/St_Johns'",
    b"intervalstyle = 'sql_standard'",
    b"extra_float_digits = -10",
    b"default_transaction_isolation = 'serializable'",
    b"client_encoding = 'LATIN1'",
    b"jit = on",
)
WHEN = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
ASKED = "SELECT '2026-03-04 05:06:07.890123Z'::timestamptz, 1772600767.890123::float8, 'Kołobrzeg'::text"


async def given_its_ways(url: str) -> None:
    """Have the database speak otherwise from the next session on."""
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        row = await (await conn.execute("SELECT quote_ident(current_database())")).fetchone()
        assert row is not None
        for way in WAYS:
            await conn.execute(b"ALTER DATABASE " + str(row[0]).encode() + b" SET " + way)


async def answers(conn: AsyncConnection[tuple[object, ...]]) -> tuple[object, ...] | None:
    """Instant, number and text as they come out, how strict a transaction is, and whether statements are compiled."""
    found = await (await conn.execute(ASKED)).fetchone()
    level = await (await conn.execute("SHOW transaction_isolation")).fetchone()
    jit = await (await conn.execute("SHOW jit")).fetchone()
    return found and level and jit and (*found, *level, *jit)


async def test_a_database_with_a_date_style_of_its_own_answers_like_any_other(plain_database_url: str) -> None:
    """Every page and most commands failed there, and numbers came with five digits."""
    await given_its_ways(plain_database_url)
    expected = (WHEN, 1772600767.890123, "Kołobrzeg", "read committed", "off")
    for autocommit in (True, False):
        async with await open_session(plain_database_url, autocommit=autocommit) as conn:
            await conn.rollback()  # what is taken back does not take back how it speaks
            assert await answers(conn) == expected
        async with (
            build_pool(plain_database_url, 2, autocommit=autocommit) as pool,
            pool.connection() as conn,
        ):
            await conn.rollback()
            assert await answers(conn) == expected


async def test_the_doctor_reads_the_clock_of_a_database_with_few_digits(plain_database_url: str) -> None:
    """It said that the clocks were hours apart."""
    await given_its_ways(plain_database_url)
    found = await examine_database(load_settings(None, {"CARELOOP_DATABASE__URL": plain_database_url}))
    assert [finding.ok for finding in found if finding.what == "clock"] == [True]


async def test_a_schema_that_the_url_names_is_that_of_every_connection(empty_database_url: str) -> None:
    """The pool looked in another one than the migrations, and the gateway ended with a traceback."""
    async with await AsyncConnection.connect(empty_database_url, autocommit=True) as conn:
        await conn.execute("CREATE SCHEMA telemetry")
    url = make_conninfo(empty_database_url, options="-c search_path=telemetry,public")
    assert await migrate(url)
    async with build_pool(url, 2) as pool, pool.connection() as conn:
        assert await (await conn.execute("SELECT to_regclass('telemetry.person')::text")).fetchone() == ("person",)
    async with await open_session(empty_database_url) as conn:
        with pytest.raises(UndefinedTable):
            await conn.execute("SELECT FROM person")


async def test_a_pooler_that_lends_sessions_by_the_transaction_is_refused_in_a_sentence(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kept the lock of a gateway that had ended, and no other could own the database any more."""

    async def always_the_same(_: session.Connection) -> int:
        await asyncio.sleep(0)
        return 4711

    assert await migrate(plain_database_url) == []  # a server itself gives each connection its own
    monkeypatch.setattr(session, "server_process", always_the_same)
    with pytest.raises(ConfigError, match="pool_mode = session"):
        await migrate(plain_database_url)
    found = await examine_database(load_settings(None, {"CARELOOP_DATABASE__URL": plain_database_url}))
    assert [finding.ok for finding in found] == [False]
    assert "pool_mode = session" in found[0].says


@pytest.mark.parametrize("servers", [[11, 12, 13, 14], [11, 12], [11, 12, 12, 11, 11, 12, 12, 13]])
async def test_a_busy_pooler_by_the_transaction_is_refused_too(
    servers: list[int], plain_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two connections met two servers when each was asked once, and it passed."""
    lent = cycle(servers)

    async def whichever_is_free(_: session.Connection) -> int:
        await asyncio.sleep(0)
        return next(lent)

    monkeypatch.setattr(session, "server_process", whichever_is_free)
    with pytest.raises(ConfigError, match="pool_mode = session"):
        await session.require_own_sessions(plain_database_url)


async def test_a_pooler_by_the_session_passes(plain_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    servers: dict[int, int] = {}

    async def its_own(conn: session.Connection) -> int:
        await asyncio.sleep(0)
        return servers.setdefault(id(conn), -1 - len(servers))

    monkeypatch.setattr(session, "server_process", its_own)
    await session.require_own_sessions(plain_database_url)
    assert len(servers) == 2
