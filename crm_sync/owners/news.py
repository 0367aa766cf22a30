"""Keeps what CRMs tell of owners."""

from dataclasses import replace
from enum import StrEnum
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from crm_sync.owners.holding import hold
from crm_sync.owners.told import Contacted, HumanCase, LeaveAlone, OwnerNews
from crm_sync.policy.contacts import Told, note_told
from devices.clock import to_datetime
from devices.registry.consent import owner_exists

Connection = AsyncConnection[Any]


class NewsEffect(StrEnum):
    """What came of it."""

    APPLIED = "applied"
    NO_CHANGE = "no_change"  # it was known, or something newer is
    UNKNOWN_OWNER = "unknown_owner"


async def take_news(conn: Connection, tenant_id: str, endpoint: str, news: OwnerNews, now_s: float) -> NewsEffect:
    """Keep what an endpoint tells.

    What it says of a time to come is taken to be now, for its clock is ahead; what lies before 1970 was at some time.
    """
    if news.owner_ref is not None and not await owner_exists(conn, tenant_id, news.owner_ref):
        return NewsEffect.UNKNOWN_OWNER
    match news:
        case Contacted():
            at_s = _past(news.at_s, now_s)
            told = Told(news.owner_ref, news.channel, at_s, endpoint, news.reference, by_human=news.by_human)
            changed = await note_told(conn, tenant_id, told)
        case HumanCase():
            if news.owner_ref is None and news.device_id is None:
                return NewsEffect.UNKNOWN_OWNER
            changed = await _note_case(conn, tenant_id, endpoint, news, now_s)
        case LeaveAlone():
            said = replace(news, at_s=None if news.at_s is None else _past(news.at_s, now_s))
            changed = await hold(conn, tenant_id, said, f"crm:{endpoint}", now_s)
    return NewsEffect.APPLIED if changed else NewsEffect.NO_CHANGE


def _past(at_s: float, now_s: float) -> float:
    return max(min(at_s, now_s), 0.0)


_NOTE_CASE: Final[LiteralString] = """
INSERT INTO human_case AS known (tenant_id, endpoint, external_id, owner_ref, device_id, opened_at, closed_at, told_at)
VALUES (%(tenant_id)s, %(endpoint)s, %(external_id)s, %(owner_ref)s, %(device_id)s, %(at)s, %(closed_at)s, %(at)s)
ON CONFLICT (tenant_id, endpoint, external_id) DO UPDATE SET
    owner_ref = coalesce(excluded.owner_ref, known.owner_ref),
    device_id = coalesce(excluded.device_id, known.device_id),
    closed_at = excluded.closed_at, told_at = excluded.told_at
 WHERE known.told_at < excluded.told_at
RETURNING external_id
"""


async def _note_case(conn: Connection, tenant_id: str, endpoint: str, news: HumanCase, now_s: float) -> bool:
    at = to_datetime(_past(news.at_s, now_s))
    values = {
        "tenant_id": tenant_id,
        "endpoint": endpoint,
        "external_id": news.external_id,
        "owner_ref": news.owner_ref,
        "device_id": news.device_id,
        "at": at,
        "closed_at": None if news.is_open else at,
    }
    return await (await conn.execute(_NOTE_CASE, values)).fetchone() is not None
