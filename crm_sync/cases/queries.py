"""The rows behind cases: read and written by the life cycle, on the caller's transaction."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, dict_row
from psycopg.types.json import Jsonb

from crm_sync.inbox import AlarmNotice
from crm_sync.model import AlarmState, Case, CaseAlarm, CaseState, Resolution, Subject
from crm_sync.policy.model import GateAnswer
from devices.clock import to_datetime
from devices.profiles.model import Severity

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a case's life; where it stays in its state it is an observation."""

    start: CaseState | None
    end: CaseState
    actor: str
    reason: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class DecisionAbout:
    """What a gate was asked about, and who would have been reached."""

    subject: Subject
    what: Literal["case", "step", "message"]
    recipient: str  # an endpoint, or a channel to the owner
    case_id: str | None = None
    alarm_id: str | None = None


_FIND_ALARM: Final[LiteralString] = "SELECT * FROM case_alarm WHERE alarm_id = %s FOR NO KEY UPDATE"


async def find_alarm(conn: Connection, alarm_id: str) -> CaseAlarm | None:
    """An alarm that was heard of before."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_FIND_ALARM, [alarm_id])
        row = await cursor.fetchone()
    return None if row is None else alarm_of_row(row)


_SAVE_ALARM: Final[LiteralString] = """
INSERT INTO case_alarm AS known (
    alarm_id, tenant_id, asset_id, device_id, owner_ref, problem, watch, kind, metric, severity, state,
    started_at, decided_ts, explanation, heard_at, updated_at
) VALUES (
    %(alarm_id)s, %(tenant_id)s, %(asset_id)s, %(device_id)s, %(owner_ref)s, %(problem)s, %(watch)s, %(kind)s,
    %(metric)s, %(severity)s, %(state)s, %(started_at)s, %(decided_ts)s, %(explanation)s, %(now)s, %(now)s
)
ON CONFLICT (alarm_id) DO UPDATE SET
    severity = excluded.severity, state = excluded.state, decided_ts = excluded.decided_ts,
    started_at = excluded.started_at, owner_ref = excluded.owner_ref, updated_at = excluded.updated_at,
    -- why it was raised stays worth reading when it is silent or over
    explanation = CASE WHEN excluded.state = 'active' THEN excluded.explanation ELSE known.explanation END
RETURNING *
"""


async def save_alarm(
    conn: Connection, subject: Subject, notice: AlarmNotice, state: AlarmState, now_s: float
) -> CaseAlarm:
    """Record what a notice says of its alarm."""
    values = {
        "alarm_id": notice.alarm_id,
        "tenant_id": notice.tenant_id,
        "asset_id": subject.asset_id,
        "device_id": notice.device_id,
        "owner_ref": subject.owner_ref,
        "problem": notice.problem,
        "watch": notice.watch,
        "kind": notice.kind,
        "metric": notice.metric,
        "severity": notice.severity,
        "state": state,
        "started_at": to_datetime(notice.started_at_s),
        "decided_ts": to_datetime(notice.ts_s),
        "explanation": Jsonb(asdict(notice.explanation)),
        "now": to_datetime(now_s),
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SAVE_ALARM, values)
        row = await cursor.fetchone()
    assert row is not None  # an upsert always returns its row
    return alarm_of_row(row)


_ATTACH_ALARM: Final[LiteralString] = "UPDATE case_alarm SET case_id = %s, suppressed = NULL WHERE alarm_id = %s"


async def attach_alarm(conn: Connection, alarm_id: str, case_id: str) -> None:
    """Make an alarm a case's evidence."""
    await conn.execute(_ATTACH_ALARM, [case_id, alarm_id])


_SUPPRESS_ALARM: Final[LiteralString] = "UPDATE case_alarm SET suppressed = %s WHERE alarm_id = %s"


async def suppress_alarm(conn: Connection, alarm_id: str, reason: str) -> None:
    """Record why no case takes an alarm in."""
    await conn.execute(_SUPPRESS_ALARM, [reason, alarm_id])


_ALARMS_OF: Final[LiteralString] = """
SELECT * FROM case_alarm WHERE case_id = %s ORDER BY started_at, alarm_id
"""


async def alarms_of(conn: Connection, case_id: str) -> tuple[CaseAlarm, ...]:
    """A case's evidence, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_ALARMS_OF, [case_id])
        return tuple([alarm_of_row(row) async for row in cursor])


_READ_CASE: Final[LiteralString] = "SELECT * FROM service_case WHERE case_id = %s"


async def read_case(conn: Connection, case_id: str) -> Case | None:
    """A case as it stands, without waiting for whoever is changing it."""
    return await _fetch_case(conn, _READ_CASE, [case_id])


_LOCK_CASE: Final[LiteralString] = "SELECT * FROM service_case WHERE case_id = %s FOR NO KEY UPDATE"


async def lock_case(conn: Connection, case_id: str) -> Case | None:
    """A case, held until the transaction ends."""
    return await _fetch_case(conn, _LOCK_CASE, [case_id])


_TRY_LOCK_CASE: Final[LiteralString] = """
SELECT * FROM service_case WHERE case_id = %s FOR NO KEY UPDATE SKIP LOCKED
"""


async def try_lock_case(conn: Connection, case_id: str) -> Case | None:
    """A case, held until the transaction ends; None where somebody else holds it."""
    return await _fetch_case(conn, _TRY_LOCK_CASE, [case_id])


_LOCK_LIVE_CASE: Final[LiteralString] = """
SELECT * FROM service_case
 WHERE tenant_id = %s AND asset_id = %s AND problem = %s
   AND state IN ('proposed', 'approved', 'open', 'waiting')
   FOR NO KEY UPDATE
"""


async def lock_live_case(conn: Connection, tenant_id: str, asset_id: str, problem: str) -> Case | None:
    """The one live case of an asset's problem, held until the transaction ends."""
    return await _fetch_case(conn, _LOCK_LIVE_CASE, [tenant_id, asset_id, problem])


_LOCK_LIVE_CASE_OF_DEVICE: Final[LiteralString] = """
SELECT * FROM service_case
 WHERE tenant_id = %s AND asset_id = %s AND device_id = %s AND opened_at >= %s
   AND state IN ('proposed', 'approved', 'open', 'waiting')
 ORDER BY number
 LIMIT 1
   FOR NO KEY UPDATE
"""


async def lock_live_case_of_device(conn: Connection, subject: Subject, since_s: float) -> Case | None:
    """The first live case of a device that opened since, whatever its problem; held until the transaction ends."""
    values = [subject.tenant_id, subject.asset_id, subject.device_id, to_datetime(since_s)]
    return await _fetch_case(conn, _LOCK_LIVE_CASE_OF_DEVICE, values)


_LOCK_LAST_CASE: Final[LiteralString] = """
SELECT * FROM service_case
 WHERE tenant_id = %s AND asset_id = %s AND problem = %s
 ORDER BY number DESC
 LIMIT 1
   FOR NO KEY UPDATE
"""


async def lock_last_case(conn: Connection, tenant_id: str, asset_id: str, problem: str) -> Case | None:
    """The newest case of an asset's problem, live or not, held until the transaction ends."""
    return await _fetch_case(conn, _LOCK_LAST_CASE, [tenant_id, asset_id, problem])


_INSERT_CASE: Final[LiteralString] = """
INSERT INTO service_case (
    case_id, tenant_id, asset_id, device_id, problem, state, severity, title, brief, team, owner_ref, account_ref,
    opened_at, updated_at, sla_due_at, relapse_of
) VALUES (
    %(case_id)s, %(tenant_id)s, %(asset_id)s, %(device_id)s, %(problem)s, %(state)s, %(severity)s, %(title)s,
    %(brief)s, %(team)s, %(owner_ref)s, %(account_ref)s, %(opened_at)s, %(updated_at)s, %(sla_due_at)s, %(relapse_of)s
)
ON CONFLICT DO NOTHING
RETURNING case_id
"""


async def insert_case(conn: Connection, case: Case) -> bool:
    """Write a new case; False if the asset has a live one of this problem, or the case is there already."""
    cursor = await conn.execute(_INSERT_CASE, _values_of(case))
    return await cursor.fetchone() is not None


_UPDATE_CASE: Final[LiteralString] = """
UPDATE service_case SET
    state = %(state)s, severity = %(severity)s, title = %(title)s, brief = %(brief)s, team = %(team)s,
    ending = %(ending)s,
    owner_ref = %(owner_ref)s, account_ref = %(account_ref)s, updated_at = %(updated_at)s, closed_at = %(closed_at)s,
    sla_due_at = %(sla_due_at)s, resolution = %(resolution)s, outcome = %(outcome)s, version = %(version)s,
    relapses = %(relapses)s, assignee = %(assignee)s
 WHERE case_id = %(case_id)s
"""


async def update_case(conn: Connection, case: Case) -> None:
    """Write a case as it now stands; the caller holds it."""
    await conn.execute(_UPDATE_CASE, _values_of(case))


_ADD_TRANSITION: Final[LiteralString] = """
INSERT INTO case_transition (tenant_id, case_id, from_state, to_state, actor, reason, note, at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""


async def add_transition(conn: Connection, case: Case, transition: Transition, now_s: float) -> None:
    """Record a move, or an observation."""
    await conn.execute(_ADD_TRANSITION, _transition_values(case, transition, now_s))


async def add_transitions(conn: Connection, case: Case, transitions: Sequence[Transition], now_s: float) -> None:
    """Record several moves of the same moment, in their order."""
    async with conn.cursor() as cursor:
        await cursor.executemany(_ADD_TRANSITION, [_transition_values(case, each, now_s) for each in transitions])


def _transition_values(case: Case, transition: Transition, now_s: float) -> list[object]:
    return [
        case.tenant_id,
        case.case_id,
        transition.start,
        transition.end,
        transition.actor,
        transition.reason,
        transition.note,
        to_datetime(now_s),
    ]


async def _fetch_case(conn: Connection, query: LiteralString, values: Sequence[object]) -> Case | None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        row = await cursor.fetchone()
    return None if row is None else case_of_row(row)


def case_of_row(row: dict[str, Any]) -> Case:
    """A row of service_case."""
    return Case(
        case_id=row["case_id"],
        tenant_id=row["tenant_id"],
        asset_id=row["asset_id"],
        device_id=row["device_id"],
        problem=row["problem"],
        state=CaseState(row["state"]),
        severity=Severity(row["severity"]),
        title=row["title"],
        brief=row["brief"],
        ending=row["ending"],
        team=row["team"],
        owner_ref=row["owner_ref"],
        account_ref=row["account_ref"],
        opened_at_s=row["opened_at"].timestamp(),
        updated_at_s=row["updated_at"].timestamp(),
        closed_at_s=_epoch_s(row["closed_at"]),
        sla_due_at_s=_epoch_s(row["sla_due_at"]),
        resolution=None if row["resolution"] is None else Resolution(row["resolution"]),
        outcome=row["outcome"],
        version=row["version"],
        relapses=row["relapses"],
        relapse_of=row["relapse_of"],
        parent_id=row["parent_id"] if row["left_major_at"] is None else None,
        assignee=row["assignee"],
    )


def alarm_of_row(row: dict[str, Any]) -> CaseAlarm:
    """A row of case_alarm."""
    explanation = row["explanation"]
    return CaseAlarm(
        alarm_id=row["alarm_id"],
        case_id=row["case_id"],
        watch=row["watch"],
        kind=row["kind"],
        metric=row["metric"],
        severity=Severity(row["severity"]),
        state=AlarmState(row["state"]),
        suppressed=row["suppressed"],
        started_at_s=row["started_at"].timestamp(),
        decided_ts_s=row["decided_ts"].timestamp(),
        text=explanation["text"],
        expected=explanation["expected"],
        observed=explanation["observed"],
        window_s=float(explanation["window_s"]),
        evidence=tuple((float(ts_s), float(value)) for ts_s, value in explanation["evidence"]),
    )


def _values_of(case: Case) -> dict[str, object]:
    values = asdict(case)
    for name in ("opened_at", "updated_at", "closed_at", "sla_due_at"):
        epoch_s: float | None = values.pop(f"{name}_s")
        values[name] = None if epoch_s is None else to_datetime(epoch_s)
    return values


def _epoch_s(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


_ADD_DECISION: Final[LiteralString] = """
INSERT INTO decision (
    tenant_id, case_id, alarm_id, asset_id, device_id, owner_ref, subject, recipient, gate, outcome, reason, inputs,
    until_at, decided_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


async def add_decisions(conn: Connection, decisions: Sequence[tuple[DecisionAbout, GateAnswer]], now_s: float) -> None:
    """Keep gates' answers and their inputs, so that nobody has to guess why a person was or was not contacted."""
    rows = [
        (
            about.subject.tenant_id,
            about.case_id,
            about.alarm_id,
            about.subject.asset_id,
            about.subject.device_id,
            about.subject.owner_ref,
            about.what,
            about.recipient,
            answer.gate,
            answer.outcome,
            answer.reason,
            Jsonb(dict(answer.inputs)),
            None if answer.until_s is None else to_datetime(answer.until_s),
            to_datetime(now_s),
        )
        for about, answer in decisions
    ]
    async with conn.cursor() as cursor:
        await cursor.executemany(_ADD_DECISION, rows)
