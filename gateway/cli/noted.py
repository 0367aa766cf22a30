"""What commands leave in the audit trail: somebody at the machine did this."""

import getpass
import os
from collections.abc import Sequence
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from gateway.people.audit import record_command

_IS_KEPT: Final[LiteralString] = "SELECT to_regclass('audit') IS NOT NULL"


def user_name() -> str:
    """Who types this: the account's name, or its number in a container that has no account of that number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def named(numbers: Sequence[int]) -> str:
    """Which entries an act was about: the one, or from which to which."""
    return str(numbers[0]) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


async def note(conn: AsyncConnection[Any], tenant_id: str, what: str, subject: str, **inputs: object) -> None:
    """Write down a command's act on the transaction that carries it out, with who gave it; `inputs` hold no secrets.

    A database from before the audit trail has none to be written to: the act is done all the same.
    """
    row = await (await conn.execute(_IS_KEPT)).fetchone()
    if row is not None and row[0]:
        await record_command(conn, tenant_id, what, subject, **{"by": user_name(), **inputs})
