"""Whether contacting owners helps: those drawn for it beside those whom chance left alone. Read only."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

from psycopg.rows import class_row

from crm_sync.journey.model import CONFIDENCE, FEWEST, FOLLOW_UP_DAYS, Compared, HoldOut, Verdict
from crm_sync.journey.queries import Connection, Period
from crm_sync.trust.precision import measure


@dataclass(frozen=True, slots=True)
class Followed:
    """Owners whose first fault was looked at for the whole follow-up, and how many of these were gone by then."""

    compared: Compared
    is_held_out: bool
    cases: int
    gone: int


_FOLLOWED: Final[LiteralString] = """
WITH drawn AS MATERIALIZED (
     SELECT DISTINCT ON (d.subject, d.owner_ref)
            d.subject, d.tenant_id, d.asset_id, coalesce(c.problem, a.problem) AS problem, d.decided_at,
            d.inputs ->> 'group' = 'hold_out' AS is_held_out
       FROM decision d
       LEFT JOIN service_case c ON c.case_id = d.case_id
       LEFT JOIN case_alarm a ON a.alarm_id = d.alarm_id
      WHERE d.tenant_id = %(tenant_id)s AND d.gate = 'hold_out' AND d.subject IN ('case', 'step')
        AND d.decided_at >= %(since)s AND d.decided_at < %(until)s
      ORDER BY d.subject, d.owner_ref, d.decision_id
), followed AS (
     SELECT drawn.subject, drawn.is_held_out, fault.is_gone
       FROM drawn
      CROSS JOIN LATERAL (
            SELECT bool_and(a.state = 'cleared' AND a.decided_ts < drawn.decided_at + %(follow_up)s) AS is_gone,
                   bool_or(a.severity = 'critical') AS is_critical
              FROM case_alarm a
             WHERE (a.tenant_id, a.asset_id, a.problem) = (drawn.tenant_id, drawn.asset_id, drawn.problem)
               AND a.heard_at < drawn.decided_at + %(follow_up)s AND a.state <> 'retracted'
               AND (a.state <> 'cleared' OR a.decided_ts >= drawn.decided_at OR a.heard_at >= drawn.decided_at)
            ) fault
      WHERE drawn.decided_at < %(now)s - %(follow_up)s AND fault.is_gone IS NOT NULL AND NOT fault.is_critical
)
SELECT CASE subject WHEN 'case' THEN 'case' ELSE 'contact' END AS compared, is_held_out,
       count(*) AS cases, count(*) FILTER (WHERE is_gone) AS gone
  FROM followed GROUP BY subject, is_held_out
"""


async def followed(conn: Connection, period: Period, now: datetime) -> list[Followed]:
    """Both sides of the comparison, by what was drawn for an owner when a fault of theirs first came as far as that.

    Both sides have one yardstick, which no case is needed for: every alarm of that product's problem that was up, or
    came up, within the follow-up has ended in it. What later gates forbid belongs to the effect of contacting, so
    nobody is left out for it. Left out are critical faults, which nobody is held out of, those too young for the
    follow-up, and those whose alarms were all retracted.
    """
    values = period.values() | {"now": now, "follow_up": timedelta(days=FOLLOW_UP_DAYS)}
    async with conn.cursor(row_factory=class_row(Followed)) as cursor:
        await cursor.execute(_FOLLOWED, values)
        return await cursor.fetchall()


def compare(sides: Iterable[Followed]) -> HoldOut:
    """Those contacted beside those held out; the interval of the difference is Newcombe's, of two Wilson intervals.

    Where owners were held out of having a case, that is compared: whoever has one may be contacted.
    """
    counted = {(side.compared, side.is_held_out): (side.gone, side.cases - side.gone) for side in sides}
    compared: Compared = "case" if ("case", True) in counted else "contact"
    contacted = measure(*counted.get((compared, False), (0, 0)), CONFIDENCE)
    held_out = measure(*counted.get((compared, True), (0, 0)), CONFIDENCE)
    if contacted.mean is None or held_out.mean is None:
        return HoldOut(compared, "nobody", FEWEST, FOLLOW_UP_DAYS, contacted, held_out, None, None, None)
    effect = contacted.mean - held_out.mean
    low = effect - math.hypot(contacted.mean - contacted.low, held_out.high - held_out.mean)
    high = effect + math.hypot(contacted.high - contacted.mean, held_out.mean - held_out.low)
    verdict: Verdict = "open" if low <= 0.0 <= high else "shown"
    if min(contacted.outcomes, held_out.outcomes) < FEWEST:
        verdict = "too_few"
    return HoldOut(compared, verdict, FEWEST, FOLLOW_UP_DAYS, contacted, held_out, effect, low, high)
