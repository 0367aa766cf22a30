"""What the console's pages ask the database beyond what the API asks: read only, on the caller's connection."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from crm_sync.model import CaseState

Connection = AsyncConnection[TupleRow]

LIVE: Final = (CaseState.PROPOSED, CaseState.APPROVED, CaseState.OPEN, CaseState.WAITING)

MOST_COUNTED: Final = 50_000


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A case as the inbox shows it; `records` are pairs of endpoint and what it knows of the case."""

    case_id: str
    title: str
    problem: str
    severity: str
    state: str
    resolution: str | None
    device_id: str
    model: str | None
    owner_ref: str | None
    team: str
    assignee: str | None
    opened_at: datetime
    sla_due_at: datetime | None
    relapses: int
    members: int | None  # devices of a major case; None for a product's own
    taken_up_at: datetime | None
    says: str | None
    kind: str | None  # of its first alarm, as are its metric and beginning
    metric: str | None
    began_at: datetime | None
    goes_on: bool | None
    records: list[list[str]]


@dataclass(frozen=True, slots=True)
class InboxFilter:
    """Which cases; None lets all pass."""

    states: Sequence[str] = LIVE
    severity: str | None = None
    team: str | None = None
    assignee: str | None = None
    words: str | None = None  # part of a title, an id, or a reference

    @property
    def is_narrow(self) -> bool:
        """Whether something else than the state is asked for."""
        return any(each is not None for each in (self.severity, self.team, self.assignee, self.words))


_WANTED: Final[LiteralString] = """
    WHERE c.tenant_id = %(tenant_id)s AND c.state = ANY(%(states)s)
      AND (%(severity)s::text IS NULL OR c.severity = %(severity)s)
      AND (%(team)s::text IS NULL OR c.team = %(team)s)
      AND (%(assignee)s::text IS NULL OR c.assignee = %(assignee)s)
      AND (%(words)s::text IS NULL
           OR strpos(lower(concat_ws(' ', c.title, c.device_id, c.asset_id, c.owner_ref, c.case_id)), %(words)s) > 0)
"""

# A case is as urgent as its severity, where that is critical, and then as its deadline.
_URGENT: Final[LiteralString] = """
WITH found AS (
    SELECT c.case_id, row_number() OVER (ORDER BY c.severity = 'critical' DESC, c.sla_due_at NULLS LAST,
               array_position(array['critical', 'major', 'minor', 'info'], c.severity), c.number) AS place
    FROM service_case c
"""

_NEWEST: Final[LiteralString] = """
WITH found AS (
    SELECT c.case_id, -c.number AS place
    FROM service_case c
"""

_SHOWN: Final[LiteralString] = """
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT c.case_id, c.title, c.problem, c.severity, c.state, c.resolution, c.device_id, d.model, c.owner_ref, c.team,
       c.assignee, c.opened_at, c.sla_due_at, c.relapses, m.devices AS members,
       a.says, a.kind, a.metric, a.started_at AS began_at, a.goes_on,
       taken.at AS taken_up_at,
       coalesce((SELECT jsonb_agg(jsonb_build_array(e.endpoint, e.state) ORDER BY e.endpoint)
                   FROM case_endpoint e WHERE e.case_id = c.case_id), '[]') AS records
FROM found f
JOIN service_case c USING (case_id)
LEFT JOIN device d ON d.device_id = c.device_id
LEFT JOIN major_case m ON m.case_id = c.case_id
LEFT JOIN LATERAL (SELECT explanation ->> 'text' AS says, kind, metric, started_at, state = 'active' AS goes_on
                     FROM case_alarm
                    WHERE case_id = c.case_id ORDER BY started_at LIMIT 1) AS a ON true
"""
# A case that went on after a relapse is in nobody's hands until somebody takes it up again.
_TAKEN_UP: Final[LiteralString] = """
LEFT JOIN LATERAL (
    SELECT t.at FROM case_transition t
     WHERE t.case_id = c.case_id AND c.state <> 'proposed'
       AND (t.actor LIKE 'crm:%%' AND t.reason IN ('accepted', 'in_progress', 'waiting')
            OR t.actor LIKE 'person:%%' AND t.reason = 'assigned' AND c.assignee IS NOT NULL)
       AND (c.relapses = 0
            OR t.transition_id > coalesce((SELECT max(r.transition_id) FROM case_transition r
                                            WHERE r.case_id = c.case_id AND r.to_state = 'open'
                                              AND r.from_state = 'resolved'), 0))
     ORDER BY t.transition_id LIMIT 1
) AS taken ON true
"""
_IN_ORDER: Final[LiteralString] = "ORDER BY f.place"
# Said in so many words as well, for the index in this order is over live cases only.
_LIVE_ONLY: Final[LiteralString] = "AND c.state IN ('proposed', 'approved', 'open', 'waiting')\n"
_LIST_URGENT: Final[LiteralString] = _URGENT + _WANTED + _LIVE_ONLY + "ORDER BY place" + _SHOWN + _TAKEN_UP + _IN_ORDER
_LIST_NEWEST: Final[LiteralString] = _NEWEST + _WANTED + "ORDER BY c.number DESC" + _SHOWN + _TAKEN_UP + _IN_ORDER


async def list_inbox(
    conn: Connection, tenant_id: str, which: InboxFilter, *, limit: int, offset: int
) -> list[InboxRow]:
    """A page of cases: live ones by urgency, ended ones the newest first."""
    query = _LIST_URGENT if set(which.states) <= set(LIVE) else _LIST_NEWEST
    values = {**_values(tenant_id, which), "limit": limit, "offset": offset}
    async with conn.cursor(row_factory=class_row(InboxRow)) as cursor:
        return await (await cursor.execute(query, values)).fetchall()


_COUNT: Final[LiteralString] = """
SELECT count(*) FROM (SELECT FROM service_case c
"""
_AT_MOST: Final[LiteralString] = "LIMIT %(most)s) AS counted"
_COUNT_INBOX: Final[LiteralString] = _COUNT + _WANTED + _AT_MOST


async def count_inbox(conn: Connection, tenant_id: str, which: InboxFilter) -> int:
    """How many cases there are of this kind; counted up to a thousand pages or so."""
    row = await (await conn.execute(_COUNT_INBOX, {**_values(tenant_id, which), "most": MOST_COUNTED})).fetchone()
    assert row is not None  # an aggregate
    return int(row[0])


def _values(tenant_id: str, which: InboxFilter) -> dict[str, object]:
    return {
        "tenant_id": tenant_id,
        "states": [str(state) for state in which.states],
        "severity": which.severity,
        "team": which.team,
        "assignee": which.assignee,
        "words": which.words and which.words.lower(),
    }


_LIST_TEAMS: Final[LiteralString] = """
SELECT DISTINCT team FROM service_case
 WHERE tenant_id = %s AND state IN ('proposed', 'approved', 'open', 'waiting') ORDER BY team
"""


async def list_teams(conn: Connection, tenant_id: str) -> list[str]:
    """The teams that have something to do."""
    return [row[0] async for row in await conn.execute(_LIST_TEAMS, [tenant_id])]


@dataclass(frozen=True, slots=True)
class RecordRow:
    """What one CRM knows of a case, and what is still on its way there."""

    endpoint: str
    state: str
    external_id: str | None
    seen_status: str | None
    waiting: int
    dead: int


_RECORDS: Final[LiteralString] = """
SELECT e.endpoint, e.state, r.external_id, r.seen_status, coalesce(m.waiting, 0) AS waiting, coalesce(m.dead, 0) AS dead
FROM case_endpoint e
LEFT JOIN external_ref r USING (tenant_id, endpoint, case_id)
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE o.state = 'pending') AS waiting, count(*) FILTER (WHERE o.state = 'dead') AS dead
    FROM outbox_stream s JOIN outbox_message o USING (stream_id)
    WHERE s.tenant_id = e.tenant_id AND s.endpoint = e.endpoint AND s.stream_key = e.case_id
) AS m ON true
WHERE e.tenant_id = %s AND e.case_id = %s
ORDER BY e.endpoint
"""


async def list_records(conn: Connection, tenant_id: str, case_id: str) -> list[RecordRow]:
    """What each CRM knows of a case."""
    async with conn.cursor(row_factory=class_row(RecordRow)) as cursor:
        return await (await cursor.execute(_RECORDS, [tenant_id, case_id])).fetchall()


@dataclass(frozen=True, slots=True)
class CaseName:
    """What a case is called, and whose product it is about."""

    case_id: str
    title: str
    problem: str
    device_id: str
    model: str | None


_CASE_NAMES: Final[LiteralString] = """
SELECT c.case_id, c.title, c.problem, c.device_id, d.model
FROM service_case c LEFT JOIN device d ON d.device_id = c.device_id
WHERE c.tenant_id = %s AND c.case_id = ANY(%s)
"""


async def name_cases(conn: Connection, tenant_id: str, case_ids: Collection[str]) -> dict[str, CaseName]:
    """What these cases are called, by their ids."""
    async with conn.cursor(row_factory=class_row(CaseName)) as cursor:
        found = await (await cursor.execute(_CASE_NAMES, [tenant_id, list(case_ids)])).fetchall()
    return {each.case_id: each for each in found}


@dataclass(frozen=True, slots=True)
class CaseMore:
    """What else a case's page shows."""

    model: str | None
    members: int | None
    incident_id: str | None
    taken_up_at: datetime | None


_MORE: Final[LiteralString] = """
SELECT d.model, m.devices AS members, m.incident_id, taken.at AS taken_up_at
FROM service_case c LEFT JOIN device d ON d.device_id = c.device_id LEFT JOIN major_case m ON m.case_id = c.case_id
"""
_CASE_MORE: Final[LiteralString] = _MORE + _TAKEN_UP + "WHERE c.tenant_id = %s AND c.case_id = %s"


async def case_more(conn: Connection, tenant_id: str, case_id: str) -> CaseMore:
    """What else there is to say of a case that exists."""
    async with conn.cursor(row_factory=class_row(CaseMore)) as cursor:
        found = await (await cursor.execute(_CASE_MORE, [tenant_id, case_id])).fetchone()
    return found or CaseMore(None, None, None, None)
