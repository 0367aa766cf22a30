"""What owners allow, written down as the registry finds it."""

from typing import Final

from devices.registry.model import Grant
from devices.registry.queries import Connection

RECORD_GRANT: Final = """
INSERT INTO grant_record (tenant_id, owner_ref, purpose, recipient, state, basis, source, recorded_at, valid_from,
                          valid_until)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


async def record_grant(conn: Connection, tenant_id: str, grant: Grant) -> None:
    """Add a word of an owner, who must be known; it counts from now on."""
    _ = await conn.execute(
        RECORD_GRANT,
        (
            tenant_id,
            grant.owner_ref,
            grant.purpose,
            grant.recipient,
            grant.state,
            grant.basis,
            grant.source,
            grant.recorded_at,
            grant.valid_from,
            grant.valid_until,
        ),
    )
