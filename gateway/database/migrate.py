"""Brings the schema up to date: forward only, each package's numbered files, each in a transaction of its own.

A migration is a file `migrations/NNNN_name.sql` in a package. Its first line may be a marker:

    -- no-transaction    a single statement that cannot run in a transaction (CREATE INDEX CONCURRENTLY); it must be
                         idempotent, because a crash between it and its entry in the table runs it again
    -- timescaledb       only where the TimescaleDB extension is there; otherwise it stays pending, and is applied
                         when the database has it one day
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import LiteralString

from psycopg import AsyncConnection, DatabaseError, OperationalError
from psycopg.errors import DuplicateObject, DuplicateTable, InsufficientPrivilege
from psycopg.rows import TupleRow

from devices.errors import ConfigError, Fault, Retryable
from gateway.database.edition import can_create_extension, create_extension
from gateway.database.session import open_session, require_own_sessions

PACKAGES = ("devices", "crm_sync", "gateway")
"""In the order they are migrated: each floor may refer to the tables of those below it."""

FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
NO_TRANSACTION = "-- no-transaction"
TIMESCALEDB = "-- timescaledb"
LOCK_TIMEOUT_S = 600.0
LOCK_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of a package."""

    package: str
    version: int
    name: str
    text: str

    @property
    def label(self) -> str:
        """How people see it: devices/0001_registry."""
        return f"{self.package}/{self.version:04}_{self.name}"

    @property
    def checksum(self) -> str:
        """What tells an edited file from the one that was applied."""
        return sha256(self.text.encode()).hexdigest()

    def is_marked(self, marker: str) -> bool:
        """Whether the first line is the marker."""
        return self.text.partition("\n")[0].strip() == marker


async def migrate(conninfo: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is pending, in order, and return its labels; a second caller waits, and finds nothing left to do.

    Creates the TimescaleDB extension first, where the database has it. Raises ConfigError when the database does
    not fit, Retryable when it cannot be reached.
    """
    known = read_migrations() if migrations is None else migrations
    await _own_sessions(conninfo)
    async with _session(conninfo) as conn, _only_one_at_a_time(conn):
        has_timescaledb = await create_extension(conn)
        await require_functions(conn)
        with _in_words("the table schema_migration"):
            await create_ledger(conn)
            applied = await applied_checksums(conn)
        todo = _pending(known, applied, has_timescaledb=has_timescaledb)
        for migration in todo:
            with _in_words(f"the migration {migration.label}"):
                await _apply(conn, migration)
    return [migration.label for migration in todo]


@contextmanager
def _in_words(what: str) -> Generator[None]:
    """Say what a database does not allow, and what does not fit there; other errors get a note."""
    try:
        yield
    except InsufficientPrivilege as error:
        found = f"a role without the rights for it ({error.diag.message_primary}, at {what})"
        allowed = "the owner of careloop's tables, with CREATE on their schema"
        raise ConfigError([Fault("database.url", found, allowed)]) from error
    except (DuplicateTable, DuplicateObject) as error:
        found = f"a schema with something of another application's ({error.diag.message_primary}, at {what})"
        raise ConfigError([Fault("database.url", found, "a database, or a schema, of careloop's own")]) from error
    except DatabaseError as error:
        error.add_note(f"while applying {what}")
        raise


async def pending(conninfo: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """The labels of what `migrate` would apply; changes nothing. Raises as `migrate` does."""
    known = read_migrations() if migrations is None else migrations
    async with _session(conninfo) as conn:
        await require_functions(conn)
        with _in_words("the table schema_migration"):
            applied = await applied_checksums(conn) if await has_ledger(conn) else {}
        has_timescaledb = await can_create_extension(conn)
        return [migration.label for migration in _pending(known, applied, has_timescaledb=has_timescaledb)]


def read_migrations(packages: Sequence[str] = PACKAGES) -> list[Migration]:
    """Every migration file of the packages, in the order in which they are applied."""
    return [migration for package in packages for migration in _of_package(package)]


def _of_package(package: str) -> list[Migration]:
    folder = resources.files(package) / "migrations"
    files = folder.iterdir() if folder.is_dir() else ()
    migrations: list[Migration] = []
    for file in files:
        match = FILE_NAME.fullmatch(file.name)
        if match is not None:
            version, name = match.groups()
            migrations.append(Migration(package, int(version), name, file.read_text(encoding="utf-8")))
    return sorted(migrations, key=lambda migration: migration.version)


def _pending(
    known: Sequence[Migration], applied: Mapping[tuple[str, int], str], *, has_timescaledb: bool
) -> list[Migration]:
    """What is not applied yet. Raises ConfigError when what is applied is not what the files say."""
    checksums = {(migration.package, migration.version): migration.checksum for migration in known}
    faults = [
        Fault("database.url", f"a schema whose {package} migration {version:04} {problem}", allowed)
        for (package, version), checksum in applied.items()
        for problem, allowed in [_difference(checksums.get((package, version)), checksum)]
        if problem
    ]
    if faults:
        raise ConfigError(faults)
    return [
        migration
        for migration in known
        if (migration.package, migration.version) not in applied
        and (has_timescaledb or not migration.is_marked(TIMESCALEDB))
    ]


def _difference(known: str | None, applied: str) -> tuple[str, str]:
    """What is wrong with an applied migration, and what would be right; both empty when nothing is."""
    if known is None:
        return "this careloop does not know", "a careloop at least as new as the one that made the schema"
    if known != applied:
        return "was applied from another text than this careloop has", "released migrations, which never change"
    return "", ""


async def _own_sessions(conninfo: str) -> None:
    try:
        await require_own_sessions(conninfo)
    except OperationalError as error:
        raise Retryable("database_unreachable", str(error)) from error


@asynccontextmanager
async def _session(conninfo: str) -> AsyncGenerator[AsyncConnection[TupleRow]]:
    try:
        conn = await open_session(conninfo, autocommit=True)
    except OperationalError as error:
        raise Retryable("database_unreachable", str(error)) from error
    async with conn:
        yield conn


HIDDEN_EXTENSION = """
SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'timescaledb' AND n.nspname <> ALL (current_schemas(true))
"""


async def require_functions(conn: AsyncConnection[TupleRow]) -> None:
    """See to it that TimescaleDB's functions are found without their schema's name. Raises ConfigError."""
    schema = await _one(conn, HIDDEN_EXTENSION)
    if schema is not None:
        found = f"a search_path without {schema}, the schema in which TimescaleDB is"
        allowed = f"one that ends with it: ALTER ROLE … SET search_path = …, {schema}"
        raise ConfigError([Fault("database.url", found, allowed)])


# Tried again and again rather than waited for: a session that waits for a lock holds a snapshot, for which CREATE INDEX
# CONCURRENTLY in the session that has the lock would wait in turn.
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('careloop schema_migration', 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('careloop schema_migration', 0))"


@asynccontextmanager
async def _only_one_at_a_time(conn: AsyncConnection[TupleRow]) -> AsyncGenerator[None]:
    """Hold the lock of the schema; it is the session's, so it also ends with a killed process."""
    try:
        async with asyncio.timeout(LOCK_TIMEOUT_S):
            while await _one(conn, TRY_LOCK) is not True:  # noqa: ASYNC110 - the lock is in the database
                await asyncio.sleep(LOCK_POLL_S)
    except TimeoutError as error:
        raise Retryable("schema_locked", "another careloop has been migrating this database for a long time") from error
    try:
        yield
    finally:
        if not conn.closed:
            await conn.execute(UNLOCK)


CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    package    text        NOT NULL,
    version    integer     NOT NULL,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (package, version)
)
"""


async def create_ledger(conn: AsyncConnection[TupleRow]) -> None:
    """Make the table that says which migrations are applied."""
    if not await has_ledger(conn):
        await conn.execute(CREATE_LEDGER)


HAS_LEDGER = "SELECT to_regclass('schema_migration') IS NOT NULL"


async def has_ledger(conn: AsyncConnection[TupleRow]) -> bool:
    """Whether careloop has ever made its schema here."""
    return await _one(conn, HAS_LEDGER) is True


APPLIED = "SELECT package, version, sha256 FROM schema_migration ORDER BY package, version"


async def applied_checksums(conn: AsyncConnection[TupleRow]) -> dict[tuple[str, int], str]:
    """The checksum of every applied migration, by package and version."""
    return {
        (package, version): checksum for package, version, checksum in await (await conn.execute(APPLIED)).fetchall()
    }


ENTER = "INSERT INTO schema_migration (package, version, name, sha256) VALUES (%s, %s, %s, %s)"


async def _apply(conn: AsyncConnection[TupleRow], migration: Migration) -> None:
    entry = (migration.package, migration.version, migration.name, migration.checksum)
    if migration.is_marked(NO_TRANSACTION):
        await conn.execute(migration.text.encode())
        await conn.execute(ENTER, entry)
        return
    async with conn.transaction():
        await conn.execute(migration.text.encode())
        await conn.execute(ENTER, entry)


async def _one(conn: AsyncConnection[TupleRow], query: LiteralString) -> object:
    row = await (await conn.execute(query)).fetchone()
    return None if row is None else row[0]
