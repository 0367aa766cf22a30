"""Devices that are forgotten: what was learnt of them no longer holds, and their open alarms are taken back, in words.

Nobody will ever say that the alarms of a removed device are over; and what is usual for a product that has changed
hands is another person's habit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.profiles.model import Severity
from devices.registry.partings import Why
from gateway.detect.model import AlarmChange, Explanation, Kind

Connection = AsyncConnection[TupleRow]

SAYS: Final[Mapping[Why, str]] = {
    Why.REMOVED: "the device was removed, and nobody watches it any more",
    Why.OWNER_CHANGED: "the product has another owner now, and what is usual for it is learnt anew",
}

LIST_OPEN: LiteralString = """
SELECT a.tenant_id, a.device_id, a.watch, a.kind, a.metric, a.problem, a.severity, a.started_at, a.decided_ts,
       a.explanation::text
FROM alarm a
WHERE a.state IN ('active', 'unknown') AND a.device_id = ANY(%s)
ORDER BY a.device_id, a.started_at, a.watch
"""


async def take_back(conn: Connection, whys: Mapping[str, Why]) -> tuple[Sequence[AlarmChange], Mapping[str, str]]:
    """What is to be told of the open alarms of devices that are forgotten, and each device's tenant.

    Retracted, not cleared: that nobody looks any more is no recovery. Told once, they are no longer open.
    """
    rows = await (await conn.execute(LIST_OPEN, (list(whys),))).fetchall()
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
            explanation=taken_back(msgspec.json.decode(explanation, type=Explanation), whys[device_id]),
        )
        for _, device_id, watch, kind, metric, problem, severity, started_at, decided_ts, explanation in rows
    ]
    return changes, {row[1]: row[0] for row in rows}


def taken_back(said: Explanation, why: Why) -> Explanation:
    """What is said of an open alarm whose device is forgotten."""
    text = f"Taken back: {SAYS[why]}. Whether it is over is not known; it said: {said.text}"
    return replace(said, text=text, observed="nothing any more", score=0.0)


# A device that nobody registered any more, after a restore for instance, has gone as well.
LIST_LEFT: LiteralString = """
SELECT DISTINCT a.device_id
FROM alarm a LEFT JOIN device d USING (device_id)
WHERE a.state IN ('active', 'unknown') AND (d.device_id IS NULL OR d.revoked_at IS NOT NULL)
ORDER BY a.device_id
"""


async def list_left(conn: Connection) -> list[str]:
    """Devices that were removed, whoever did it, and have an open alarm."""
    return [row[0] for row in await (await conn.execute(LIST_LEFT)).fetchall()]


LIST_STRANGERS: LiteralString = """
SELECT known.device_id FROM unnest(%s::text[]) AS known (device_id) LEFT JOIN device d USING (device_id)
WHERE d.device_id IS NULL OR d.revoked_at IS NOT NULL
"""


async def list_strangers(conn: Connection, device_ids: Sequence[str]) -> list[str]:
    """Those of some devices that are not registered, or not any more."""
    return [row[0] for row in await (await conn.execute(LIST_STRANGERS, (list(device_ids),))).fetchall()]


PUT_FORGOTTEN: LiteralString = """
INSERT INTO forgotten_device (tenant_id, batch_seq, device_id, why, forgotten_at)
SELECT told.tenant_id, %(batch_seq)s, told.device_id, told.why, %(at)s
FROM unnest(%(tenant_ids)s::text[], %(device_ids)s::text[], %(whys)s::text[]) AS told (tenant_id, device_id, why)
"""
LEAVE_QUEUE: LiteralString = "DELETE FROM rejudge_queue WHERE device_id = ANY(%s)"


async def put_forgotten(
    conn: Connection, batch_seq: int, whys: Mapping[str, Why], tenants: Mapping[str, str], at: datetime
) -> None:
    """Write down what a batch makes detectors forget; late readings of such devices are judged again by nobody."""
    device_ids = sorted(whys)
    values = {
        "batch_seq": batch_seq,
        "at": at,
        "tenant_ids": [tenants[name] for name in device_ids],
        "device_ids": device_ids,
        "whys": [str(whys[name]) for name in device_ids],
    }
    await conn.execute(PUT_FORGOTTEN, values)
    await conn.execute(LEAVE_QUEUE, (device_ids,))


READ_FORGOTTEN: LiteralString = """
SELECT batch_seq, device_id FROM forgotten_device WHERE batch_seq > %s AND batch_seq <= %s
ORDER BY batch_seq, device_id
"""


async def read_forgotten(conn: Connection, after: int, until: int) -> dict[int, Collection[str]]:
    """What the batches after one and up to another have forgotten, by batch."""
    found: dict[int, list[str]] = {}
    for batch_seq, device_id in await (await conn.execute(READ_FORGOTTEN, (after, until))).fetchall():
        found.setdefault(batch_seq, []).append(device_id)
    return dict(found)
