"""Which watches are only being tried: nothing is concluded from their alarms."""

from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.trust.models import trusted_watch
from devices.profiles.model import WatchMode

Connection = AsyncConnection[TupleRow]

_SHADOWS: Final[LiteralString] = "SELECT model, watch FROM watch_trust WHERE tenant_id = %s AND mode = %s"


async def list_shadows(conn: Connection, tenant_id: str) -> set[tuple[str, str]]:
    """Model and name of each watch of a tenant that is in shadow mode."""
    rows = await (await conn.execute(_SHADOWS, [tenant_id, WatchMode.SHADOW])).fetchall()
    return {(model, watch) for model, watch in rows}


def is_shadow(shadows: set[tuple[str, str]], model: str, watch: str, kind: str) -> bool:
    """Whether a watch is in shadow mode, on a model as trust knows it."""
    return (model, trusted_watch(model, watch, kind)) in shadows
