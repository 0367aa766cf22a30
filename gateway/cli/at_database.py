"""The database that a command is about, with what it asks there: whose it is, and what time it is."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from devices.clock import to_datetime
from gateway.cli.options import read_settings
from gateway.database.connect import open_database
from gateway.settings import Settings, build_clock


@dataclass(frozen=True, slots=True)
class AtDatabase:
    """A connection, the settings, and the gateway's clock as it stood when the connection was made."""

    conn: AsyncConnection[Any]
    settings: Settings
    now_s: float

    @property
    def tenant_id(self) -> str:
        """Whose registry and cases they are."""
        return self.settings.tenant.id

    @property
    def now(self) -> datetime:
        """The gateway's clock as an instant."""
        return to_datetime(self.now_s)


@asynccontextmanager
async def at_database(config: Path | None) -> AsyncGenerator[AtDatabase]:
    """Connect for one command, outside of any transaction."""
    settings = read_settings(config)
    async with open_database(settings) as conn:
        yield AtDatabase(conn, settings, build_clock(settings.clock).now_s())
