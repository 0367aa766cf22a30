"""Databases: one server of each edition a session, and a fresh migrated database a test."""

import asyncio
import subprocess
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from os import environ
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from gateway.database.embedded import EmbeddedPostgres, replace_database
from gateway.database.migrate import migrate
from gateway.database.provisioned import TIMESCALEDB_SETTINGS, Provisioned, cache_folder, find_provisioned

TEMPLATE = "migrated"
PROVISION = Path(__file__).resolve().parents[2] / "scripts" / "provision.py"

# Servers shared by a whole run never see the machine crash. Those of fault tests are their own, and do sync.
SHARED_SERVER = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "64MB"}


class DatabaseServer:
    """A server and a migrated template in it, from which databases are cloned."""

    def __init__(self, url: str) -> None:
        """Make the template."""
        self.url = url
        self._numbers = count(1)
        self._execute("CREATE DATABASE {name}", TEMPLATE)
        with ThreadPoolExecutor(1) as thread:  # the main thread's event loop belongs to the tests
            thread.submit(asyncio.run, migrate(replace_database(url, TEMPLATE))).result()
        # TimescaleDB's scheduler would otherwise connect to the template, which then could not be cloned.
        self._execute("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false", TEMPLATE)
        self._execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {text}", TEMPLATE)

    @contextmanager
    def fresh_database(self, template: str = TEMPLATE) -> Generator[str]:
        """The URL of a database that nobody has used yet."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {{name}} TEMPLATE {template}", name)
        try:
            yield replace_database(self.url, name)
        finally:
            self._execute("DROP DATABASE {name} WITH (FORCE)", name)

    def _execute(self, query: str, name: str) -> None:
        composed = sql.SQL(query).format(name=sql.Identifier(name), text=sql.Literal(name))  # pyright: ignore[reportArgumentType]
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(composed)


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
def plain_server(service_folder: Path) -> Iterator[DatabaseServer]:
    """The embedded PostgreSQL with a migrated template."""
    with EmbeddedPostgres(service_folder / "plain", settings=SHARED_SERVER) as server:
        yield DatabaseServer(server.url)


@pytest.fixture(scope="session")
def timescale_server(service_folder: Path, provisioned: Provisioned) -> Iterator[DatabaseServer]:
    """TimescaleDB with a migrated template."""
    settings = {**SHARED_SERVER, **TIMESCALEDB_SETTINGS}
    programs = provisioned.postgres_programs
    with EmbeddedPostgres(service_folder / "timescaledb", programs=programs, settings=settings) as server:
        yield DatabaseServer(server.url)


@pytest.fixture(scope="session")
def plain_url(plain_server: DatabaseServer) -> str:
    """A plain PostgreSQL server; the database it names is shared and empty."""
    return plain_server.url


@pytest.fixture(scope="session")
def timescale_url(timescale_server: DatabaseServer) -> str:
    """A TimescaleDB server; the database it names is shared, empty, and without the extension."""
    return timescale_server.url


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


@pytest.fixture(params=["plain", "timescale"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database; the test runs once on plain PostgreSQL and once on TimescaleDB."""
    return str(request.getfixturevalue(f"{request.param}_database_url"))


@pytest.fixture(params=["plain", "timescale"])
def empty_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without careloop's schema; the test runs on plain PostgreSQL and on TimescaleDB."""
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    with server.fresh_database(template="template0") as url:
        yield url
