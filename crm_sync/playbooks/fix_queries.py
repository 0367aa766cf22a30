"""The rows of silent fixes: ordered, verified and settled, on the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from crm_sync.model import Case
from crm_sync.playbooks.model import TriedFix
from devices.clock import to_datetime

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class SilentFix:
    """A command that is to mend a fault before anybody is told."""

    command_id: str
    case_id: str
    command: str
    action: str
    state: str
    holds_case: bool
    verify_within_s: float


_FIND_FIX: Final[LiteralString] = """
SELECT command_id, case_id, command, action, state, holds_case, verify_within_s FROM silent_fix
 WHERE case_id = %s AND state IN ('ordered', 'verifying')
   FOR UPDATE
"""


async def open_fix_of(conn: Connection, case_id: str) -> SilentFix | None:
    """The silent fix of a case that is under way."""
    async with conn.cursor(row_factory=class_row(SilentFix)) as cursor:
        return await (await cursor.execute(_FIND_FIX, [case_id])).fetchone()


_TRIED_SILENTLY: Final[LiteralString] = """
SELECT command, state, reason FROM silent_fix WHERE case_id = %s ORDER BY ordered_at, command_id
"""


async def tried_of(conn: Connection, case_id: str) -> tuple[TriedFix, ...]:
    """What the product was told to do by itself about a case, in order."""
    async with conn.cursor(row_factory=class_row(TriedFix)) as cursor:
        return tuple(await (await cursor.execute(_TRIED_SILENTLY, [case_id])).fetchall())


@dataclass(frozen=True, slots=True)
class FixHistory:
    """What was tried before."""

    commands: frozenset[str]  # in this case
    lately: Mapping[str, int]  # by command, on this product against this problem, in the last 30 days
    this_hour: int  # on all products


_TRIED: Final[LiteralString] = """
SELECT command, case_id = %(case_id)s FROM silent_fix
 WHERE tenant_id = %(tenant_id)s AND asset_id = %(asset_id)s AND problem = %(problem)s
   AND (case_id = %(case_id)s OR ordered_at > %(since)s)
"""
_THIS_HOUR: Final[LiteralString] = "SELECT count(*) FROM silent_fix WHERE tenant_id = %s AND ordered_at > %s"


async def history_of(conn: Connection, case: Case, now_s: float) -> FixHistory:
    """What was tried before, as a decision asks for it."""
    values = {
        "case_id": case.case_id,
        "tenant_id": case.tenant_id,
        "asset_id": case.asset_id,
        "problem": case.problem,
        "since": to_datetime(now_s - 30 * 86_400.0),
    }
    commands: set[str] = set()
    lately: dict[str, int] = {}
    async for command, is_own in await conn.execute(_TRIED, values):
        lately[command] = lately.get(command, 0) + 1
        if is_own:
            commands.add(command)
    row = await (await conn.execute(_THIS_HOUR, [case.tenant_id, to_datetime(now_s - 3600.0)])).fetchone()
    return FixHistory(frozenset(commands), lately, 0 if row is None else int(row[0]))


_ADD_FIX: Final[LiteralString] = """
INSERT INTO silent_fix (
    command_id, tenant_id, case_id, asset_id, problem, round, action, command, holds_case, verify_within_s, ordered_at
) VALUES (
    %(command_id)s, %(tenant_id)s, %(case_id)s, %(asset_id)s, %(problem)s, %(round)s, %(action)s, %(command)s,
    %(holds_case)s, %(verify_within_s)s, %(ordered_at)s
)
"""


async def add_fix(conn: Connection, case: Case, fix: SilentFix, number: int, now_s: float) -> None:
    """Note that a command was put to mend a case."""
    values = {
        "command_id": fix.command_id,
        "tenant_id": case.tenant_id,
        "case_id": case.case_id,
        "asset_id": case.asset_id,
        "problem": case.problem,
        "round": number,
        "action": fix.action,
        "command": fix.command,
        "holds_case": fix.holds_case,
        "verify_within_s": fix.verify_within_s,
        "ordered_at": to_datetime(now_s),
    }
    await conn.execute(_ADD_FIX, values)


_TELL_PEOPLE: Final[LiteralString] = "UPDATE silent_fix SET holds_case = false WHERE command_id = %s"


async def hold_case_no_longer(conn: Connection, command_id: str) -> None:
    """People are told although it is not known yet whether the silent fix helps."""
    await conn.execute(_TELL_PEOPLE, [command_id])


_VERIFY_FIX: Final[LiteralString] = """
UPDATE silent_fix SET state = 'verifying', verify_until = %s WHERE command_id = %s
"""


async def verify_fix(conn: Connection, command_id: str, until_s: float) -> None:
    """The product says that it has done it; telemetry has until then to show that it helped."""
    await conn.execute(_VERIFY_FIX, [to_datetime(until_s), command_id])


_SETTLE_FIX: Final[LiteralString] = """
UPDATE silent_fix SET state = %s, reason = %s, settled_at = %s WHERE command_id = %s
"""


async def settle_fix(conn: Connection, command_id: str, state: str, reason: str, now_s: float) -> None:
    """Note what came of a silent fix: worked, failed, or dropped because nothing was left to mend."""
    await conn.execute(_SETTLE_FIX, [state, reason, to_datetime(now_s), command_id])


@dataclass(frozen=True, slots=True)
class DueFix:
    """A silent fix of which there is news: its command was settled, its time to be seen is over, or nobody may wait."""

    command_id: str
    case_id: str
    state: str
    command_state: str
    detail: str
    is_over: bool  # the time in which it was to be seen


_DUE_FIXES: Final[LiteralString] = """
SELECT f.command_id, f.case_id, f.state, d.state AS command_state, d.detail,
       f.state = 'verifying' AND f.verify_until <= %(now)s AS is_over
  FROM silent_fix f JOIN device_command d USING (command_id) JOIN service_case c ON c.case_id = f.case_id
 WHERE f.tenant_id = %(tenant_id)s
   AND ((f.state = 'ordered' AND d.state NOT IN ('queued', 'sent', 'delivered'))
        OR (f.state = 'verifying' AND f.verify_until <= %(now)s)
        OR (f.state IN ('ordered', 'verifying') AND f.holds_case AND c.severity = 'critical'))
 ORDER BY f.ordered_at, f.command_id LIMIT %(limit)s
"""


async def due_fixes(conn: Connection, tenant_id: str, now_s: float, limit: int) -> list[DueFix]:
    """Silent fixes that go on, or that have failed."""
    values = {"tenant_id": tenant_id, "now": to_datetime(now_s), "limit": limit}
    async with conn.cursor(row_factory=class_row(DueFix)) as cursor:
        return await (await cursor.execute(_DUE_FIXES, values)).fetchall()
