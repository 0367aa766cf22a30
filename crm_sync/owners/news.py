"""What CRMs tell of owners: somebody contacted them, a person works for them, or they are to be left alone."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection

from crm_sync.policy.contacts import Told, note_told
from devices.clock import to_datetime
from devices.registry.consent import owner_exists

Connection = AsyncConnection[Any]
HoldKind = Literal["do_not_contact", "legal_hold", "complaint"]

FOREVER_S: Final = 253_370_764_800.0
"""The year 9999 begins: until then, or later, is how many systems write that there is no end."""


@dataclass(frozen=True, slots=True)
class Contacted:
    """Somebody contacted an owner: a mail, a call, a public reply in a ticket."""

    owner_ref: str
    reference: str  # what the CRM calls it: told again, it counts once
    at_s: float
    channel: str | None = None
    by_human: bool = True


@dataclass(frozen=True, slots=True)
class HumanCase:
    """A ticket that people opened without us, about an owner or a device."""

    external_id: str
    is_open: bool
    at_s: float  # when that was so
    owner_ref: str | None = None
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class LeaveAlone:
    """An owner is to be left alone from now on, or need not be any more."""

    owner_ref: str
    kind: HoldKind
    is_on: bool
    until_s: float | None = None
    why: str = ""


OwnerNews = Contacted | HumanCase | LeaveAlone


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
            changed = await hold(conn, tenant_id, news, f"crm:{endpoint}", now_s)
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
    return (await conn.execute(_NOTE_CASE, values)).rowcount > 0


# What a person ordered here, a CRM can make last longer, but neither end nor shorten.
_HOLD: Final[LiteralString] = """
INSERT INTO owner_hold AS known (tenant_id, owner_ref, kind, actor, why, since, until_at)
VALUES (%(tenant_id)s, %(owner_ref)s, %(kind)s, %(actor)s, %(why)s, %(now)s, %(until)s)
ON CONFLICT (tenant_id, owner_ref, kind) WHERE released_at IS NULL
DO UPDATE SET until_at = excluded.until_at, actor = excluded.actor, why = excluded.why
 WHERE known.until_at IS DISTINCT FROM excluded.until_at
   AND (NOT starts_with(known.actor, 'person:') OR starts_with(excluded.actor, 'person:')
        OR known.until_at < coalesce(excluded.until_at, 'infinity'))
"""

_RELEASE: Final[LiteralString] = """
UPDATE owner_hold SET released_at = %(now)s, released_by = %(actor)s
 WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND kind = %(kind)s AND released_at IS NULL
   AND (NOT starts_with(actor, 'person:') OR starts_with(%(actor)s, 'person:'))
"""


async def hold(conn: Connection, tenant_id: str, news: LeaveAlone, actor: str, now_s: float) -> bool:
    """Leave an owner alone from now on, or no longer; False where that is so already, or is not the actor's to say."""
    values = {
        "tenant_id": tenant_id,
        "owner_ref": news.owner_ref,
        "kind": news.kind,
        "actor": actor,
        "why": news.why[:1000],
        "now": to_datetime(now_s),
        "until": None if news.until_s is None or news.until_s >= FOREVER_S else to_datetime(news.until_s),
    }
    return (await conn.execute(_HOLD if news.is_on else _RELEASE, values)).rowcount > 0
