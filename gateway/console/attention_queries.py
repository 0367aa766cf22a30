"""What pages on alarms and contacts that want a person ask the database: read only, on the caller's connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row, tuple_row

from devices.clock import to_datetime

DAY_S: Final = 86_400.0
Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact that waits for a person's yes: what would be sent, to whom, and why."""

    step_id: str
    case_id: str
    owner_ref: str
    kind: str
    channel: str
    template: str | None
    text: str
    endpoint: str
    decided_at: datetime
    expires_at: datetime | None
    people: int  # who must say yes
    first_yes_by: str | None  # who has, where another must, too
    first_yes_account: str | None
    title: str
    severity: str
    problem: str
    device_id: str
    model: str | None
    language: str | None
    time_zone: str | None
    says: str | None  # of the first alarm
    reason: str | None  # of the playbook
    gates: list[str]  # that have let it pass
    asks: list[str]  # why a person has to say yes


_WAITING: Final[LiteralString] = """
SELECT s.step_id, s.case_id, s.owner_ref, s.kind, s.channel, s.template, s.text, s.endpoint, s.decided_at,
       s.expires_at, s.people, s.first_yes_by, s.first_yes_account, c.title, c.severity, c.problem, c.device_id,
       d.model, o.language, o.time_zone,
       (SELECT a.explanation ->> 'text' FROM case_alarm a WHERE a.case_id = c.case_id
         ORDER BY a.started_at LIMIT 1) AS says,
       (SELECT x.reason FROM case_action x WHERE x.case_id = c.case_id AND x.verdict = 'chosen'
           AND x.channel = s.channel AND x.kind IN ('self_help_message', 'offer')
         ORDER BY x.round DESC, x.place LIMIT 1) AS reason,
       ARRAY(SELECT DISTINCT g.gate FROM decision g WHERE g.case_id = s.case_id AND g.subject = 'step'
           AND g.recipient = s.channel AND g.outcome = 'allow' ORDER BY g.gate) AS gates,
       coalesce((SELECT g.inputs -> 'why' FROM decision g WHERE g.case_id = s.case_id AND g.gate = 'approval'
           AND g.recipient = s.channel AND g.outcome = 'hold' AND g.inputs ? 'why'
         ORDER BY g.decision_id DESC LIMIT 1), '[]') AS asks
  FROM held_step s
  JOIN service_case c USING (case_id)
  LEFT JOIN device d ON d.device_id = c.device_id
  LEFT JOIN owner o ON o.tenant_id = s.tenant_id AND o.owner_ref = s.owner_ref
 WHERE s.tenant_id = %s AND s.state = 'proposed'
 ORDER BY s.expires_at, s.step_id LIMIT %s OFFSET %s
"""


async def waiting_contacts(conn: Connection, tenant_id: str, *, limit: int, offset: int) -> list[ContactRow]:
    """Contacts that wait for a yes, those first that will not wait long."""
    async with conn.cursor(row_factory=class_row(ContactRow)) as cursor:
        return await (await cursor.execute(_WAITING, [tenant_id, limit, offset])).fetchall()


_COUNT_WAITING: Final[LiteralString] = """
SELECT count(*) FROM (SELECT FROM held_step WHERE tenant_id = %s AND state = 'proposed' LIMIT 100000) AS counted
"""


async def count_contacts(conn: Connection, tenant_id: str) -> int:
    """How many contacts wait for a yes."""
    row = await (await conn.execute(_COUNT_WAITING, [tenant_id])).fetchone()
    assert row is not None  # an aggregate
    return int(row[0])


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A contact that somebody has said yes or no to, or that nobody answered in time."""

    case_id: str
    title: str
    owner_ref: str
    channel: str
    template: str | None
    kind: str
    state: str
    reason: str | None
    approved_by: str | None
    at: datetime


_ANSWERED: Final[LiteralString] = """
SELECT s.case_id, c.title, s.owner_ref, s.channel, s.template, s.kind, s.state, s.reason, s.approved_by,
       coalesce(s.settled_at, s.approved_at, s.decided_at) AS at
  FROM held_step s JOIN service_case c USING (case_id)
 WHERE s.tenant_id = %s AND s.decided_at > %s
   AND (s.approved_by IS NOT NULL OR s.reason IN ('declined', 'not_approved'))
 ORDER BY s.decided_at DESC LIMIT 30
"""


async def answered_contacts(conn: Connection, tenant_id: str, since_s: float) -> list[AnsweredRow]:
    """Contacts that were answered of late, the newest first."""
    async with conn.cursor(row_factory=class_row(AnsweredRow)) as cursor:
        return await (await cursor.execute(_ANSWERED, [tenant_id, to_datetime(since_s)])).fetchall()


_SNOOZES: Final[LiteralString] = """
SELECT alarm_id, max(ends_at) FROM quiet_alarm
 WHERE tenant_id = %(tenant_id)s AND alarm_id = ANY(%(alarm_ids)s) AND ended_at IS NULL AND ends_at > %(now)s
 GROUP BY alarm_id
"""


async def snoozes_of(
    conn: Connection, tenant_id: str, alarm_ids: Sequence[str], now_s: float
) -> Mapping[str, datetime]:
    """Until when alarms are snoozed, where they are."""
    values = {"tenant_id": tenant_id, "alarm_ids": list(alarm_ids), "now": to_datetime(now_s)}
    return {alarm_id: until async for alarm_id, until in await conn.execute(_SNOOZES, values)}


@dataclass(frozen=True, slots=True)
class Fate:
    """What came of an alarm: its case, or why it has none."""

    alarm_id: str
    case_id: str | None
    suppressed: str | None


_FATES: Final[LiteralString] = """
SELECT alarm_id, case_id, suppressed FROM case_alarm WHERE tenant_id = %s AND alarm_id = ANY(%s)
"""


async def fates_of(conn: Connection, tenant_id: str, alarm_ids: Sequence[str]) -> Mapping[str, Fate]:
    """What came of alarms, as far as cases have heard of them."""
    async with conn.cursor(row_factory=class_row(Fate)) as cursor:
        rows = await (await cursor.execute(_FATES, [tenant_id, list(alarm_ids)])).fetchall()
    return {row.alarm_id: row for row in rows}


_ALARM_EXISTS: Final[LiteralString] = "SELECT EXISTS (SELECT FROM alarm WHERE tenant_id = %s AND alarm_id = %s)"


async def alarm_exists(conn: Connection, tenant_id: str, alarm_id: str) -> bool:
    """Whether a tenant has such an alarm."""
    row = await (await conn.execute(_ALARM_EXISTS, [tenant_id, alarm_id])).fetchone()
    return row is not None and row[0] is True


@dataclass(frozen=True, slots=True)
class OwnersAlarm:
    """An alarm of a product, from the time in which it was a person's."""

    alarm_id: str
    device_id: str
    model: str | None
    watch: str
    metric: str | None
    severity: str
    state: str
    started_at: datetime
    raised_at: datetime
    ended_at: datetime | None
    text: str | None


_ALARMS_OF_OWNER: Final[LiteralString] = """
SELECT a.alarm_id, a.device_id, s.model, a.watch, a.metric, a.severity, a.state, a.started_at, a.raised_at, a.ended_at,
       a.explanation ->> 'text' AS text
  FROM ownership o JOIN asset s USING (asset_id) JOIN alarm a ON a.device_id = s.device_id
 WHERE o.tenant_id = %(tenant_id)s AND o.owner_ref = %(owner_ref)s AND a.tenant_id = %(tenant_id)s
   AND a.raised_at >= o.since AND (o.until IS NULL OR a.raised_at < o.until)
 ORDER BY a.raised_at DESC, a.alarm_id LIMIT 50
"""


async def alarms_of_owner(conn: Connection, tenant_id: str, owner_ref: str) -> list[OwnersAlarm]:
    """The newest alarms of what somebody owns or owned, while they did."""
    async with conn.cursor(row_factory=class_row(OwnersAlarm)) as cursor:
        await cursor.execute(_ALARMS_OF_OWNER, {"tenant_id": tenant_id, "owner_ref": owner_ref})
        return await cursor.fetchall()


_MAY_WORK: Final[LiteralString] = """
SELECT name FROM person WHERE tenant_id = %s AND disabled_at IS NULL AND role <> 'viewer' ORDER BY lower(name)
"""


async def list_workers(conn: Connection, tenant_id: str) -> list[str]:
    """The people whom a case can be given to: whoever may work one, and is not shut out."""
    return [row[0] async for row in await conn.execute(_MAY_WORK, [tenant_id])]


COUNT_OPENED: LiteralString = """
SELECT count(*) FILTER (WHERE opened_at > %(day)s), count(*)
  FROM service_case
 WHERE tenant_id = %(tenant_id)s AND opened_at > %(week)s
"""


async def count_opened(conn: Connection, tenant_id: str, now_s: float) -> tuple[int, int]:
    """Cases that came about within the last day, and within the last week."""
    values = {"tenant_id": tenant_id, "day": to_datetime(now_s - DAY_S), "week": to_datetime(now_s - 7 * DAY_S)}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        row = await (await cursor.execute(COUNT_OPENED, values)).fetchone()
    assert row is not None  # a count is always one row
    return int(row[0]), int(row[1])
