"""Journeys as the database knows them. Read only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from crm_sync.journey.model import FOLLOW_UP_DAYS, RELAPSE_DAYS, UNNOTICED

Connection = AsyncConnection[TupleRow]


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
    """One case's way; None for what it has not reached. `first_sign_at` and `confirmed_at` are device time."""

    model: str
    team: str
    channel: str
    first_sign_at: datetime | None
    heard_at: datetime | None
    opened_at: datetime
    contacted_at: datetime | None
    acknowledged_at: datetime | None
    fixed_at: datetime | None
    confirmed_at: datetime | None
    is_told: bool
    is_unnoticed: bool
    has_relapsed: bool


_TRAVELLED: Final[LiteralString] = """
SELECT coalesce(d.model, 'automatic') AS model, c.team, coalesce(contact.channel, 'not contacted') AS channel,
       sign.first_sign_at, sign.heard_at, c.opened_at, contact.contacted_at, move.acknowledged_at, move.fixed_at,
       CASE WHEN sign.are_over THEN sign.over_at END AS confirmed_at,
       EXISTS (SELECT FROM case_endpoint e
                WHERE e.case_id = c.case_id AND e.state IN ('announced', 'taken_back')) AS is_told,
       coalesce(c.resolution = ANY(%(unnoticed)s), false) AS is_unnoticed,
       coalesce(move.relapsed_at < c.opened_at + %(relapse)s, false)
       OR EXISTS (SELECT FROM service_case again
                   WHERE (again.tenant_id, again.asset_id, again.problem) = (c.tenant_id, c.asset_id, c.problem)
                     AND again.relapse_of = c.case_id AND again.opened_at < c.closed_at + %(relapse)s) AS has_relapsed
  FROM service_case c
  LEFT JOIN device d ON (d.tenant_id, d.device_id) = (c.tenant_id, c.device_id)
  LEFT JOIN LATERAL (
       SELECT min(started_at) AS first_sign_at, min(heard_at) AS heard_at,
              max(decided_ts) FILTER (WHERE state = 'cleared') AS over_at,
              bool_and(state IN ('cleared', 'retracted')) AND bool_or(state = 'cleared') AS are_over
         FROM case_alarm a WHERE a.case_id = c.case_id) sign ON true
  LEFT JOIN LATERAL (
       SELECT min(at) FILTER (WHERE actor LIKE 'crm:%%' OR actor LIKE 'person:%%') AS acknowledged_at,
              max(at) FILTER (WHERE reason = 'resolved_by_agent') AS fixed_at,
              min(at) FILTER (WHERE reason = 'relapse') AS relapsed_at
         FROM case_transition t WHERE t.case_id = c.case_id) move ON true
  LEFT JOIN LATERAL (
       SELECT channel, settled_at AS contacted_at FROM held_step s
        WHERE s.case_id = c.case_id AND s.state = 'sent' ORDER BY settled_at LIMIT 1) contact ON true
 WHERE c.tenant_id = %(tenant_id)s AND c.opened_at >= %(since)s AND c.opened_at < %(until)s
   AND NOT EXISTS (SELECT FROM major_case m WHERE m.case_id = c.case_id)
 ORDER BY c.number
"""


async def travelled(conn: Connection, period: Period) -> list[Travelled]:
    """The way of each case that opened in a period, in the order of opening; major cases are not among them."""
    values = period.values() | {"unnoticed": [str(each) for each in UNNOTICED], "relapse": timedelta(days=RELAPSE_DAYS)}
    async with conn.cursor(row_factory=class_row(Travelled)) as cursor:
        await cursor.execute(_TRAVELLED, values)
        return await cursor.fetchall()


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
               ) last ON true
         WHERE c.tenant_id = %(tenant_id)s AND c.opened_at >= %(since)s AND c.opened_at < %(until)s
           AND NOT EXISTS (SELECT FROM held_step s WHERE s.case_id = c.case_id AND s.state <> 'withdrawn')
         ORDER BY c.case_id, last.at DESC) of_case
 GROUP BY 1 ORDER BY 2 DESC, 1
"""


async def not_contacted(conn: Connection, period: Period) -> Mapping[str, int]:
    """Cases of a period whose owner was not told although a playbook would have, by the last reason."""
    cursor = await conn.execute(_NOT_CONTACTED, period.values())
    return dict(await cursor.fetchall())


@dataclass(frozen=True, slots=True)
class Followed:
    """Cases that were looked at for the whole of the follow-up, and how many were gone by then."""

    is_held_out: bool
    cases: int
    gone: int


_FOLLOWED: Final[LiteralString] = """
SELECT drawn = 'hold_out' AS is_held_out, count(*) AS cases, count(*) FILTER (WHERE is_gone) AS gone
  FROM (SELECT (SELECT d.inputs ->> 'group' FROM decision d
                 WHERE d.case_id = c.case_id AND d.subject = 'step' AND d.gate = 'hold_out'
                 ORDER BY d.decision_id LIMIT 1) AS drawn,
               (SELECT bool_and(a.state = 'cleared' AND a.decided_ts < c.opened_at + %(follow_up)s)
                  FROM case_alarm a WHERE a.case_id = c.case_id AND a.state <> 'retracted') AS is_gone
          FROM service_case c
         WHERE c.tenant_id = %(tenant_id)s AND c.opened_at >= %(since)s AND c.opened_at < %(until)s
           AND c.opened_at < %(now)s - %(follow_up)s AND c.severity <> 'critical') sides
 WHERE drawn IS NOT NULL AND is_gone IS NOT NULL
 GROUP BY 1
"""


async def followed(conn: Connection, period: Period, now: datetime) -> list[Followed]:
    """Both sides of the comparison: cases that came as far as the draw, by what was drawn for their owner.

    What later gates forbid belongs to the effect of contacting, so nobody is left out for it. Left out are critical
    cases, which nobody is held out of, cases too young for the follow-up, and those whose alarms were all retracted.
    """
    values = period.values() | {"now": now, "follow_up": timedelta(days=FOLLOW_UP_DAYS)}
    async with conn.cursor(row_factory=class_row(Followed)) as cursor:
        await cursor.execute(_FOLLOWED, values)
        return await cursor.fetchall()
