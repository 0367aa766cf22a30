"""The rows behind people, sessions and tokens; each function takes a connection and never commits."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from gateway.people.model import Actor, Person, Role, Token

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Account:
    """What a sign-in looks at."""

    tenant_id: str
    person_id: str
    name: str
    role: str
    password: str | None
    is_one_time: bool
    password_until: datetime | None
    disabled_at: datetime | None


_FIND_ACCOUNT: Final[LiteralString] = """
SELECT tenant_id, person_id, name, role, password, is_one_time, password_until, disabled_at
  FROM person WHERE tenant_id = %s AND lower(name) = lower(%s)
"""


async def find_account(conn: Connection, tenant_id: str, name: str) -> Account | None:
    """The account of a name, however it is capitalised."""
    async with conn.cursor(row_factory=class_row(Account)) as cursor:
        return await (await cursor.execute(_FIND_ACCOUNT, [tenant_id, name])).fetchone()


_FIND_BY_OIDC: Final[LiteralString] = """
SELECT tenant_id, person_id, name, role, password, is_one_time, password_until, disabled_at
  FROM person WHERE tenant_id = %s AND oidc_issuer = %s AND oidc_subject = %s
"""


async def find_by_oidc(conn: Connection, tenant_id: str, issuer: str, subject: str) -> Account | None:
    """The account that a provider's subject has."""
    async with conn.cursor(row_factory=class_row(Account)) as cursor:
        return await (await cursor.execute(_FIND_BY_OIDC, [tenant_id, issuer, subject])).fetchone()


_LIST_PEOPLE: Final[LiteralString] = """
SELECT person_id, name, role, created_at, disabled_at,
       CASE WHEN oidc_subject IS NOT NULL THEN 'provider' WHEN password IS NULL THEN 'not yet'
            WHEN is_one_time THEN 'one-time password' ELSE 'password' END AS signs_in
  FROM person WHERE tenant_id = %s ORDER BY lower(name)
"""


async def list_people(conn: Connection, tenant_id: str) -> list[Person]:
    """Everybody of a tenant, by name."""
    async with conn.cursor(row_factory=class_row(Person)) as cursor:
        await cursor.execute(_LIST_PEOPLE, [tenant_id])
        return [replace(person, role=Role(person.role)) async for person in cursor]


_INSERT_PERSON: Final[LiteralString] = """
INSERT INTO person (tenant_id, person_id, name, role, password, is_one_time, password_until, oidc_issuer, oidc_subject,
                    created_at)
VALUES (%(tenant_id)s, %(person_id)s, %(name)s, %(role)s, %(password)s, %(is_one_time)s, %(password_until)s,
        %(oidc_issuer)s, %(oidc_subject)s, %(created_at)s)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class NewPerson:
    """A row of person as it begins."""

    tenant_id: str
    person_id: str
    name: str
    role: str
    created_at: datetime
    password: str | None = None
    is_one_time: bool = False
    password_until: datetime | None = None
    oidc_issuer: str | None = None
    oidc_subject: str | None = None


async def insert_person(conn: Connection, new: NewPerson) -> bool:
    """Add somebody; False where the name is taken."""
    values = {name: getattr(new, name) for name in NewPerson.__dataclass_fields__}
    return (await conn.execute(_INSERT_PERSON, values)).rowcount == 1


_HAS_PEOPLE: Final[LiteralString] = "SELECT EXISTS (SELECT FROM person WHERE tenant_id = %s)"


async def has_people(conn: Connection, tenant_id: str) -> bool:
    """Whether anybody was ever added."""
    row = await (await conn.execute(_HAS_PEOPLE, [tenant_id])).fetchone()
    return row is not None and row[0] is True


_REKEY: Final[LiteralString] = """
UPDATE person SET password = %s, is_one_time = %s, password_until = %s WHERE person_id = %s
"""


async def set_password(
    conn: Connection, person_id: str, kept: str, *, is_one_time: bool, until: datetime | None
) -> None:
    """Give somebody another password."""
    await conn.execute(_REKEY, [kept, is_one_time, until, person_id])


_SET_ROLE: Final[LiteralString] = "UPDATE person SET role = %s WHERE person_id = %s AND role <> %s"


async def set_role(conn: Connection, person_id: str, role: Role) -> None:
    """Let somebody do more, or less."""
    await conn.execute(_SET_ROLE, [role, person_id, role])


_DISABLE: Final[LiteralString] = "UPDATE person SET disabled_at = %s WHERE person_id = %s"


async def set_disabled(conn: Connection, person_id: str, at: datetime | None) -> None:
    """Shut somebody out, or let them in again."""
    await conn.execute(_DISABLE, [at, person_id])


# Those who may still let others in: the last of them is not shut out.
_OTHER_ADMINS: Final[LiteralString] = """
SELECT person_id FROM person
 WHERE tenant_id = %s AND role = 'admin' AND disabled_at IS NULL
 ORDER BY person_id FOR UPDATE
"""


async def lock_admins(conn: Connection, tenant_id: str) -> set[str]:
    """The admins who may sign in, held until the transaction ends."""
    return {row[0] async for row in await conn.execute(_OTHER_ADMINS, [tenant_id])}


_INSERT_SESSION: Final[LiteralString] = """
INSERT INTO person_session (tenant_id, digest, person_id, csrf, created_at, last_seen_at, expires_at, vouched_until)
VALUES (%(tenant_id)s, %(digest)s, %(person_id)s, %(csrf)s, %(now)s, %(now)s, %(expires_at)s, %(vouched_until)s)
"""

_FORGET_OLD: Final[LiteralString] = "DELETE FROM person_session WHERE expires_at < %s"


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session as it begins."""

    tenant_id: str
    digest: bytes
    person_id: str
    csrf: str
    now: datetime
    expires_at: datetime
    vouched_until: datetime | None = None  # by a provider; None where it is a password's


async def insert_session(conn: Connection, new: NewSession) -> None:
    """Begin a session, and forget those that are over."""
    await conn.execute(_FORGET_OLD, [new.now])
    await conn.execute(_INSERT_SESSION, {name: getattr(new, name) for name in NewSession.__dataclass_fields__})


_FIND_SESSION: Final[LiteralString] = """
SELECT p.tenant_id, p.name, p.role, p.is_one_time, s.csrf, s.last_seen_at, s.vouched_until, p.person_id
  FROM person_session s JOIN person p USING (person_id)
 WHERE s.digest = %s AND s.expires_at > %s AND s.last_seen_at > %s AND p.disabled_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that is not over."""

    actor: Actor
    seen_at: datetime
    vouched_until: datetime | None  # by a provider, who is asked again then


async def find_session(conn: Connection, digest: bytes, now: datetime, idle_since: datetime) -> LiveSession | None:
    """Who has this session; None where it is over or they were shut out."""
    row = await (await conn.execute(_FIND_SESSION, [digest, now, idle_since])).fetchone()
    if row is None:
        return None
    tenant_id, name, role, is_one_time, csrf, seen, vouched_until, person_id = row
    actor = Actor(tenant_id, name, Role(role), "person", csrf=csrf, must_change_password=is_one_time, account=person_id)
    return LiveSession(actor, seen, vouched_until)


_VOUCH: Final[LiteralString] = "UPDATE person_session SET vouched_until = %s WHERE digest = %s"


async def vouch(conn: Connection, digest: bytes, until: datetime) -> None:
    """A provider answers for a session until then."""
    await conn.execute(_VOUCH, [until, digest])


_TOUCH: Final[LiteralString] = "UPDATE person_session SET last_seen_at = %s WHERE digest = %s"


async def touch_session(conn: Connection, digest: bytes, now: datetime) -> None:
    """Note that a session is in use."""
    await conn.execute(_TOUCH, [now, digest])


_END_SESSION: Final[LiteralString] = "DELETE FROM person_session WHERE digest = %s"


async def end_session(conn: Connection, digest: bytes) -> None:
    """End one session."""
    await conn.execute(_END_SESSION, [digest])


_END_SESSIONS: Final[LiteralString] = "DELETE FROM person_session WHERE person_id = %s AND digest <> %s"


async def end_sessions(conn: Connection, person_id: str, but: bytes = b"") -> None:
    """End somebody's sessions, but for one where that is named."""
    await conn.execute(_END_SESSIONS, [person_id, but])


_INSERT_KEY: Final[LiteralString] = """
INSERT INTO api_token (tenant_id, name, role, digest, created_at, expires_at)
VALUES (%(tenant_id)s, %(name)s, %(role)s, %(digest)s, %(created_at)s, %(expires_at)s)
ON CONFLICT DO NOTHING RETURNING token_id
"""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it begins."""

    tenant_id: str
    name: str
    role: str
    digest: bytes
    created_at: datetime
    expires_at: datetime | None


async def insert_token(conn: Connection, new: NewToken) -> int | None:
    """Add a token; None where a live one has the name."""
    values = {name: getattr(new, name) for name in NewToken.__dataclass_fields__}
    row = await (await conn.execute(_INSERT_KEY, values)).fetchone()
    return None if row is None else int(row[0])


_FIND_KEY: Final[LiteralString] = """
SELECT tenant_id, name, role FROM api_token
 WHERE digest = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %s)
"""


async def find_token(conn: Connection, digest: bytes, now: datetime) -> Actor | None:
    """Whose token this is; None where it is over."""
    row = await (await conn.execute(_FIND_KEY, [digest, now])).fetchone()
    return None if row is None else Actor(row[0], row[1], Role(row[2]), "token")


_LIST_TOKENS: Final[LiteralString] = """
SELECT token_id, name, role, created_at, expires_at, revoked_at FROM api_token WHERE tenant_id = %s ORDER BY token_id
"""


async def list_tokens(conn: Connection, tenant_id: str) -> list[Token]:
    """Every token that a tenant ever had, the oldest first."""
    async with conn.cursor(row_factory=class_row(Token)) as cursor:
        await cursor.execute(_LIST_TOKENS, [tenant_id])
        return [replace(token, role=Role(token.role)) async for token in cursor]


_REVOKE_KEY: Final[LiteralString] = """
UPDATE api_token SET revoked_at = %s WHERE tenant_id = %s AND name = %s AND revoked_at IS NULL
"""


async def revoke_token(conn: Connection, tenant_id: str, name: str, at: datetime) -> bool:
    """Take a token back; False where no live one has the name."""
    return (await conn.execute(_REVOKE_KEY, [at, tenant_id, name])).rowcount == 1


_INSERT_ATTEMPT: Final[LiteralString] = """
INSERT INTO oidc_attempt (tenant_id, digest, nonce, verifier, return_to, expires_at)
VALUES (%(tenant_id)s, %(digest)s, %(nonce)s, %(verifier)s, %(return_to)s, %(expires_at)s)
"""

_FORGET_ATTEMPTS: Final[LiteralString] = "DELETE FROM oidc_attempt WHERE expires_at < %s"


@dataclass(frozen=True, slots=True)
class OidcAttempt:
    """A sign-in that is under way at the provider."""

    tenant_id: str
    digest: bytes
    nonce: str
    verifier: str
    return_to: str
    expires_at: datetime


async def insert_attempt(conn: Connection, new: OidcAttempt, now: datetime) -> None:
    """Remember a sign-in that goes to the provider, and forget those that never came back."""
    await conn.execute(_FORGET_ATTEMPTS, [now])
    await conn.execute(_INSERT_ATTEMPT, {name: getattr(new, name) for name in OidcAttempt.__dataclass_fields__})


_TAKE_ATTEMPT: Final[LiteralString] = """
DELETE FROM oidc_attempt WHERE digest = %s RETURNING tenant_id, digest, nonce, verifier, return_to, expires_at
"""


async def take_attempt(conn: Connection, digest: bytes) -> OidcAttempt | None:
    """The sign-in that comes back: each only once."""
    async with conn.cursor(row_factory=class_row(OidcAttempt)) as cursor:
        return await (await cursor.execute(_TAKE_ATTEMPT, [digest])).fetchone()
