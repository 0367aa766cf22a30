"""Entering what devices sign in with, and taking it away again."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from os import cpu_count
from typing import Final

from psycopg.rows import args_row, class_row

from devices.credentials import Hashed, hash_chosen, hash_generated, verify
from devices.registry.model import Credential
from devices.registry.partings import Why, ask_parting
from devices.registry.queries import Connection
from devices.registry.records import DeviceRecord

EVERY_CREDENTIAL: Final = """
SELECT credential_id, tenant_id, device_id, scheme, salt, digest FROM device_credential WHERE device_id = ANY(%s)
"""


async def enter_passwords(conn: Connection, tenant_id: str, records: Sequence[DeviceRecord]) -> int:
    """Keep the passwords that are new to their devices, beside those that work already; returns how many.

    A password that was revoked stays so. A chosen one costs some 50 ms of processor time, a generated one nothing.
    """
    named = [record for record in records if record.password is not None]
    if not named:
        return 0
    async with conn.cursor(row_factory=args_row(Credential)) as cursor:
        found = await (await cursor.execute(EVERY_CREDENTIAL, ([record.device_id for record in named],))).fetchall()
    known: defaultdict[str, list[Credential]] = defaultdict(list)
    for credential in found:
        known[credential.device_id].append(credential)
    hashes = await asyncio.to_thread(_hash_new, [(record, known[record.device_id]) for record in named])
    new = [(record.device_id, hashed) for record, hashed in zip(named, hashes, strict=True) if hashed is not None]
    await add_credentials(conn, tenant_id, new)
    return len(new)


_Password = tuple[DeviceRecord, Sequence[Credential]]
"""A device with the password that it shall have, and everything that it ever signed in with."""


def _hash_new(passwords: Sequence[_Password]) -> list[Hashed | None]:
    """The digest of each password that its device has not; only scrypt is worth a thread."""
    with ThreadPoolExecutor(cpu_count()) as threads:  # scrypt lets go of the interpreter's lock
        stretched = iter(list(threads.map(_hash_if_new, filter(_is_stretched, passwords))))
    return [next(stretched) if _is_stretched(password) else _hash_if_new(password) for password in passwords]


def _is_stretched(password: _Password) -> bool:
    record, known = password
    return not record.generated or any(credential.scheme == "scrypt" for credential in known)


def _hash_if_new(password: _Password) -> Hashed | None:
    record, known = password
    secret = record.password or ""
    if any(verify(credential, secret) for credential in known):
        return None
    return hash_generated(secret) if record.generated else hash_chosen(secret)


ADD_CREDENTIALS: Final = """
INSERT INTO device_credential (tenant_id, device_id, scheme, salt, digest)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::bytea[])
"""


async def add_credentials(conn: Connection, tenant_id: str, new: Sequence[tuple[str, Hashed]]) -> None:
    """Let each device also sign in with this."""
    columns = (
        [device_id for device_id, _ in new],
        [hashed.scheme for _, hashed in new],
        [hashed.salt for _, hashed in new],
        [hashed.digest for _, hashed in new],
    )
    _ = await conn.execute(ADD_CREDENTIALS, (tenant_id, *columns))


@dataclass(frozen=True, slots=True)
class CredentialView:
    """What a device signs in with, or did, without anything that is secret."""

    credential_id: int
    scheme: str
    created_at: datetime
    revoked_at: datetime | None


CREDENTIALS_OF: Final = """
SELECT credential_id, scheme, created_at, revoked_at FROM device_credential
WHERE tenant_id = %s AND device_id = %s ORDER BY credential_id
"""


async def list_credentials(conn: Connection, tenant_id: str, device_id: str) -> list[CredentialView]:
    """Every credential that a device ever had, the oldest first."""
    async with conn.cursor(row_factory=class_row(CredentialView)) as cursor:
        return await (await cursor.execute(CREDENTIALS_OF, (tenant_id, device_id))).fetchall()


REVOKE_CREDENTIALS: Final = """
UPDATE device_credential SET revoked_at = %(at)s
WHERE tenant_id = %(tenant_id)s AND device_id = %(device_id)s AND revoked_at IS NULL
"""


async def revoke_credentials(conn: Connection, tenant_id: str, device_id: str, at: datetime) -> int:
    """Take away everything that a device signs in with; returns how many there were."""
    parameters = {"tenant_id": tenant_id, "device_id": device_id, "at": at}
    return (await conn.execute(REVOKE_CREDENTIALS, parameters)).rowcount


REVOKE_OLD_CREDENTIALS: Final = """
UPDATE device_credential SET revoked_at = %(at)s
WHERE tenant_id = %(tenant_id)s AND device_id = %(device_id)s AND revoked_at IS NULL
  AND credential_id < (
    SELECT max(credential_id) FROM device_credential WHERE device_id = %(device_id)s AND revoked_at IS NULL
  )
"""


async def revoke_old_credentials(conn: Connection, tenant_id: str, device_id: str, at: datetime) -> int:
    """Take away everything that a device signs in with but the newest; returns how many there were."""
    parameters = {"tenant_id": tenant_id, "device_id": device_id, "at": at}
    return (await conn.execute(REVOKE_OLD_CREDENTIALS, parameters)).rowcount


REMOVE_DEVICE: Final = """
UPDATE device SET revoked_at = %(at)s
WHERE tenant_id = %(tenant_id)s AND device_id = %(device_id)s AND revoked_at IS NULL
"""


async def remove_device(conn: Connection, tenant_id: str, device_id: str, at: datetime) -> bool:
    """Refuse a device from now on; what it said stays. False where there is no such device."""
    parameters = {"tenant_id": tenant_id, "device_id": device_id, "at": at}
    removed = (await conn.execute(REMOVE_DEVICE, parameters)).rowcount
    if removed:
        await ask_parting(conn, tenant_id, device_id, Why.REMOVED)
    _ = await revoke_credentials(conn, tenant_id, device_id, at)
    return removed > 0
