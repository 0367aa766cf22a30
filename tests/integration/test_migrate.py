"""Migrations: applied once, in order, whole or not at all, whoever else tries at the same time."""

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.errors import ConfigError, Retryable
from gateway.database.edition import EditionKind, detect_edition
from gateway.database.migrate import Migration, migrate, pending, read_migrations
from tests.services.postgres import DatabaseServer


def migration(version: int, text: str, package: str = "devices") -> Migration:
    return Migration(package, version, "test", text)


A = migration(1, "CREATE TABLE a (n integer); INSERT INTO a VALUES (1);")
B = migration(2, "ALTER TABLE a ADD COLUMN m integer;")
CONCURRENT = migration(3, "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_n ON a (n);")
HYPERTABLE = migration(
    4,
    "-- timescaledb\nCREATE TABLE h (ts timestamptz NOT NULL); SELECT create_hypertable('h', by_range('ts'));",
    "gateway",
)


async def rows(url: str, query: str) -> list[TupleRow]:
    async with await AsyncConnection.connect(url) as conn:
        cursor = await conn.execute(query.encode())
        return await cursor.fetchall() if cursor.description else []


async def test_applies_what_is_pending_once(empty_database_url: str) -> None:
    assert await pending(empty_database_url, [A, B]) == ["devices/0001_test", "devices/0002_test"]
    assert await migrate(empty_database_url, [A]) == ["devices/0001_test"]
    assert await migrate(empty_database_url, [A, B]) == ["devices/0002_test"]
    assert await migrate(empty_database_url, [A, B]) == []
    assert await pending(empty_database_url, [A, B]) == []
    assert await rows(empty_database_url, "SELECT n, m FROM a") == [(1, None)]


async def test_asking_what_is_pending_changes_nothing(empty_database_url: str) -> None:
    await pending(empty_database_url, [A])
    assert await rows(empty_database_url, "SELECT to_regclass('schema_migration')") == [(None,)]
    assert await rows(empty_database_url, "SELECT FROM pg_extension WHERE extname = 'timescaledb'") == []


async def test_a_failing_file_leaves_nothing_of_itself(empty_database_url: str) -> None:
    broken = migration(2, "CREATE TABLE half (n integer); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero) as raised:
        await migrate(empty_database_url, [A, broken, CONCURRENT])
    assert raised.value.__notes__ == ["while applying the migration devices/0002_test"]
    assert await rows(empty_database_url, "SELECT to_regclass('half')") == [(None,)]
    assert await pending(empty_database_url, [A, B]) == ["devices/0002_test"]
    assert await migrate(empty_database_url, [A, B]) == ["devices/0002_test"]


async def test_what_a_role_may_not_do_is_said_in_a_sentence(plain_server: DatabaseServer) -> None:
    with plain_server.fresh_database(is_empty=True) as url:
        other_role = f"{url}?options=-c%20role%3Dpg_monitor"
        with pytest.raises(
            ConfigError, match=r"database\.url: found a role without .*\(permission denied for schema public"
        ):
            await migrate(other_role, [A])
        await migrate(url, [A])
        with pytest.raises(ConfigError, match="permission denied for table schema_migration"):
            await migrate(other_role, [A])


async def test_a_schema_of_another_application_is_left_alone(empty_database_url: str) -> None:
    await migrate(empty_database_url, [A])
    foreign = r'found .* another application.*"a" already exists, at the migration crm_sync/0001'
    with pytest.raises(ConfigError, match=foreign):
        await migrate(empty_database_url, [A, migration(1, "CREATE TABLE a (x text)", "crm_sync")])
    assert await rows(empty_database_url, "SELECT n FROM a") == [(1,)]


async def test_ten_at_once_apply_each_file_once(empty_database_url: str) -> None:
    """Also that a waiting one does not hold up CREATE INDEX CONCURRENTLY in the one that works."""
    applied = await asyncio.gather(*(migrate(empty_database_url, [A, B, CONCURRENT]) for _ in range(10)))
    assert sorted(map(len, applied)) == [0] * 9 + [3]
    assert await rows(empty_database_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_n'::regclass") == [
        (True,)
    ]


async def test_an_edited_file_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url, [A])
    edited = migration(1, A.text + " -- edited")
    with pytest.raises(ConfigError, match="devices migration 0001 was applied from another text"):
        await migrate(empty_database_url, [edited, B])
    with pytest.raises(ConfigError, match="devices migration 0001"):
        await pending(empty_database_url, [edited, B])
    assert await pending(empty_database_url, [A, B]) == ["devices/0002_test"]


async def test_an_older_careloop_refuses_a_newer_schema(empty_database_url: str) -> None:
    await migrate(empty_database_url, [A, B])
    with pytest.raises(ConfigError, match="devices migration 0002 this careloop does not know"):
        await migrate(empty_database_url, [A])


async def test_hypertables_wait_for_timescaledb(empty_database_url: str) -> None:
    applied = await migrate(empty_database_url, [A, HYPERTABLE])
    async with await AsyncConnection.connect(empty_database_url) as conn:
        edition = await detect_edition(conn)
    expected = ["gateway/0004_test"] if edition.kind is EditionKind.TIMESCALEDB else []
    assert applied == ["devices/0001_test", *expected]
    assert await migrate(empty_database_url, [A, HYPERTABLE]) == []


async def test_timescaledb_in_a_schema_that_is_not_searched_is_told(timescale_server: DatabaseServer) -> None:
    """As where a company's database has the extension in `public`, and careloop a schema of its own."""
    with timescale_server.fresh_database(is_empty=True) as url:
        await rows(url, "CREATE EXTENSION timescaledb")
        await rows(url, "CREATE SCHEMA own")
        for ask in (migrate, pending):
            with pytest.raises(ConfigError, match="a search_path without public, the schema in which TimescaleDB is"):
                await ask(f"{url}?options=-c%20search_path%3Down", [A, HYPERTABLE])
        assert await migrate(f"{url}?options=-c%20search_path%3Down%2Cpublic", [A, HYPERTABLE]) == [
            "devices/0001_test",
            "gateway/0004_test",
        ]
        assert await rows(url, "SELECT n FROM own.a") == [(1,)]


async def test_an_unreachable_database_may_come_back(free_port: int) -> None:
    with pytest.raises(Retryable, match="database_unreachable"):
        await migrate(f"postgresql://careloop@127.0.0.1:{free_port}/careloop", [A])


async def test_the_shipped_migrations_are_the_whole_schema(empty_database_url: str) -> None:
    known = read_migrations()
    await migrate(empty_database_url, known)
    entered = await rows(empty_database_url, "SELECT package, version, sha256 FROM schema_migration")
    assert {(package, version): checksum for package, version, checksum in entered} == {
        (each.package, each.version): each.checksum for each in known
    }


async def test_every_table_but_readings_knows_its_tenant(plain_database_url: str) -> None:
    """`schema_migration` is about the database itself, which has no tenant."""
    without = await rows(
        plain_database_url,
        """SELECT table_name FROM information_schema.tables AS t
           WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'schema_migration'
             AND NOT EXISTS (SELECT FROM information_schema.columns AS c
                             WHERE c.table_name = t.table_name AND c.column_name = 'tenant_id')""",
    )
    assert without == []
