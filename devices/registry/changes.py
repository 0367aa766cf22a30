"""What is new in the registry, for whoever keeps it in memory."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import groupby
from sys import intern

from psycopg.rows import TupleRow

from devices.registry.model import Credential, Device
from devices.registry.queries import Connection, read_changes, read_mark, read_together

_AT_ONCE = 500
"""Devices taken at a time: some milliseconds' worth, after which others have a turn."""


@dataclass(frozen=True, slots=True)
class Known:
    """A device as it is now, with what it may sign in with, newest first; `device` is None where it was removed."""

    device_id: str
    device: Device | None
    credentials: tuple[Credential, ...]


async def changes(
    conn: Connection, since: str | None = None, device_ids: Sequence[str] | None = None
) -> AsyncGenerator[list[Known] | str]:
    """First a mark, to be given as `since` the next time; then devices, a few hundred at a time, in the order of ids.

    Without `since` every device there ever was, with it those that may have changed, with `device_ids` these alone.
    All of it is as of one moment.
    """
    async with conn.transaction():
        await read_together(conn)
        yield await read_mark(conn)
        after = ""
        while rows := await read_changes(conn, since, device_ids, after=after, limit=_AT_ONCE):
            after = rows[-1][0]
            yield [_known(device_id, list(its)) for device_id, its in groupby(rows, key=lambda row: row[0])]


def _known(device_id: str, rows: Sequence[TupleRow]) -> Known:
    """One device, from a row for each of its credentials; what many devices have in common is one object."""
    _, tenant_id, model, region, partition, is_live, *_ = rows[0]
    if not is_live:
        return Known(device_id, None, ())
    tenant_id = intern(tenant_id)
    device = Device(device_id, tenant_id, model and intern(model), region and intern(region), partition)
    credentials = tuple(
        Credential(credential_id, tenant_id, device_id, "scrypt" if scheme == "scrypt" else "sha256", salt, digest)
        for *_, credential_id, scheme, salt, digest in rows
        if credential_id is not None
    )
    return Known(device_id, device, credentials)
