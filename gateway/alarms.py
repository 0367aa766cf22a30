"""Alarm changes become alarms, their events, and notices for the CRM side, in the ingest transaction."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.inbox import AlarmExplanation, AlarmNotice
from crm_sync.together import together
from devices.clock import to_datetime
from gateway.detect.model import AlarmChange
from gateway.heads import find_heads
from gateway.order.queries import hurry, list_names

Connection = AsyncConnection[TupleRow]

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_STATE_AFTER: Final = {
    "raised": "active",
    "updated": "active",
    "unknown": "unknown",
    "cleared": "cleared",
    "retracted": "retracted",
}
_ENDINGS: Final = frozenset({"cleared", "retracted"})

Names = Mapping[tuple[str, str, int], str]
"""Alarms whose beginning was corrected: by device, watch and beginning in microseconds, as which alarm they go on."""


def alarm_id_of(device_id: str, watch: str, started_at_s: float) -> str:
    """The id of an episode: the same for whoever computes it, so that an alarm raised twice is one alarm."""
    key = f"{device_id}\n{watch}\n{round(started_at_s * 1e6)}".encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=16).digest())
    digits: list[str] = []
    for _ in range(22):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return f"alm_{''.join(digits)}"


@dataclass(frozen=True, slots=True)
class _Episode:
    """What one batch does to one alarm."""

    alarm_id: str
    tenant_id: str
    changes: Sequence[AlarmChange]

    @property
    def last(self) -> AlarmChange:
        return self.changes[-1]


async def record_changes(
    conn: Connection,
    changes: Sequence[AlarmChange],
    tenants: Mapping[str, str],
    recorded_at_s: float,
    tables: Iterable[str],
) -> list[AlarmNotice]:
    """Write what happened to alarms, and return the notices that tell the CRM side, in the same order.

    `tenants` gives each device's tenant; `tables` are the reading tables.
    """
    if not changes:
        return []
    device_ids = sorted({change.device_id for change in changes})
    if any(change.event == "raised" for change in changes):
        await hurry(conn, device_ids, recorded_at_s)
    names, heads = await together(list_names(conn, device_ids), find_heads(conn, device_ids, tables))
    episodes = _by_episode(changes, tenants, names)
    counts = await put_alarms_rows(conn, episodes, recorded_at_s)
    await put_alarm_events(conn, episodes, counts, recorded_at_s)
    alarm_ids = {id(change): episode.alarm_id for episode in episodes for change in episode.changes}
    return [
        notice_of(
            change,
            alarm_ids[id(change)],
            tenants[change.device_id],
            heads.get(change.device_id, change.ts_s),
            recorded_at_s,
        )
        for change in changes
    ]


def _by_episode(changes: Sequence[AlarmChange], tenants: Mapping[str, str], names: Names) -> list[_Episode]:
    grouped: dict[str, list[AlarmChange]] = {}
    for change in changes:
        key = (change.device_id, change.watch, round(change.started_at_s * 1e6))
        alarm_id = names.get(key) or alarm_id_of(change.device_id, change.watch, change.started_at_s)
        grouped.setdefault(alarm_id, []).append(change)
    return [_Episode(alarm_id, tenants[found[0].device_id], found) for alarm_id, found in sorted(grouped.items())]


def notice_of(
    change: AlarmChange, alarm_id: str, tenant_id: str, head_ts_s: float, recorded_at_s: float
) -> AlarmNotice:
    """What the CRM side is told of a change; `head_ts_s` is the newest device time known of its device."""
    explanation = change.explanation
    return AlarmNotice(
        tenant_id=tenant_id,
        alarm_id=alarm_id,
        device_id=change.device_id,
        watch=change.watch,
        kind=str(change.kind),
        metric=change.metric,
        problem=change.problem,
        severity=str(change.severity),
        event=change.event,
        started_at_s=change.started_at_s,
        ts_s=change.ts_s,
        head_ts_s=head_ts_s,
        recorded_at_s=recorded_at_s,
        score=change.score,
        explanation=AlarmExplanation(
            text=explanation.text,
            expected=explanation.expected,
            observed=explanation.observed,
            window_s=explanation.window_s,
            evidence=explanation.evidence,
        ),
    )


PUT_ALARMS: LiteralString = """
INSERT INTO alarm (alarm_id, tenant_id, device_id, watch, kind, metric, problem, severity, state, started_at,
                   decided_ts, ended_at, raised_at, updated_at, score, explanation, events)
SELECT alarm_id, tenant_id, device_id, watch, kind, metric, problem, severity, state, started_at, decided_ts,
       ended_at, %(recorded_at)s, %(recorded_at)s, score, explanation::jsonb, events
FROM unnest(%(alarm_ids)s::text[], %(tenant_ids)s::text[], %(device_ids)s::text[], %(watches)s::text[],
            %(kinds)s::text[], %(metrics)s::text[], %(problems)s::text[], %(severities)s::text[], %(states)s::text[],
            %(started_at)s::timestamptz[], %(decided_ts)s::timestamptz[], %(ended_at)s::timestamptz[],
            %(scores)s::double precision[], %(explanations)s::text[], %(events)s::integer[])
     AS told (alarm_id, tenant_id, device_id, watch, kind, metric, problem, severity, state, started_at, decided_ts,
              ended_at, score, explanation, events)
ON CONFLICT (alarm_id) DO UPDATE
SET severity = excluded.severity, started_at = excluded.started_at, decided_ts = excluded.decided_ts,
    updated_at = excluded.updated_at, score = excluded.score, explanation = excluded.explanation,
    events = alarm.events + excluded.events,
    -- What was taken back stays so, unless it is raised again: late readings may be followed by later ones.
    state = CASE WHEN alarm.state = 'retracted' AND NOT alarm.alarm_id = ANY(%(raised)s) THEN alarm.state
                 ELSE excluded.state END,
    ended_at = CASE WHEN alarm.state = 'retracted' AND NOT alarm.alarm_id = ANY(%(raised)s) THEN alarm.ended_at
                    ELSE excluded.ended_at END
RETURNING alarm_id, events
"""


async def put_alarms_rows(conn: Connection, episodes: Sequence[_Episode], recorded_at_s: float) -> dict[str, int]:
    """Insert or move on alarms; how many events each has now."""
    last = [episode.last for episode in episodes]
    values = {
        "recorded_at": to_datetime(recorded_at_s),
        "alarm_ids": [episode.alarm_id for episode in episodes],
        "tenant_ids": [episode.tenant_id for episode in episodes],
        "device_ids": [change.device_id for change in last],
        "watches": [change.watch for change in last],
        "kinds": [str(change.kind) for change in last],
        "metrics": [change.metric for change in last],
        "problems": [change.problem for change in last],
        "severities": [str(change.severity) for change in last],
        "states": [_STATE_AFTER[change.event] for change in last],
        "started_at": [to_datetime(change.started_at_s) for change in last],
        "decided_ts": [to_datetime(change.ts_s) for change in last],
        "ended_at": [to_datetime(change.ts_s) if change.event in _ENDINGS else None for change in last],
        "raised": [episode.alarm_id for episode in episodes if episode.changes[0].event == "raised"],
        "scores": [change.score for change in last],
        "explanations": [_explained(change) for change in last],
        "events": [len(episode.changes) for episode in episodes],
    }
    rows = await (await conn.execute(PUT_ALARMS, values)).fetchall()
    return {row[0]: row[1] for row in rows}


PUT_ALARM_EVENTS: LiteralString = """
INSERT INTO alarm_event (tenant_id, alarm_id, n, event, ts, recorded_at, severity, score, explanation)
SELECT tenant_id, alarm_id, n, event, ts, %(recorded_at)s, severity, score, explanation::jsonb
FROM unnest(%(tenant_ids)s::text[], %(alarm_ids)s::text[], %(ns)s::integer[], %(events)s::text[], %(ts)s::timestamptz[],
            %(severities)s::text[], %(scores)s::double precision[], %(explanations)s::text[])
     AS told (tenant_id, alarm_id, n, event, ts, severity, score, explanation)
"""


async def put_alarm_events(
    conn: Connection, episodes: Sequence[_Episode], counts: Mapping[str, int], recorded_at_s: float
) -> None:
    """Append to each alarm's history; `counts` says how many events it has with these."""
    rows = [
        (episode, counts[episode.alarm_id] - len(episode.changes) + number, change)
        for episode in episodes
        for number, change in enumerate(episode.changes, 1)
    ]
    values = {
        "recorded_at": to_datetime(recorded_at_s),
        "tenant_ids": [episode.tenant_id for episode, _, _ in rows],
        "alarm_ids": [episode.alarm_id for episode, _, _ in rows],
        "ns": [n for _, n, _ in rows],
        "events": [change.event for _, _, change in rows],
        "ts": [to_datetime(change.ts_s) for _, _, change in rows],
        "severities": [str(change.severity) for _, _, change in rows],
        "scores": [change.score for _, _, change in rows],
        "explanations": [_explained(change) for _, _, change in rows],
    }
    await conn.execute(PUT_ALARM_EVENTS, values)


def _explained(change: AlarmChange) -> str:
    return msgspec.json.encode(change.explanation).decode()
