"""Databases: one server of each edition a session, and a fresh migrated database a test.

With CARELOOP_TEST_DATABASE_URL (`make test DATABASE_URL=…`) the tests that run on every edition run on that server
instead, and no others: a Community edition, a managed service. What they make there, they drop.
"""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from os import environ
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from gateway.database.embedded import EmbeddedPostgres
from gateway.database.migrate import migrate
from gateway.database.postmaster import wait_until
from gateway.database.provisioned import TIMESCALEDB_SETTINGS, Provisioned, cache_folder, find_provisioned

GIVEN_URL = environ.get("CARELOOP_TEST_DATABASE_URL", "")
EDITIONS = ("given",) if GIVEN_URL else ("plain", "timescale")
EVERY_EDITION = {"database_url", "empty_database_url"}
PROVISION = Path(__file__).resolve().parents[2] / "scripts" / "provision.py"

# Servers shared by a whole run never see the machine crash. Those of fault tests are their own, and do sync.
SHARED_SERVER = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",  # which may be memory
}
COPYING = "STRATEGY file_copy"  # half of the work of the usual one, where nothing waits for a disk
DROPPED_WITHIN_S = 60.0


class DatabaseServer:
    """A server and a migrated template in it, from which databases are cloned."""

    def __init__(self, url: str, prefix: str = "", strategy: str = "") -> None:
        """Make the template, to be cloned by that strategy; everything that is made is named with the prefix."""
        self.url = url
        self._prefix = prefix
        self._strategy = strategy
        self._template = f"{prefix}migrated"
        self._numbers = count(1)
        self._execute("CREATE DATABASE {name}", self._template)
        self._is_clonable = False
        try:
            migrate_apart(other_database(url, self._template))
            # TimescaleDB's scheduler would otherwise connect to the template, which then could not be cloned.
            self._execute("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false", self._template)
            self._is_clonable = self._end_sessions_of_template()
        except BaseException:
            self.drop_template()
            raise

    def _end_sessions_of_template(self) -> bool:
        """Whether nobody is connected to it any more: TimescaleDB's scheduler is a superuser's; not all may end it."""
        query = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {text}"
        try:
            self._execute(query, self._template)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    @contextmanager
    def fresh_database(self, *, is_empty: bool = False) -> Generator[str]:
        """The URL of a database that nobody has used yet."""
        name = f"{self._prefix}test_{next(self._numbers)}"
        template = self._template if self._is_clonable and not is_empty else "template0"
        self._execute(f"CREATE DATABASE {{name}} TEMPLATE {template} {self._strategy}", name)
        url = other_database(self.url, name)
        try:
            if not (self._is_clonable or is_empty):
                migrate_apart(url)
            yield url
        finally:
            self._drop(name)

    def drop_template(self) -> None:
        """Leave nothing on a server that goes on."""
        self._execute("ALTER DATABASE {name} IS_TEMPLATE false", self._template)
        self._drop(self._template)

    def _drop(self, name: str) -> None:
        """Drop a database, as soon as no job of TimescaleDB runs in it: that is a superuser's; not all may end it."""
        assert wait_until(lambda: self._is_dropped(name), DROPPED_WITHIN_S), f"{name} is still in use"

    def _is_dropped(self, name: str) -> bool:
        try:
            self._execute("DROP DATABASE {name} WITH (FORCE)", name)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    def _execute(self, query: str, name: str) -> None:
        composed = sql.SQL(query).format(name=sql.Identifier(name), text=sql.Literal(name))  # pyright: ignore[reportArgumentType]
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(composed)


def other_database(url: str, name: str) -> str:
    """The URL of another database of the same server, with whatever else it says."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def migrate_apart(url: str) -> None:
    """Bring a schema up to date; the main thread's event loop belongs to the tests."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate(url)).result()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a database given, leave the tests that do not run on every edition."""
    if GIVEN_URL:
        kept = [item for item in items if EVERY_EDITION & {*getattr(item, "fixturenames", ())}]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(scope="session")
def provisioned() -> Provisioned:
    """The programs of TimescaleDB and Mosquitto, put on this machine first where they are not."""
    result = subprocess.run([sys.executable, PROVISION], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.fail(f"the services could not be provisioned:\n{result.stderr}")
    found = find_provisioned(cache_folder(environ))
    assert found is not None
    return found


@pytest.fixture(scope="session")
def plain_server(memory_folder: Path) -> Iterator[DatabaseServer]:
    """The embedded PostgreSQL with a migrated template."""
    with EmbeddedPostgres(memory_folder / "plain", settings=SHARED_SERVER) as server:
        yield DatabaseServer(server.url, strategy=COPYING)


@pytest.fixture(scope="session")
def timescale_server(memory_folder: Path, provisioned: Provisioned) -> Iterator[DatabaseServer]:
    """TimescaleDB with a migrated template."""
    settings = {**SHARED_SERVER, **TIMESCALEDB_SETTINGS}
    programs = provisioned.postgres_programs
    with EmbeddedPostgres(memory_folder / "timescaledb", programs=programs, settings=settings) as server:
        yield DatabaseServer(server.url, strategy=COPYING)


@pytest.fixture(scope="session")
def plain_url(plain_server: DatabaseServer) -> str:
    """A plain PostgreSQL server; the database it names is shared and empty."""
    return plain_server.url


@pytest.fixture
def plain_database_url(plain_server: DatabaseServer) -> Iterator[str]:
    """A fresh migrated database on plain PostgreSQL."""
    with plain_server.fresh_database() as url:
        yield url


@pytest.fixture
def timescale_database_url(timescale_server: DatabaseServer) -> Iterator[str]:
    """A fresh migrated database on TimescaleDB."""
    with timescale_server.fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def given_server() -> Iterator[DatabaseServer]:
    """The server that somebody has given the URL of; its role must be allowed to make databases."""
    server = DatabaseServer(GIVEN_URL, f"careloop_{secrets.token_hex(4)}_")
    yield server
    server.drop_template()


@pytest.fixture
def given_database_url(given_server: DatabaseServer) -> Iterator[str]:
    """A fresh migrated database on the given server."""
    with given_server.fresh_database() as url:
        yield url


@pytest.fixture(params=EDITIONS)
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database; the test runs on plain PostgreSQL and on TimescaleDB, or on the given server."""
    return str(request.getfixturevalue(f"{request.param}_database_url"))


@pytest.fixture(params=EDITIONS)
def empty_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without careloop's schema; the test runs on every edition."""
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    with server.fresh_database(is_empty=True) as url:
        yield url
