"""Which database careloop has been given: plain PostgreSQL or TimescaleDB, and what that edition may do."""

from dataclasses import dataclass
from enum import StrEnum

from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import TupleRow


class EditionKind(StrEnum):
    """What the database stores readings in: native partitions or hypertables."""

    PLAIN = "plain"
    TIMESCALEDB = "timescaledb"


class License(StrEnum):
    """TimescaleDB's two editions, in the words of its setting `timescaledb.license`."""

    APACHE = "apache"
    TIMESCALE = "timescale"


@dataclass(frozen=True, slots=True)
class Edition:
    """What was found; `version` and `license` are TimescaleDB's and None on plain PostgreSQL."""

    kind: EditionKind
    postgres_version: str
    version: str | None = None
    license: License | None = None

    @property
    def is_timescaledb(self) -> bool:
        """Whether hypertables can be used."""
        return self.kind is EditionKind.TIMESCALEDB

    @property
    def is_community(self) -> bool:
        """Whether the columnstore, continuous aggregates and policies can be used."""
        return self.license is License.TIMESCALE

    def describe(self) -> str:
        """The edition in words, and how it divides readings by time."""
        if not self.is_timescaledb:
            return f"PostgreSQL {self.postgres_version}; monthly partitions"
        name = "Community" if self.is_community else "Apache"
        return f"TimescaleDB {self.version} {name} edition on PostgreSQL {self.postgres_version}; hypertables"


EXTENSION = """
SELECT installed_version, current_setting('timescaledb.license', true)
FROM pg_available_extensions WHERE name = 'timescaledb'
"""

CREATE_EXTENSION = "CREATE EXTENSION IF NOT EXISTS timescaledb"

# The loader defines this setting; creating the extension where it is not preloaded would end the session.
IS_PRELOADED = "SELECT current_setting('timescaledb.disable_load', true) IS NOT NULL"


async def detect_edition(conn: AsyncConnection[TupleRow]) -> Edition:
    """Look at what the database can do; changes nothing."""
    postgres_version = conn.info.parameter_status("server_version") or "unknown"
    found = await (await conn.execute(EXTENSION)).fetchone()
    if found is None or found[0] is None:
        return Edition(EditionKind.PLAIN, postgres_version.split()[0])
    return Edition(EditionKind.TIMESCALEDB, postgres_version.split()[0], found[0], License(found[1]))


async def can_create_extension(conn: AsyncConnection[TupleRow]) -> bool:
    """Whether TimescaleDB is in this database, or the server has it ready to be created; changes nothing."""
    found = await (await conn.execute(EXTENSION)).fetchone()
    if found is None or found[0] is not None:
        return found is not None
    return await (await conn.execute(IS_PRELOADED)).fetchone() == (True,)


async def create_extension(conn: AsyncConnection[TupleRow]) -> bool:
    """Create TimescaleDB in this database where the server has it and permits it; say whether it is there.

    A server without the package, one that does not preload it, or a role that may not create extensions is no error:
    careloop then stores in plain PostgreSQL.
    """
    if not await can_create_extension(conn):
        return False
    try:
        async with conn.transaction():
            await conn.execute(CREATE_EXTENSION)
    except InsufficientPrivilege:
        return False
    return True
