"""What others ask about cases: read only, on the caller's connection."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, Protocol, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from crm_sync.cases.queries import alarm_of_row, case_of_row
from crm_sync.model import Case, CaseAlarm, CaseState
from crm_sync.playbooks.shown import ActionView, actions_of
from crm_sync.policy.shown import DecisionView, StepView, decisions_of_alarm, decisions_of_cases, steps_of_cases

Connection = AsyncConnection[Any]
Row = TypeVar("Row", bound="_OfCase")


class _OfCase(Protocol):
    @property
    def case_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class EndpointView:
    """What one endpoint knows of a case: pending, announced, withdrawn or taken_back; and what it has not taken."""

    case_id: str
    endpoint: str
    state: str
    external_id: str | None
    taken: int = 0  # messages about the case
    waiting: int = 0  # on their way
    dead: int = 0
    reason: str | None = None  # of the last dead one; else what the last attempt at the next one came to


@dataclass(frozen=True, slots=True)
class TransitionView:
    """One move of a case; an observation where it stayed in its state."""

    case_id: str
    from_state: str | None
    to_state: str
    actor: str
    reason: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class WordView:
    """What somebody said of a fault: whether it was real, and what the customer said of it."""

    case_id: str
    verdict: str
    source: str
    actor: str
    customer_said: str | None
    said_at: datetime


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case with all that explains it."""

    case: Case
    alarms: tuple[CaseAlarm, ...]
    endpoints: tuple[EndpointView, ...]
    transitions: tuple[TransitionView, ...]
    decisions: tuple[DecisionView, ...]
    steps: tuple[StepView, ...]
    actions: tuple[ActionView, ...] = ()  # that were considered, chosen or not
    words: tuple[WordView, ...] = ()  # the oldest first


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases; None lets all pass."""

    state: CaseState | None = None
    device_id: str | None = None
    owner_ref: str | None = None
    severity: str | None = None
    team: str | None = None
    assignee: str | None = None


@dataclass(frozen=True, slots=True)
class CasePage:
    """Some cases, newest first, and the cursor of the next page: None on the last one."""

    items: tuple[CaseView, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class CaseCounts:
    """Cases in numbers; `duplicate` counts live cases beyond one per asset and problem, and must be 0."""

    total: int
    by_state: Mapping[str, int]
    duplicate: int
    suppressed: int  # alarms that no case took in
    withdrawn: int  # cases that no CRM was ever told of, or that were taken back
    inbox_pending: int
    inbox_parked: int


_LIST_CASES: Final[LiteralString] = """
SELECT * FROM service_case
 WHERE tenant_id = %(tenant_id)s
   AND (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
   AND (%(owner_ref)s::text IS NULL OR owner_ref = %(owner_ref)s)
   AND (%(severity)s::text IS NULL OR severity = %(severity)s)
   AND (%(team)s::text IS NULL OR team = %(team)s)
   AND (%(assignee)s::text IS NULL OR assignee = %(assignee)s)
   AND (%(cursor)s::text IS NULL
        OR number < (SELECT number FROM service_case WHERE case_id = %(cursor)s))
 ORDER BY number DESC
 LIMIT %(limit)s
"""


async def list_cases(conn: Connection, tenant_id: str, which: CaseFilter, cursor: str | None, limit: int) -> CasePage:
    """A page of cases; the cursor is the last page's `next`."""
    values = {
        "tenant_id": tenant_id,
        "state": which.state,
        "device_id": which.device_id,
        "owner_ref": which.owner_ref,
        "severity": which.severity,
        "team": which.team,
        "assignee": which.assignee,
        "cursor": cursor,
        "limit": limit + 1,
    }
    async with conn.cursor(row_factory=dict_row) as rows:
        await rows.execute(_LIST_CASES, values)
        found = [case_of_row(row) async for row in rows]
    page = found[:limit]
    return CasePage(await _views(conn, page), page[-1].case_id if len(found) > limit else None)


_FIND_CASE_ID: Final[LiteralString] = "SELECT case_id FROM service_case WHERE tenant_id = %s AND number = %s"


async def find_case_id(conn: Connection, tenant_id: str, named: str) -> str:
    """The id of a case that is named by its number; anything else is an id."""
    if not (named.isascii() and named.isdecimal() and len(named) < 19):  # noqa: PLR2004 - a bigint's digits
        return named
    row = await (await conn.execute(_FIND_CASE_ID, [tenant_id, int(named)])).fetchone()
    return named if row is None else str(row[0])


_GET_CASE: Final[LiteralString] = "SELECT * FROM service_case WHERE tenant_id = %s AND case_id = %s"


async def get_case(conn: Connection, tenant_id: str, case_id: str) -> CaseView | None:
    """One case, or None."""
    async with conn.cursor(row_factory=dict_row) as rows:
        await rows.execute(_GET_CASE, [tenant_id, case_id])
        row = await rows.fetchone()
    return None if row is None else (await _views(conn, [case_of_row(row)]))[0]


async def _views(conn: Connection, cases: Sequence[Case]) -> tuple[CaseView, ...]:
    ids = [case.case_id for case in cases]
    alarms = await _alarms(conn, ids)
    endpoints = _by_case(await _endpoints(conn, ids))
    transitions = _by_case(await _transitions(conn, ids))
    decisions = _by_case(await decisions_of_cases(conn, ids))
    steps = _by_case(await steps_of_cases(conn, ids))
    actions = _by_case(await actions_of(conn, ids))
    words = _by_case(await _words(conn, ids))
    return tuple(
        CaseView(
            case,
            tuple(alarms.get(case.case_id, ())),
            tuple(endpoints.get(case.case_id, ())),
            tuple(transitions.get(case.case_id, ())),
            tuple(decisions.get(case.case_id, ())),
            tuple(steps.get(case.case_id, ())),
            tuple(actions.get(case.case_id, ())),
            tuple(words.get(case.case_id, ())),
        )
        for case in cases
    )


def _by_case(rows: Iterable[Row]) -> dict[str | None, list[Row]]:
    grouped: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.case_id].append(row)
    return grouped


_ALARMS: Final[LiteralString] = "SELECT * FROM case_alarm WHERE case_id = ANY(%s) ORDER BY started_at, alarm_id"


async def _alarms(conn: Connection, ids: list[str]) -> dict[str, list[CaseAlarm]]:
    grouped: dict[str, list[CaseAlarm]] = defaultdict(list)
    async with conn.cursor(row_factory=dict_row) as rows:
        await rows.execute(_ALARMS, [ids])
        async for row in rows:
            grouped[row["case_id"]].append(alarm_of_row(row))
    return grouped


_ENDPOINTS: Final[LiteralString] = """
SELECT e.case_id, e.endpoint, e.state, r.external_id, m.taken, m.waiting, m.dead,
       coalesce(m.reason, tried.code) AS reason
  FROM case_endpoint e
  LEFT JOIN external_ref r USING (tenant_id, endpoint, case_id)
  LEFT JOIN outbox_stream s ON (s.tenant_id, s.endpoint, s.stream_key) = (e.tenant_id, e.endpoint, e.case_id)
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE state = 'delivered') AS taken,
              count(*) FILTER (WHERE state = 'pending') AS waiting,
              count(*) FILTER (WHERE state = 'dead') AS dead,
              (array_agg(reason ORDER BY seq DESC) FILTER (WHERE state = 'dead'))[1] AS reason,
              (array_agg(message_id ORDER BY seq) FILTER (WHERE state = 'pending'))[1] AS next_id
         FROM outbox_message
        WHERE stream_id = s.stream_id
       ) AS m
  LEFT JOIN LATERAL (
       SELECT code FROM delivery_attempt
        WHERE message_id = m.next_id AND result IS NOT NULL ORDER BY attempt_id DESC LIMIT 1
       ) AS tried ON true
 WHERE e.case_id = ANY(%s)
 ORDER BY e.endpoint
"""


async def _endpoints(conn: Connection, ids: list[str]) -> list[EndpointView]:
    async with conn.cursor(row_factory=class_row(EndpointView)) as rows:
        return await (await rows.execute(_ENDPOINTS, [ids])).fetchall()


_TRANSITIONS: Final[LiteralString] = """
SELECT case_id, from_state, to_state, actor, reason, note, at
  FROM case_transition WHERE case_id = ANY(%s) ORDER BY transition_id
"""


async def _transitions(conn: Connection, ids: list[str]) -> list[TransitionView]:
    async with conn.cursor(row_factory=class_row(TransitionView)) as rows:
        return await (await rows.execute(_TRANSITIONS, [ids])).fetchall()


_WORDS: Final[LiteralString] = """
SELECT case_id, verdict, source, actor, customer_said, said_at
  FROM case_verdict WHERE case_id = ANY(%s) ORDER BY verdict_id
"""


async def _words(conn: Connection, ids: list[str]) -> list[WordView]:
    async with conn.cursor(row_factory=class_row(WordView)) as rows:
        return await (await rows.execute(_WORDS, [ids])).fetchall()


_GET_ALARM: Final[LiteralString] = "SELECT * FROM case_alarm WHERE tenant_id = %s AND alarm_id = %s"


async def get_alarm(conn: Connection, tenant_id: str, alarm_id: str) -> tuple[CaseAlarm, list[DecisionView]] | None:
    """An alarm as cases know it, and what was decided about it, the oldest first; None for one never heard of."""
    async with conn.cursor(row_factory=dict_row) as rows:
        await rows.execute(_GET_ALARM, [tenant_id, alarm_id])
        row = await rows.fetchone()
    if row is None:
        return None
    return alarm_of_row(row), await decisions_of_alarm(conn, tenant_id, alarm_id)


_COUNT_CASES: Final[LiteralString] = """
SELECT state, count(*) AS cases FROM service_case WHERE tenant_id = %s GROUP BY state ORDER BY state
"""

_COUNT_OTHERS: Final[LiteralString] = """
SELECT (SELECT coalesce(sum(live - 1), 0)::bigint FROM (
           SELECT count(*) AS live FROM service_case
            WHERE tenant_id = %(tenant_id)s AND state IN ('proposed', 'approved', 'open', 'waiting')
            GROUP BY asset_id, problem
       ) AS of_problem) AS duplicate,
       (SELECT count(*) FROM case_alarm
         WHERE tenant_id = %(tenant_id)s AND case_id IS NULL AND suppressed IS NOT NULL) AS suppressed,
       (SELECT count(DISTINCT e.case_id) FROM case_endpoint e
         WHERE e.tenant_id = %(tenant_id)s AND e.state IN ('withdrawn', 'taken_back')
           AND NOT EXISTS (SELECT FROM case_endpoint o
                            WHERE o.case_id = e.case_id AND o.state IN ('pending', 'announced'))) AS withdrawn,
       (SELECT count(*) FROM inbox WHERE tenant_id = %(tenant_id)s AND state = 'pending') AS inbox_pending,
       (SELECT count(*) FROM inbox WHERE tenant_id = %(tenant_id)s AND state = 'parked') AS inbox_parked
"""


async def count_cases(conn: Connection, tenant_id: str, by_state: Mapping[str, int] | None = None) -> CaseCounts:
    """Cases, suppressed alarms and waiting notices in numbers; counts cases one by one unless `by_state` is known."""
    async with conn.cursor(row_factory=dict_row) as rows:
        if by_state is None:
            await rows.execute(_COUNT_CASES, [tenant_id])
            by_state = {row["state"]: row["cases"] async for row in rows}
        by_state = {str(state): 0 for state in CaseState} | dict(by_state)
        await rows.execute(_COUNT_OTHERS, {"tenant_id": tenant_id})
        others = await rows.fetchone()
    assert others is not None  # one row of sub-selects
    return CaseCounts(total=sum(by_state.values()), by_state=by_state, **others)
