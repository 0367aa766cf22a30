"""Owners who are to be left alone: a hold per actor, so that nobody ends or shortens another's, but a person may."""

from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from crm_sync.owners.told import LeaveAlone
from devices.clock import to_datetime

Connection = AsyncConnection[Any]

FOREVER_S: Final = 253_370_764_800.0
"""The year 9999 begins: until then, or later, is how many systems write that there is no end."""

_HOLD: Final[LiteralString] = """
INSERT INTO owner_hold AS known (tenant_id, owner_ref, kind, actor, why, since, until_at, told_at)
SELECT %(tenant_id)s, %(owner_ref)s, %(kind)s, %(actor)s, %(why)s, %(now)s, %(until)s, %(at)s
 WHERE NOT EXISTS (SELECT FROM owner_hold later
                    WHERE (later.tenant_id, later.owner_ref, later.kind, later.actor)
                          = (%(tenant_id)s, %(owner_ref)s, %(kind)s, %(actor)s) AND later.told_at > %(at)s)
ON CONFLICT (tenant_id, owner_ref, kind, actor) WHERE released_at IS NULL
DO UPDATE SET until_at = excluded.until_at, why = excluded.why, told_at = excluded.told_at
 WHERE known.told_at < excluded.told_at
    OR known.told_at = excluded.told_at AND known.until_at IS DISTINCT FROM excluded.until_at
RETURNING owner_ref
"""

# A person may end what anybody ordered. What the others said before then does not begin it again.
_RELEASE: Final[LiteralString] = """
UPDATE owner_hold SET released_at = %(now)s, released_by = %(actor)s, told_at = greatest(told_at, %(at)s)
 WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND kind = %(kind)s AND released_at IS NULL
   AND (actor = %(actor)s AND told_at <= %(at)s OR starts_with(%(actor)s, 'person:'))
RETURNING owner_ref
"""

# The end came before the beginning: it is remembered, so that the beginning, when it comes, changes nothing.
_REMEMBER: Final[LiteralString] = """
WITH known AS (
    UPDATE owner_hold SET told_at = %(at)s
     WHERE hold_id = (SELECT hold_id FROM owner_hold
                       WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND kind = %(kind)s
                         AND actor = %(actor)s ORDER BY told_at DESC LIMIT 1)
       AND released_at IS NOT NULL AND told_at < %(at)s)
INSERT INTO owner_hold (tenant_id, owner_ref, kind, actor, why, since, told_at, released_at, released_by)
SELECT %(tenant_id)s, %(owner_ref)s, %(kind)s, %(actor)s, %(why)s, %(now)s, %(at)s, %(now)s, %(actor)s
 WHERE NOT EXISTS (SELECT FROM owner_hold
                    WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND kind = %(kind)s
                      AND actor = %(actor)s)
"""


async def hold(conn: Connection, tenant_id: str, news: LeaveAlone, actor: str, now_s: float) -> bool:
    """Leave an owner alone from now on, or no longer, for this actor's part.

    False where that is so already, where the actor has said something newer, or where it is not the actor's to say.
    """
    values = {
        "tenant_id": tenant_id,
        "owner_ref": news.owner_ref,
        "kind": news.kind,
        "actor": actor,
        "why": news.why[:1000],
        "now": to_datetime(now_s),
        "at": to_datetime(now_s if news.at_s is None else news.at_s),
        "until": None if news.until_s is None or news.until_s >= FOREVER_S else to_datetime(news.until_s),
    }
    if await (await conn.execute(_HOLD if news.is_on else _RELEASE, values)).fetchone() is not None:
        return True
    if not news.is_on and news.at_s is not None:
        await conn.execute(_REMEMBER, values)
    return False
