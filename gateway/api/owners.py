"""An owner over HTTP: all products, what is wrong with them, what was done about it, and what the owner allows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Literal, LiteralString

from fastapi import HTTPException, Request
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from gateway.api.fields import Name
from gateway.api.paging import Cursor, Limit, Page, cut, decode_cursor, encode_cursor, moment_of
from gateway.api.queries import Connection
from gateway.api.router import Router
from gateway.people.door import Viewer, people_of
from gateway.store.times import us_of

_FAR: Final = 253_402_300_799_000_000  # the last second that a datetime has


class Product(BaseModel):
    """A product that the owner has, or had."""

    asset_id: str
    device_id: str | None
    model: str | None
    serial: str | None
    warranty_until: str | None
    since: datetime
    until: datetime | None
    alarms_going_on: int
    live_cases: int


class Allowed(BaseModel):
    """What the owner last said about a purpose and a recipient."""

    purpose: str
    recipient: str
    state: Literal["given", "refused", "revoked"]
    basis: str | None
    source: str | None
    recorded_at: datetime
    valid_from: datetime
    valid_until: datetime | None


class Owner(BaseModel):
    """An owner: a reference into the CRM, never a name or an address."""

    owner_ref: str
    account_ref: str | None
    time_zone: str | None
    language: str | None
    products: list[Product]
    grants: list[Allowed]


class Moment(BaseModel):
    """Something that happened: a case moved, an alarm was heard of, a step was decided, a grant, a contact."""

    at: datetime
    kind: Literal["alarm", "case", "step", "grant", "contact", "refusal"]
    subject: str
    what: str
    detail: str
    device_id: str | None
    case_id: str | None


_OWNER: Final[LiteralString] = """
SELECT owner_ref, account_ref, time_zone, language FROM owner
 WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s
"""

# What is wrong with a product that has passed on is its next owner's.
_PRODUCTS: Final[LiteralString] = """
SELECT a.asset_id, a.device_id, a.model, a.serial, a.warranty_until::text, o.since, o.until,
       (SELECT count(*) FROM alarm m WHERE m.device_id = a.device_id AND m.tenant_id = o.tenant_id
                                       AND o.until IS NULL AND m.state IN ('active', 'unknown')) AS alarms_going_on,
       (SELECT count(*) FROM service_case c
         WHERE c.tenant_id = o.tenant_id AND c.asset_id = a.asset_id AND c.owner_ref = o.owner_ref
           AND c.state IN ('proposed', 'approved', 'open', 'waiting')) AS live_cases
  FROM ownership o JOIN asset a USING (asset_id)
 WHERE o.tenant_id = %(tenant_id)s AND o.owner_ref = %(owner_ref)s AND a.tenant_id = o.tenant_id
 ORDER BY o.until NULLS FIRST, o.since DESC, a.asset_id
 LIMIT 500
"""

_GRANTS: Final[LiteralString] = """
SELECT DISTINCT ON (purpose, recipient)
       purpose, recipient, state, basis, source, recorded_at, valid_from, valid_until
  FROM grant_record WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND NOT historic
 ORDER BY purpose, recipient, grant_id DESC
"""


async def find_owner(conn: Connection, tenant_id: str, owner_ref: str) -> Owner | None:
    """An owner with products and grants."""
    values = {"tenant_id": tenant_id, "owner_ref": owner_ref}
    async with conn.cursor(row_factory=dict_row) as cursor:
        owner = await (await cursor.execute(_OWNER, values)).fetchone()
        if owner is None:
            return None
        products = await (await cursor.execute(_PRODUCTS, values)).fetchall()
        grants = await (await cursor.execute(_GRANTS, values)).fetchall()
    return Owner.model_validate({**owner, "products": products, "grants": grants})


# Each part has its own newest rows, so that none is read whole; what of them is newest together is the page. `part` and
# `number` break ties, so that a cursor names one place only.
_TIMELINE: Final[LiteralString] = """
SELECT * FROM (
    (SELECT heard_at AS at, 1 AS part, 0::bigint AS number, alarm_id AS key, 'alarm' AS kind, alarm_id AS subject,
            kind || ': ' || state AS what, explanation ->> 'text' AS detail, device_id, case_id
       FROM case_alarm WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND heard_at <= %(at)s
      ORDER BY heard_at DESC, alarm_id DESC LIMIT %(most)s)
    UNION ALL
    (SELECT t.at, 2, t.transition_id, '', 'case', t.case_id, t.to_state,
            concat_ws(': ', t.actor, t.reason, nullif(t.note, '')), c.device_id, t.case_id
       FROM service_case c JOIN case_transition t USING (case_id)
      WHERE c.tenant_id = %(tenant_id)s AND c.owner_ref = %(owner_ref)s AND t.at <= %(at)s
      ORDER BY t.at DESC, t.transition_id DESC LIMIT %(most)s)
    UNION ALL
    (SELECT coalesce(settled_at, decided_at), 3, 0, step_id, 'step', step_id, kind || ': ' || state,
            concat_ws(': ', channel, reason), NULL, case_id
       FROM held_step WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s
        AND coalesce(settled_at, decided_at) <= %(at)s
      ORDER BY 1 DESC, step_id DESC LIMIT %(most)s)
    UNION ALL
    (SELECT recorded_at, 4, grant_id, '', 'grant', purpose, state, concat_ws(': ', recipient, source), NULL, NULL
       FROM grant_record WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND recorded_at <= %(at)s
      ORDER BY recorded_at DESC, grant_id DESC LIMIT %(most)s)
    UNION ALL
    (SELECT contacted_at, 5, contact_id, '', 'contact', reference, coalesce(channel, 'unknown'), source, NULL, case_id
       FROM owner_contact WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND contacted_at <= %(at)s
      ORDER BY contacted_at DESC, contact_id DESC LIMIT %(most)s)
    UNION ALL
    (SELECT decided_at, 6, decision_id, '', 'refusal', gate, coalesce(reason, outcome), subject || ': ' || recipient,
            device_id, case_id
       FROM decision WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND outcome <> 'allow'
        AND decided_at <= %(at)s
      ORDER BY decided_at DESC, decision_id DESC LIMIT %(most)s)
) AS moments
 WHERE (at, part, number, key) < (%(at)s, %(part)s, %(number)s, %(key)s)
 ORDER BY at DESC, part DESC, number DESC, key DESC
 LIMIT %(limit)s
"""

_TIES: Final = 200
"""Rows of one part that may share their instant with the cursor's."""


async def read_timeline(conn: Connection, values: Mapping[str, object]) -> Sequence[dict[str, Any]]:
    """What happened to an owner before a place in time, newest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(_TIMELINE, values)).fetchall()


def owners_router(pool: AsyncConnectionPool[Connection]) -> Router:
    """``/owners/{owner_ref}`` and its timeline; every look is recorded."""
    router = Router(tags=["owners"])

    async def find(tenant_id: str, owner_ref: str) -> Owner:
        async with pool.connection() as conn:
            found = await find_owner(conn, tenant_id, owner_ref)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no owner {owner_ref}")
        return found

    @router.get("/owners/{owner_ref}")
    async def owner(owner_ref: Name, who: Viewer, request: Request) -> Owner:
        """An owner's products, and what the owner allows."""
        found = await find(who.tenant_id, owner_ref)
        await people_of(request).note(who, "owner.read", owner_ref)
        return found

    @router.get("/owners/{owner_ref}/timeline")
    async def timeline(
        owner_ref: Name, who: Viewer, request: Request, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[Moment]:
        """What happened with an owner's products, and what was said to them or not, newest first."""
        await find(who.tenant_id, owner_ref)
        await people_of(request).note(who, "owner.timeline", owner_ref)
        key = decode_cursor(cursor, int, int, int, str) or [_FAR, 9, 0, ""]
        values = {
            "tenant_id": who.tenant_id,
            "owner_ref": owner_ref,
            "at": moment_of(int(key[0])),
            "part": key[1],
            "number": key[2],
            "key": key[3],
            "most": limit + 1 + _TIES,
            "limit": limit + 1,
        }
        async with pool.connection() as conn:
            rows, last = cut(await read_timeline(conn, values), limit)
        end = None if last is None else encode_cursor(us_of(last["at"]), last["part"], last["number"], last["key"])
        return Page(items=[Moment.model_validate(row) for row in rows], next=end)

    return router
