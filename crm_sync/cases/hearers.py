"""The rows of who is to hear of a case, and of what they have said."""

from dataclasses import dataclass
from typing import Final, LiteralString

from crm_sync.cases.queries import Connection
from crm_sync.model import Case


@dataclass(frozen=True, slots=True)
class Announcement:
    """An endpoint that is to hear of a case, what it wants to hear, and whether it may have heard."""

    endpoint: str
    types: frozenset[str]
    state: str  # pending until the first attempt, then announced; withdrawn before it, taken_back after it

    @property
    def is_heard(self) -> bool:
        """Whether the endpoint is to hear on."""
        return self.state in {"pending", "announced"}


_ANNOUNCEMENTS_OF: Final[LiteralString] = """
SELECT endpoint, types, state FROM case_endpoint WHERE case_id = %s ORDER BY endpoint
"""


async def announcements_of(conn: Connection, case_id: str) -> tuple[Announcement, ...]:
    """The endpoints that are to hear of a case."""
    cursor = await conn.execute(_ANNOUNCEMENTS_OF, [case_id])
    return tuple([Announcement(name, frozenset(types), state) async for name, types, state in cursor])


_ANNOUNCEMENT_OF: Final[LiteralString] = """
SELECT endpoint, types, state FROM case_endpoint WHERE case_id = %s AND endpoint = %s
"""


async def announcement_of(conn: Connection, case_id: str, endpoint: str) -> Announcement | None:
    """What one endpoint knows of a case; None if it is not to hear of it."""
    cursor = await conn.execute(_ANNOUNCEMENT_OF, [case_id, endpoint])
    row = await cursor.fetchone()
    return None if row is None else Announcement(row[0], frozenset(row[1]), row[2])


_EXPECT_ANNOUNCEMENT: Final[LiteralString] = """
INSERT INTO case_endpoint (case_id, endpoint, tenant_id, types, state) VALUES (%s, %s, %s, %s, 'pending')
ON CONFLICT (case_id, endpoint) DO UPDATE SET state = 'pending', types = excluded.types
"""


async def expect_announcement(conn: Connection, case: Case, endpoint: str, types: list[str]) -> None:
    """Note that an endpoint is to be told of a case, and what it wants to hear."""
    await conn.execute(_EXPECT_ANNOUNCEMENT, [case.case_id, endpoint, case.tenant_id, types])


_SET_ANNOUNCEMENT: Final[LiteralString] = "UPDATE case_endpoint SET state = %s WHERE case_id = %s AND endpoint = %s"


async def set_announcement(conn: Connection, case_id: str, endpoint: str, state: str) -> None:
    """Note that an endpoint may now know of a case, or never will."""
    await conn.execute(_SET_ANNOUNCEMENT, [state, case_id, endpoint])


_RAISE_EXTERNAL_VERSION: Final[LiteralString] = """
UPDATE case_endpoint SET external_version = %(version)s
 WHERE case_id = %(case_id)s AND endpoint = %(endpoint)s
   AND (external_version IS NULL OR external_version < %(version)s)
RETURNING external_version
"""


async def raise_external_version(conn: Connection, case_id: str, endpoint: str, version: int) -> bool:
    """Note the version that a CRM calls back with; False unless it is newer than every one before."""
    values = {"case_id": case_id, "endpoint": endpoint, "version": version}
    cursor = await conn.execute(_RAISE_EXTERNAL_VERSION, values)
    return await cursor.fetchone() is not None


_FORGET_SEEN: Final[LiteralString] = """
UPDATE external_ref SET seen_status = NULL, seen_outcome = NULL WHERE tenant_id = %s AND case_id = %s
"""


async def forget_seen(conn: Connection, case: Case) -> None:
    """How CRMs' records stood before a relapse is no news of what they do after it."""
    await conn.execute(_FORGET_SEEN, [case.tenant_id, case.case_id])
