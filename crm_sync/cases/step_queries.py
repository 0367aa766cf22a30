"""The rows of steps that an owner sees: held for their hour, queued, sent or withdrawn."""

from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg.rows import dict_row

from crm_sync.cases.queries import Connection
from devices.clock import to_datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that an owner is to see; instants are the gateway's clock."""

    step_id: str
    tenant_id: str
    case_id: str
    endpoint: str
    owner_ref: str
    kind: str
    channel: str
    template: str | None
    text: str
    due_at_s: float
    decided_at_s: float
    state: str = "held"
    message_id: str | None = None


_INSERT_STEP: Final[LiteralString] = """
INSERT INTO held_step (
    step_id, tenant_id, case_id, endpoint, owner_ref, kind, channel, template, text, state, due_at, decided_at
) VALUES (
    %(step_id)s, %(tenant_id)s, %(case_id)s, %(endpoint)s, %(owner_ref)s, %(kind)s, %(channel)s, %(template)s,
    %(text)s, 'held', %(due_at)s, %(decided_at)s
)
ON CONFLICT DO NOTHING
"""


async def insert_step(conn: Connection, step: Step) -> bool:
    """Hold a step until its hour; False if the case has taken it before."""
    values = {
        "step_id": step.step_id,
        "tenant_id": step.tenant_id,
        "case_id": step.case_id,
        "endpoint": step.endpoint,
        "owner_ref": step.owner_ref,
        "kind": step.kind,
        "channel": step.channel,
        "template": step.template,
        "text": step.text,
        "due_at": to_datetime(step.due_at_s),
        "decided_at": to_datetime(step.decided_at_s),
    }
    cursor = await conn.execute(_INSERT_STEP, values)
    return cursor.rowcount == 1


_DUE_STEPS: Final[LiteralString] = """
SELECT * FROM held_step WHERE state = 'held' AND due_at <= %s ORDER BY due_at, step_id LIMIT %s
"""


async def due_steps(conn: Connection, now_s: float, limit: int) -> list[Step]:
    """Steps whose hour has come; not held against others, `lock_step` does that."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_DUE_STEPS, [to_datetime(now_s), limit])
        return [_step_of_row(row) async for row in cursor]


_LOCK_HELD_STEP: Final[LiteralString] = "SELECT * FROM held_step WHERE step_id = %s AND state = 'held' FOR UPDATE"


async def lock_held_step(conn: Connection, step_id: str) -> Step | None:
    """A step that is still held; nobody else changes it until the transaction ends."""
    return await _fetch_step(conn, _LOCK_HELD_STEP, step_id)


_STEP_OF_MESSAGE: Final[LiteralString] = "SELECT * FROM held_step WHERE message_id = %s FOR UPDATE"


async def lock_step_of_message(conn: Connection, message_id: str) -> Step | None:
    """The step that a message carries, if it carries one."""
    return await _fetch_step(conn, _STEP_OF_MESSAGE, message_id)


_HOLD_STEP: Final[LiteralString] = "UPDATE held_step SET due_at = %s WHERE step_id = %s"


async def hold_step(conn: Connection, step_id: str, due_at_s: float) -> None:
    """Hold a step until a later hour."""
    await conn.execute(_HOLD_STEP, [to_datetime(due_at_s), step_id])


_QUEUE_STEP: Final[LiteralString] = "UPDATE held_step SET state = 'queued', message_id = %s WHERE step_id = %s"


async def queue_step(conn: Connection, step_id: str, message_id: str) -> None:
    """Note which message carries a step."""
    await conn.execute(_QUEUE_STEP, [message_id, step_id])


_SETTLE_STEP: Final[LiteralString] = """
UPDATE held_step SET state = %s, reason = %s, settled_at = %s WHERE step_id = %s
"""


async def settle_step(conn: Connection, step_id: str, state: str, reason: str | None, now_s: float) -> None:
    """Note that a step was sent, or why it never will be."""
    await conn.execute(_SETTLE_STEP, [state, reason, to_datetime(now_s), step_id])


_WITHDRAW_STEPS: Final[LiteralString] = """
UPDATE held_step SET state = 'withdrawn', reason = %s, settled_at = %s WHERE case_id = %s AND state = 'held'
"""


async def withdraw_steps(conn: Connection, case_id: str, reason: str, now_s: float) -> None:
    """Give up every step of a case that is still held."""
    await conn.execute(_WITHDRAW_STEPS, [reason, to_datetime(now_s), case_id])


async def _fetch_step(conn: Connection, query: LiteralString, key: str) -> Step | None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, [key])
        row = await cursor.fetchone()
    return None if row is None else _step_of_row(row)


def _step_of_row(row: dict[str, Any]) -> Step:
    return Step(
        step_id=row["step_id"],
        tenant_id=row["tenant_id"],
        case_id=row["case_id"],
        endpoint=row["endpoint"],
        owner_ref=row["owner_ref"],
        kind=row["kind"],
        channel=row["channel"],
        template=row["template"],
        text=row["text"],
        due_at_s=row["due_at"].timestamp(),
        decided_at_s=row["decided_at"].timestamp(),
        state=row["state"],
        message_id=row["message_id"],
    )
