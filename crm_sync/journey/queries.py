"""Journeys as the database knows them. Read only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.journey.model import RELAPSE_DAYS, UNNOTICED

Connection = AsyncConnection[TupleRow]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Period:
    """Of one tenant: what the gateway's clock saw from `since` until just before `until`."""

    tenant_id: str
    since: datetime
    until: datetime

    def values(self) -> dict[str, object]:
        """As the queries name them."""
        return {"tenant_id": self.tenant_id, "since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True)
class Travelled:
    """The ways of n cases, in the order of opening.

    Instants are float64[n] in epoch seconds, NaN for what a case has not reached; `first_sign` and `confirmed` are
    device time. The others are bool[n].
    """

    model: Sequence[str]
    team: Sequence[str]
    channel: Sequence[str]
    first_sign: Floats
    heard: Floats
    opened: Floats
    contacted: Floats
    acknowledged: Floats
    fixed: Floats
    confirmed: Floats
    is_told: Flags
    is_unnoticed: Flags
    has_relapsed: Flags


_OF_PERIOD: Final[LiteralString] = """
     SELECT * FROM service_case c
      WHERE c.tenant_id = %(tenant_id)s AND c.opened_at >= %(since)s AND c.opened_at < %(until)s
        AND NOT EXISTS (SELECT FROM major_case m WHERE m.case_id = c.case_id)
"""
_OF_CASE: Final[LiteralString] = """
     SELECT * FROM service_case c WHERE c.tenant_id = %(tenant_id)s AND c.case_id = %(case_id)s
"""

_WAYS: Final[LiteralString] = """
), sign AS (
     SELECT case_id, min(started_at) AS first_sign, min(heard_at) AS heard,
            max(decided_ts) FILTER (WHERE state = 'cleared') AS over_at,
            bool_and(state IN ('cleared', 'retracted')) AND bool_or(state = 'cleared') AS are_over
       FROM case_alarm WHERE case_id IN (SELECT case_id FROM opened_then) GROUP BY case_id
), move AS (
     SELECT case_id,
            min(at) FILTER (WHERE actor LIKE 'crm:%%' OR actor LIKE 'person:%%') AS acknowledged,
            max(at) FILTER (WHERE reason = 'resolved_by_agent') AS fixed,
            bool_or(reason = 'relapse' AND at < ended_at + %(relapse)s) AS relapsed
       FROM (SELECT *, max(at) FILTER (WHERE to_state IN ('resolved', 'retracted', 'expired')
                                         AND from_state IS DISTINCT FROM to_state)
                       OVER (PARTITION BY case_id ORDER BY transition_id) AS ended_at
               FROM case_transition WHERE case_id IN (SELECT case_id FROM opened_then)) moves
      GROUP BY case_id
), contact AS (
     SELECT DISTINCT ON (s.case_id) s.case_id, o.channel, o.contacted_at AS contacted
       FROM held_step s
       JOIN owner_contact o ON (o.tenant_id, o.source, o.reference) = (s.tenant_id, 'careloop', s.step_id)
      WHERE s.state = 'sent' AND s.case_id IN (SELECT case_id FROM opened_then) ORDER BY s.case_id, o.contacted_at
), told AS (
     SELECT DISTINCT case_id FROM case_endpoint
      WHERE state IN ('announced', 'taken_back') AND case_id IN (SELECT case_id FROM opened_then)
), again AS (
     SELECT relapse_of AS case_id, min(opened_at) AS opened
       FROM service_case WHERE relapse_of IN (SELECT case_id FROM opened_then) GROUP BY relapse_of
)
SELECT coalesce(d.model, 'automatic'), c.team, coalesce(contact.channel, 'not contacted'),
       extract(epoch FROM sign.first_sign)::float8, extract(epoch FROM sign.heard)::float8,
       extract(epoch FROM c.opened_at)::float8, extract(epoch FROM contact.contacted)::float8,
       extract(epoch FROM move.acknowledged)::float8, extract(epoch FROM move.fixed)::float8,
       extract(epoch FROM CASE WHEN sign.are_over THEN sign.over_at END)::float8,
       told.case_id IS NOT NULL, coalesce(c.resolution = ANY(%(unnoticed)s), false),
       coalesce(move.relapsed, false)
       OR coalesce(again.opened < c.closed_at + %(relapse)s, false)
  FROM opened_then c
  LEFT JOIN device d ON (d.tenant_id, d.device_id) = (c.tenant_id, c.device_id)
  LEFT JOIN sign ON sign.case_id = c.case_id
  LEFT JOIN move ON move.case_id = c.case_id
  LEFT JOIN contact ON contact.case_id = c.case_id
  LEFT JOIN told ON told.case_id = c.case_id
  LEFT JOIN again ON again.case_id = c.case_id
 ORDER BY c.number
"""


_TRAVELLED: Final[LiteralString] = "WITH opened_then AS MATERIALIZED (" + _OF_PERIOD + _WAYS
_WAY_OF_CASE: Final[LiteralString] = "WITH opened_then AS MATERIALIZED (" + _OF_CASE + _WAYS
_CONSTANTS: Final = {"unnoticed": [str(each) for each in UNNOTICED], "relapse": timedelta(days=RELAPSE_DAYS)}


async def travelled(conn: Connection, period: Period) -> Travelled:
    """The way of each case that opened in a period; major cases are not among them."""
    return _as_columns(await (await conn.execute(_TRAVELLED, period.values() | _CONSTANTS)).fetchall())


async def way_of_case(conn: Connection, tenant_id: str, case_id: str) -> Travelled:
    """The way of one case; nobody's where there is no such case."""
    values = {"tenant_id": tenant_id, "case_id": case_id} | _CONSTANTS
    return _as_columns(await (await conn.execute(_WAY_OF_CASE, values)).fetchall())


def _as_columns(rows: Sequence[TupleRow]) -> Travelled:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(fields(Travelled))
    column = iter(columns)
    return Travelled(
        model=next(column),
        team=next(column),
        channel=next(column),
        first_sign=_floats(next(column)),
        heard=_floats(next(column)),
        opened=_floats(next(column)),
        contacted=_floats(next(column)),
        acknowledged=_floats(next(column)),
        fixed=_floats(next(column)),
        confirmed=_floats(next(column)),
        is_told=_flags(next(column)),
        is_unnoticed=_flags(next(column)),
        has_relapsed=_flags(next(column)),
    )


def _floats(column: Sequence[Any]) -> Floats:
    return np.array(column, np.float64)  # None becomes NaN


def _flags(column: Sequence[Any]) -> Flags:
    return np.array(column, np.bool_)


_WITHOUT_CASE: Final[LiteralString] = """
SELECT CASE WHEN case_id IS NULL THEN coalesce(suppressed, 'undecided') END AS reason, count(*) AS alarms
  FROM case_alarm
 WHERE tenant_id = %(tenant_id)s AND heard_at >= %(since)s AND heard_at < %(until)s
 GROUP BY 1 ORDER BY 2 DESC, 1
"""


async def alarms_heard(conn: Connection, period: Period) -> tuple[int, Mapping[str, int]]:
    """How many alarms were heard of in a period, and why those have no case that have none."""
    cursor = await conn.execute(_WITHOUT_CASE, period.values())
    rows = await cursor.fetchall()
    return sum(count for _, count in rows), {reason: count for reason, count in rows if reason is not None}


_NOT_CONTACTED: Final[LiteralString] = """
SELECT reason, count(*)
  FROM (SELECT DISTINCT ON (c.case_id) last.reason
          FROM service_case c
          JOIN LATERAL (
               SELECT reason, decided_at AS at FROM decision d
                WHERE d.case_id = c.case_id AND d.subject = 'step' AND d.outcome = 'refuse'
               UNION ALL
               SELECT reason, settled_at FROM held_step s WHERE s.case_id = c.case_id AND s.state = 'withdrawn'
               UNION ALL
               SELECT 'not_delivered', s.settled_at FROM held_step s JOIN outbox_message m USING (message_id)
                WHERE s.case_id = c.case_id AND s.state = 'sent' AND m.state = 'dead'
               ) last ON true
         WHERE c.tenant_id = %(tenant_id)s AND c.opened_at >= %(since)s AND c.opened_at < %(until)s
           AND NOT EXISTS (SELECT FROM held_step s LEFT JOIN outbox_message m USING (message_id)
                            WHERE s.case_id = c.case_id AND s.state <> 'withdrawn'
                              AND NOT (s.state = 'sent' AND m.state IS NOT DISTINCT FROM 'dead'))
         ORDER BY c.case_id, last.at DESC) of_case
 GROUP BY 1 ORDER BY 2 DESC, 1
"""


async def not_contacted(conn: Connection, period: Period) -> Mapping[str, int]:
    """Cases of a period whose owner was not told although a playbook would have, by the last reason."""
    cursor = await conn.execute(_NOT_CONTACTED, period.values())
    return dict(await cursor.fetchall())


_AVOIDED: Final[LiteralString] = """
SELECT count(*)
  FROM service_case c
 WHERE c.tenant_id = %(tenant_id)s AND c.opened_at >= %(since)s AND c.opened_at < %(until)s
   AND c.resolution IN ('fixed_silently', 'recovered_in_telemetry')
   AND EXISTS (SELECT FROM held_step s WHERE s.case_id = c.case_id AND s.state <> 'sent'
                  AND (s.state <> 'withdrawn' OR s.reason IN ('case_closed', 'recovered')))
   AND NOT EXISTS (SELECT FROM held_step s WHERE s.case_id = c.case_id AND s.state = 'sent')
"""


async def contacts_avoided(conn: Connection, period: Period) -> int:
    """Cases whose contact was planned, and given up for nothing but that the fault was gone by then."""
    row = await (await conn.execute(_AVOIDED, period.values())).fetchone()
    return 0 if row is None else int(row[0])
