"""The rows of commands: put by whoever wants one, moved on by the gateway and by what devices answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from devices.clock import to_datetime
from devices.commands.model import CommandAnswer, CommandState, CommandView, NewCommand

Connection = AsyncConnection[Any]

CHANNEL: Final = "careloop_commands"
"""The notification channel; its payload is the device that has a new command."""

_PUT: Final[LiteralString] = """
WITH put AS (
    INSERT INTO device_command (
        command_id, tenant_id, device_id, name, data, issued_by, issued_at, expires_at, answer_within_s
    ) VALUES (
        %(command_id)s, %(tenant_id)s, %(device_id)s, %(name)s, %(data)s, %(issued_by)s, %(issued_at)s, %(expires_at)s,
        %(answer_within_s)s
    )
    ON CONFLICT DO NOTHING
    RETURNING device_id
)
SELECT pg_notify('careloop_commands', device_id) FROM put
"""


async def put_command(conn: Connection, command: NewCommand) -> bool:
    """Put a command; False if its id is known, or one of its kind is pending for the device already."""
    values = {
        "command_id": command.command_id,
        "tenant_id": command.tenant_id,
        "device_id": command.device_id,
        "name": command.name,
        "data": Jsonb(dict(command.data)),
        "issued_by": command.issued_by,
        "issued_at": to_datetime(command.issued_at_s),
        "expires_at": to_datetime(command.expires_at_s),
        "answer_within_s": command.answer_within_s,
    }
    return await (await conn.execute(_PUT, values)).fetchone() is not None


_FIND: Final[LiteralString] = "SELECT * FROM device_command WHERE tenant_id = %s AND command_id = %s"


async def find_command(conn: Connection, tenant_id: str, command_id: str) -> CommandView | None:
    """One command."""
    return next(iter(await _fetch(conn, _FIND, [tenant_id, command_id])), None)


_FIND_PENDING: Final[LiteralString] = """
SELECT * FROM device_command
 WHERE tenant_id = %s AND device_id = %s AND name = %s AND state IN ('queued', 'sent', 'delivered')
"""


async def find_pending(conn: Connection, tenant_id: str, device_id: str, name: str) -> CommandView | None:
    """The one command of this name that a device still has before it."""
    return next(iter(await _fetch(conn, _FIND_PENDING, [tenant_id, device_id, name])), None)


_LIST: Final[LiteralString] = """
SELECT * FROM device_command
 WHERE tenant_id = %s AND device_id = %s
   AND (%s::timestamptz IS NULL OR (issued_at, command_id) < (%s, %s))
 ORDER BY issued_at DESC, command_id DESC LIMIT %s
"""


async def list_commands(
    conn: Connection, tenant_id: str, device_id: str, limit: int, before: tuple[datetime, str] | None = None
) -> list[CommandView]:
    """A device's commands, newest first; those `before` one that was seen."""
    at, command_id = before or (None, None)
    return await _fetch(conn, _LIST, [tenant_id, device_id, at, at, command_id, limit])


async def _fetch(conn: Connection, query: LiteralString, values: Sequence[object]) -> list[CommandView]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return [_view_of(row) async for row in cursor]


def _view_of(row: dict[str, Any]) -> CommandView:
    return CommandView(
        command_id=row["command_id"],
        device_id=row["device_id"],
        name=row["name"],
        data=row["data"],
        issued_by=row["issued_by"],
        state=CommandState(row["state"]),
        detail=row["detail"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        tries=row["tries"],
        sent_at=row["sent_at"],
        delivered_at=row["delivered_at"],
        settled_at=row["settled_at"],
        reached_at=row["reached_at"],
    )


_CANCEL: Final[LiteralString] = """
UPDATE device_command SET state = 'cancelled', detail = %(why)s, settled_at = clock_timestamp()
 WHERE tenant_id = %(tenant_id)s AND command_id = %(command_id)s AND state IN ('queued', 'sent', 'delivered')
RETURNING command_id
"""


async def cancel_command(conn: Connection, tenant_id: str, command_id: str, why: str) -> bool:
    """Send it no more, and wait for no answer; False if it was settled. A device that has it may still obey."""
    values = {"tenant_id": tenant_id, "command_id": command_id, "why": why}
    return await (await conn.execute(_CANCEL, values)).fetchone() is not None


_ANSWER: Final[LiteralString] = """
UPDATE device_command SET
    state = %(state)s, detail = %(detail)s,
    delivered_at = coalesce(delivered_at, clock_timestamp()), reached_at = coalesce(reached_at, %(now)s),
    settled_at = CASE WHEN %(state)s <> 'delivered' THEN clock_timestamp() END,
    answer_due_at = clock_timestamp() + coalesce(answer_within_s, 300) * interval '1 s'
 WHERE command_id = %(command_id)s AND device_id = %(device_id)s AND state IN ('queued', 'sent', 'delivered')
"""


async def take_answers(conn: Connection, answers: Sequence[CommandAnswer], now_s: float) -> None:
    """Note what devices answered, each about a command of its own that still waits for one; others say nothing."""
    rows = [
        {
            "state": answer.state,
            "detail": answer.detail,
            "now": to_datetime(now_s),
            "command_id": answer.command_id,
            "device_id": answer.device_id,
        }
        for answer in answers
    ]
    async with conn.cursor() as cursor:
        await cursor.executemany(_ANSWER, rows)


# -- what the gateway does with them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A command that is to be sent now."""

    command_id: str
    device_id: str
    name: str
    data: dict[str, object]
    issued_at: datetime
    expires_at: datetime
    was_sent: bool  # before, and its device has not acknowledged it


_AWAITED_DEVICES: Final[LiteralString] = """
SELECT DISTINCT device_id FROM device_command WHERE tenant_id = %s AND state IN ('queued', 'sent')
"""


async def awaited_devices(conn: Connection, tenant_id: str) -> set[str]:
    """The devices for which something is kept."""
    return {row[0] async for row in await conn.execute(_AWAITED_DEVICES, [tenant_id])}


_TAKE_OUTGOING: Final[LiteralString] = """
SELECT c.command_id, c.device_id, c.name, c.data, c.issued_at, c.expires_at, c.state = 'sent' AS was_sent
  FROM device_command c JOIN device d USING (device_id)
 WHERE c.tenant_id = %(tenant_id)s AND c.device_id = ANY(%(device_ids)s) AND c.state IN ('queued', 'sent')
   AND c.expires_at > %(now)s AND d.revoked_at IS NULL
 ORDER BY c.issued_at, c.command_id
   FOR UPDATE OF c SKIP LOCKED
"""


async def take_outgoing(conn: Connection, tenant_id: str, device_ids: Sequence[str], now_s: float) -> list[Outgoing]:
    """What these devices are to be sent, oldest first; held until the transaction ends."""
    values = {"tenant_id": tenant_id, "device_ids": list(device_ids), "now": to_datetime(now_s)}
    async with conn.cursor(row_factory=class_row(Outgoing)) as cursor:
        return await (await cursor.execute(_TAKE_OUTGOING, values)).fetchall()


_MARK_SENT: Final[LiteralString] = """
UPDATE device_command SET
    state = 'sent', tries = tries + 1, sent_at = clock_timestamp(),
    answer_within_s = coalesce(answer_within_s, %(answer_within_s)s),
    answer_due_at = clock_timestamp() + (coalesce(answer_within_s, %(answer_within_s)s) + %(kept_s)s) * interval '1 s'
 WHERE command_id = ANY(%(command_ids)s) AND state IN ('queued', 'sent')
"""


async def mark_sent(conn: Connection, command_ids: Sequence[str], answer_within_s: float, kept_s: float = 0.0) -> None:
    """They were handed over, and are to be answered within so many real seconds, where they do not say otherwise.

    `kept_s` is for how long a broker may still keep them.
    """
    values = {"command_ids": list(command_ids), "answer_within_s": answer_within_s, "kept_s": kept_s}
    await conn.execute(_MARK_SENT, values)


_MARK_DELIVERED: Final[LiteralString] = """
UPDATE device_command SET
    state = 'delivered', delivered_at = clock_timestamp(), reached_at = %(now)s,
    answer_due_at = clock_timestamp() + coalesce(answer_within_s, 300) * interval '1 s'
 WHERE command_id = ANY(%(command_ids)s) AND state IN ('queued', 'sent')
"""


async def mark_delivered(conn: Connection, command_ids: Sequence[str], now_s: float) -> None:
    """Their devices have acknowledged the messages."""
    await conn.execute(_MARK_DELIVERED, {"command_ids": list(command_ids), "now": to_datetime(now_s)})


_EXPIRE: Final[LiteralString] = """
UPDATE device_command SET
    state = CASE WHEN tries = 0 THEN 'expired' ELSE 'unanswered' END, settled_at = clock_timestamp(),
    detail = CASE WHEN tries = 0 THEN 'it became too old before the device was there'
                  ELSE 'the device went away with it, and did not come back in time' END
 WHERE tenant_id = %s AND state = 'queued' AND expires_at <= %s
"""


async def expire_commands(conn: Connection, tenant_id: str, now_s: float) -> int:
    """Give up what has become too old; returns how many."""
    return (await conn.execute(_EXPIRE, [tenant_id, to_datetime(now_s)])).rowcount


_OVERDUE: Final[LiteralString] = """
SELECT command_id, device_id, state FROM device_command
 WHERE tenant_id = %s AND state IN ('sent', 'delivered') AND answer_due_at <= clock_timestamp()
 ORDER BY answer_due_at LIMIT %s
   FOR UPDATE SKIP LOCKED
"""


async def overdue_commands(conn: Connection, tenant_id: str, limit: int) -> list[tuple[str, str, CommandState]]:
    """Commands whose answer is overdue, each with its device and state; held until the transaction ends."""
    rows = await conn.execute(_OVERDUE, [tenant_id, limit])
    return [(command_id, device_id, CommandState(state)) async for command_id, device_id, state in rows]


_GIVE_UP: Final[LiteralString] = """
UPDATE device_command SET state = 'unanswered', settled_at = clock_timestamp(), detail = 'the device did not answer'
 WHERE command_id = ANY(%s)
"""


async def give_up(conn: Connection, command_ids: Sequence[str]) -> None:
    """Wait for their answers no longer."""
    await conn.execute(_GIVE_UP, [list(command_ids)])


_REQUEUE: Final[LiteralString] = """
UPDATE device_command SET state = 'queued', answer_due_at = NULL WHERE command_id = ANY(%s)
"""


async def requeue(conn: Connection, command_ids: Sequence[str]) -> None:
    """Their devices went away before they had acknowledged the messages: sent again when they come back."""
    await conn.execute(_REQUEUE, [list(command_ids)])
