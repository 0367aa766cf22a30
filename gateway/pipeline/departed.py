"""Alarms of devices that were removed: nobody will ever say that they are over, so they are taken back, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.profiles.model import Severity
from gateway.detect.model import AlarmChange, Explanation, Kind

Connection = AsyncConnection[TupleRow]

# A device that nobody registered any more, after a restore for instance, has gone as well.
LIST_LEFT: LiteralString = """
SELECT a.tenant_id, a.device_id, a.watch, a.kind, a.metric, a.problem, a.severity, a.started_at, a.decided_ts,
       a.explanation::text
FROM alarm a LEFT JOIN device d USING (device_id)
WHERE a.state IN ('active', 'unknown') AND (d.device_id IS NULL OR d.revoked_at IS NOT NULL)
ORDER BY a.device_id, a.started_at, a.watch
"""


async def list_left(conn: Connection) -> tuple[Sequence[AlarmChange], Mapping[str, str]]:
    """What is to be told of the open alarms of devices that were removed, and each device's tenant.

    Retracted, not cleared: that nobody looks any more is no recovery. Told once, they are no longer open.
    """
    rows = await (await conn.execute(LIST_LEFT)).fetchall()
    changes = [
        AlarmChange(
            device_id=device_id,
            watch=watch,
            kind=Kind(kind),
            metric=metric,
            problem=problem,
            severity=Severity(severity),
            event="retracted",
            started_at_s=started_at.timestamp(),
            ts_s=max(decided_ts, started_at).timestamp(),
            score=0.0,
            explanation=_taken_back(msgspec.json.decode(explanation, type=Explanation)),
        )
        for _, device_id, watch, kind, metric, problem, severity, started_at, decided_ts, explanation in rows
    ]
    return changes, {row[1]: row[0] for row in rows}


def _taken_back(said: Explanation) -> Explanation:
    why = (
        "Taken back: the device was removed, and nobody watches it any more. Whether it is over is not known; it said: "
    )
    return replace(said, text=why + said.text, observed="nothing any more", score=0.0)
