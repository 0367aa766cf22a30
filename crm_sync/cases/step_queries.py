"""The rows of steps that an owner sees: proposed to a person, held for their hour, queued, sent or withdrawn."""

from dataclasses import dataclass
from datetime import datetime
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
    message_id: str | None = None  # of a held one: it may have been taken already, and is sent again as it is
    queued_at_s: float | None = None
    expires_at_s: float | None = None  # of a proposed one: nobody said yes by then
    approved_by: str | None = None
    people: int = 1  # how many must say yes
    first_yes_by: str | None = None  # who has, where another must, too
    first_yes_account: str | None = None  # what they had signed in with

    @property
    def action(self) -> str:
        """What the playbook calls it."""
        return self.template or self.kind


_INSERT_STEP: Final[LiteralString] = """
INSERT INTO held_step (
    step_id, tenant_id, case_id, endpoint, owner_ref, kind, channel, template, text, state, due_at, decided_at,
    expires_at, people
) VALUES (
    %(step_id)s, %(tenant_id)s, %(case_id)s, %(endpoint)s, %(owner_ref)s, %(kind)s, %(channel)s, %(template)s,
    %(text)s, %(state)s, %(due_at)s, %(decided_at)s, %(expires_at)s, %(people)s
)
ON CONFLICT DO NOTHING
RETURNING step_id
"""


async def insert_step(conn: Connection, step: Step) -> bool:
    """Hold a step until its hour, or propose it; False if the case has taken it before."""
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
        "state": step.state,
        "people": step.people,
        "expires_at": None if step.expires_at_s is None else to_datetime(step.expires_at_s),
    }
    return await (await conn.execute(_INSERT_STEP, values)).fetchone() is not None


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


_CASE_OF: Final[LiteralString] = "SELECT case_id FROM held_step WHERE step_id = %s"


async def case_of_step(conn: Connection, step_id: str) -> str | None:
    """The case that a step belongs to; None where there is no such step."""
    row = await (await conn.execute(_CASE_OF, [step_id])).fetchone()
    return None if row is None else str(row[0])


_LOCK_PROPOSED: Final[LiteralString] = """
SELECT * FROM held_step WHERE step_id = %s AND state = 'proposed' FOR UPDATE
"""


async def lock_proposed_step(conn: Connection, step_id: str) -> Step | None:
    """A step that waits for a yes; nobody else changes it until the transaction ends."""
    return await _fetch_step(conn, _LOCK_PROPOSED, step_id)


_PROPOSED: Final[LiteralString] = """
SELECT * FROM held_step
 WHERE tenant_id = %(tenant_id)s AND state = 'proposed' AND (%(step_id)s::text IS NULL OR step_id = %(step_id)s)
   AND (coalesce(expires_at, 'infinity'), step_id) > (%(after_at)s::timestamptz, %(after_id)s::text)
 ORDER BY coalesce(expires_at, 'infinity'), step_id LIMIT %(limit)s
"""
BEFORE_ALL: Final[tuple[datetime | str, str]] = ("-infinity", "")


async def proposed_steps(
    conn: Connection,
    tenant_id: str,
    limit: int,
    *,
    after: tuple[datetime | str, str] = BEFORE_ALL,
    step_id: str | None = None,
) -> list[Step]:
    """Steps that wait for a person's yes, those first that will not wait long: of one, or `after` such a moment and id.

    Who waits for ever expires at ``infinity``.
    """
    values = {"tenant_id": tenant_id, "limit": limit, "after_at": after[0], "after_id": after[1], "step_id": step_id}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_PROPOSED, values)
        return [_step_of_row(row) async for row in cursor]


_FORGOTTEN: Final[LiteralString] = """
SELECT * FROM held_step WHERE state = 'proposed' AND expires_at <= %s ORDER BY expires_at, step_id LIMIT %s
"""


async def forgotten_steps(conn: Connection, now_s: float, limit: int) -> list[Step]:
    """Proposed steps that nobody answered in time; not held against others."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_FORGOTTEN, [to_datetime(now_s), limit])
        return [_step_of_row(row) async for row in cursor]


_HOLD_STEP: Final[LiteralString] = """
UPDATE held_step SET state = 'held', due_at = %s, message_id = %s, reason = NULL, settled_at = NULL WHERE step_id = %s
"""


async def hold_step(conn: Connection, step: Step, due_at_s: float, message_id: str | None = None) -> None:
    """Hold a step until a later hour; `message_id` is of a message that may have been taken already."""
    await conn.execute(_HOLD_STEP, [to_datetime(due_at_s), message_id, step.step_id])


_PROPOSE_STEP: Final[LiteralString] = """
UPDATE held_step SET state = 'proposed', expires_at = %s, people = %s, first_yes_by = NULL, first_yes_account = NULL,
       message_id = %s, settled_at = NULL
 WHERE step_id = %s
"""


async def propose_step(
    conn: Connection, step: Step, expires_at_s: float, people: int, message_id: str | None = None
) -> None:
    """Let a step wait for the yes of so many people."""
    await conn.execute(_PROPOSE_STEP, [to_datetime(expires_at_s), people, message_id, step.step_id])


_FIRST_YES: Final[LiteralString] = """
UPDATE held_step SET first_yes_by = %s, first_yes_account = %s WHERE step_id = %s
"""


async def note_first_yes(conn: Connection, step: Step, person: str, account: str) -> None:
    """One person said yes, and another has to, too."""
    await conn.execute(_FIRST_YES, [person, account, step.step_id])


_APPROVE_STEP: Final[LiteralString] = """
UPDATE held_step SET state = 'held', due_at = %(now)s, approved_by = %(person)s, approved_at = %(now)s
 WHERE step_id = %(step_id)s
"""


async def approve_step(conn: Connection, step: Step, person: str, now_s: float) -> None:
    """A person said yes: the step may go as soon as the other gates let it."""
    await conn.execute(_APPROVE_STEP, {"step_id": step.step_id, "person": person, "now": to_datetime(now_s)})


_QUEUE_STEP: Final[LiteralString] = """
UPDATE held_step SET state = 'queued', message_id = %s, queued_at = %s WHERE step_id = %s
"""


async def queue_step(conn: Connection, step_id: str, message_id: str, now_s: float) -> None:
    """Note which message carries a step."""
    await conn.execute(_QUEUE_STEP, [message_id, to_datetime(now_s), step_id])


_MAY_BE_TAKEN: Final[LiteralString] = """
SELECT EXISTS (SELECT FROM delivery_attempt WHERE message_id = %s AND (result IS NULL OR result = 'unknown'))
"""


async def may_be_taken(conn: Connection, message_id: str) -> bool:
    """Whether a CRM may have taken a message without our knowing."""
    row = await (await conn.execute(_MAY_BE_TAKEN, [message_id])).fetchone()
    return row is not None and row[0] is True


_SETTLE_STEP: Final[LiteralString] = """
UPDATE held_step SET state = %s, reason = %s, settled_at = %s WHERE step_id = %s
"""


async def settle_step(conn: Connection, step_id: str, state: str, reason: str | None, now_s: float) -> None:
    """Note that a step was sent, or why it never will be."""
    await conn.execute(_SETTLE_STEP, [state, reason, to_datetime(now_s), step_id])


_WITHDRAW_STEPS: Final[LiteralString] = """
UPDATE held_step SET state = 'withdrawn', reason = %s, settled_at = %s
 WHERE case_id = %s AND state IN ('held', 'proposed')
RETURNING channel
"""


async def withdraw_steps(conn: Connection, case_id: str, reason: str, now_s: float) -> list[str]:
    """Give up every step of a case that has not been queued; gives their channels."""
    return [row[0] async for row in await conn.execute(_WITHDRAW_STEPS, [reason, to_datetime(now_s), case_id])]


_PLAN_ANEW: Final[LiteralString] = """
UPDATE held_step SET state = 'held', reason = NULL, settled_at = NULL, due_at = %(now)s, decided_at = %(now)s
 WHERE case_id = %(case_id)s AND state = 'withdrawn' AND reason = %(reason)s
"""


async def plan_anew(conn: Connection, case_id: str, reason: str, now_s: float) -> None:
    """Hold the steps of a case again that were withdrawn for a reason which is no more; every gate is asked anew."""
    await conn.execute(_PLAN_ANEW, {"case_id": case_id, "reason": reason, "now": to_datetime(now_s)})


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
        queued_at_s=_epoch_s(row["queued_at"]),
        expires_at_s=_epoch_s(row["expires_at"]),
        approved_by=row["approved_by"],
        people=row["people"],
        first_yes_by=row["first_yes_by"],
        first_yes_account=row["first_yes_account"],
    )


def _epoch_s(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
