"""People and tokens of a gateway: who signs in, who a request is from, and how often they may ask."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import uuid4

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from gateway.failed_logins import FailedLogins
from gateway.people import passwords, queries
from gateway.people.audit import record
from gateway.people.model import Actor, Role, SignedIn, SignInRefused
from gateway.people.pace import Paces, Recent
from gateway.people.queries import Account, NewPerson, NewSession
from gateway.people.settings import PeopleSettings

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

FIRST_ADMIN: Final = "admin"
ROOT_NAME: Final = "settings"  # of the settings' own token
ONE_TIME_FOR: Final = timedelta(days=7)
_SEEN_EVERY: Final = timedelta(minutes=1)
_WAIT_FOR_CHECKS: Final = 10
"""Sign-ins that may wait for a password to be checked: one at a time is, for each costs memory and processor time."""


def _now() -> datetime:
    return datetime.now(UTC)


class People:
    """Who may do what, on one database. Sessions and deadlines are on real time."""

    def __init__(
        self,
        pool: Pool,
        tenant_id: str,
        settings: PeopleSettings,
        root_token: str,
        *,
        now: Callable[[], datetime] = _now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tenant_id` is that of people who sign in by name; `root_token` is the settings' own."""
        self.pool = pool
        self.tenant_id = tenant_id
        self.settings = settings
        self._root = sha256(root_token.encode()).digest()
        self._now = now
        self._failed = FailedLogins(
            settings.failed_sign_ins_burst, settings.failed_sign_ins_per_minute, monotonic, bucket_of=_bucket_of
        )
        self.voucher: Callable[[bytes, float], Awaitable[datetime | None]] | None = None
        self._vouching = asyncio.Lock()
        self._checking = asyncio.Semaphore(1)
        self._waiting = 0
        self._paces = Paces(settings.requests_per_s, settings.requests_burst, monotonic)
        self._noted = Recent(600.0, monotonic)

    async def welcome(self) -> str | None:
        """The one-time password of the first admin, made at the first start; None at every other."""
        password = passwords.new_one_time()
        async with self.pool.connection() as conn, conn.transaction():
            if await queries.has_people(conn, self.tenant_id):
                return None
            now = self._now()
            first = NewPerson(
                self.tenant_id,
                new_person_id(),
                FIRST_ADMIN,
                Role.ADMIN,
                now,
                password=passwords.keep_generated(password),
                is_one_time=True,
                password_until=now + ONE_TIME_FOR,
            )
            return password if await queries.insert_person(conn, first) else None

    async def sign_in(self, name: str, password: str, address: str) -> SignedIn:
        """Begin a session. Raises SignInRefused, which does not say whether the name or the password was wrong."""
        name = name.strip()[:200]
        if not self._failed.allows(address, name):
            raise SignInRefused("throttled", "too many sign-ins have failed; try again in a few minutes", 60.0)
        async with self.pool.connection() as conn:
            account = await queries.find_account(conn, self.tenant_id, name)
        right = await self._check(account, password)
        async with self.pool.connection() as conn, conn.transaction():
            if account is None or not right:
                self._failed.failed(address, name)
                if account is not None:
                    await record(conn, _actor_of(account), "session.refused", account.name, {"from": address})
                signed_in = None
            else:
                self._failed.succeeded(address, name)
                signed_in = await self.begin(conn, account, {"from": address})
        if signed_in is None:
            raise SignInRefused("wrong", "the name or the password is wrong")
        return signed_in

    async def begin(
        self,
        conn: AsyncConnection[TupleRow],
        account: Account,
        inputs: Mapping[str, object],
        vouched_until: datetime | None = None,
    ) -> SignedIn:
        """A fresh session for somebody who has proved who they are, here or to a provider who answers for them."""
        now = self._now()
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        most_s = self.settings.session_max
        if vouched_until is not None:
            most_s = min(most_s, self.settings.oidc.session_max)
        expires_at = now + timedelta(seconds=most_s)
        session = NewSession(
            account.tenant_id, digest_of(token), account.person_id, csrf, now, expires_at, vouched_until
        )
        await queries.insert_session(conn, session)
        actor = _actor_of(account, csrf)
        await record(conn, actor, "session.begin", account.name, inputs)
        return SignedIn(token, actor)

    async def sign_out(self, session: str) -> None:
        """End a session."""
        found = await self.who(session)
        async with self.pool.connection() as conn, conn.transaction():
            await queries.end_session(conn, digest_of(session))
            if found is not None:
                await record(conn, found, "session.end", found.name, {})

    async def change_password(self, actor: Actor, old: str, new: str, address: str) -> SignedIn:
        """Give oneself another password; every session so far ends, and a fresh one begins. Raises SignInRefused."""
        if not self._failed.allows(address, actor.name):
            raise SignInRefused("throttled", "too many sign-ins have failed; try again in a few minutes", 60.0)
        async with self.pool.connection() as conn:
            account = await queries.find_account(conn, actor.tenant_id, actor.name)
        if account is None or not await self._check(account, old):
            self._failed.failed(address, actor.name)
            raise SignInRefused("wrong", "the present password is another")
        weakness = passwords.weakness_of(new, account.name) or ("this is the present one" if new == old else None)
        if weakness is not None:
            raise SignInRefused("weak_password", weakness)
        kept = await asyncio.to_thread(passwords.keep_chosen, new)
        async with self.pool.connection() as conn, conn.transaction():
            await queries.set_password(conn, account.person_id, kept, is_one_time=False, until=None)
            await queries.end_sessions(conn, account.person_id)
            await record(conn, actor, "person.password", account.name, {})
            renewed = await queries.find_account(conn, actor.tenant_id, actor.name)
            assert renewed is not None  # it has just been written
            return await self.begin(conn, renewed, {"after": "password"})

    async def who(self, session: str) -> Actor | None:
        """Who has this session, which counts as being seen; None where there is none any more."""
        now, digest = self._now(), digest_of(session)
        idle_since = now - timedelta(seconds=self.settings.session_idle)
        async with self.pool.connection() as conn:
            found = await queries.find_session(conn, digest, now, idle_since)
            if found is None:
                return None
            if now - found.seen_at >= _SEEN_EVERY:
                await queries.touch_session(conn, digest, now)
        if found.vouched_until is not None and found.vouched_until <= now:
            return await self._vouched_again(digest, idle_since)
        return found.actor

    async def _vouched_again(self, digest: bytes, idle_since: datetime) -> Actor | None:
        """Whoever has a session for which its provider answers once more; None where it does not, and it is over."""
        came_s = time.monotonic()
        async with self._vouching:
            now = self._now()
            async with self.pool.connection() as conn:
                found = await queries.find_session(conn, digest, now, idle_since)
            if found is None:
                return None
            if found.vouched_until is None or found.vouched_until > now:
                return found.actor  # somebody was faster
            until = None if self.voucher is None else await self.voucher(digest, came_s)
            async with self.pool.connection() as conn, conn.transaction():
                if until is None:
                    await queries.end_session(conn, digest)
                    await record(conn, found.actor, "session.end", found.actor.name, {"why": "provider"})
                    return None
                await queries.vouch(conn, digest, until)
                found = await queries.find_session(conn, digest, now, idle_since)
        return None if found is None else found.actor  # with the role that they have now

    async def bearer(self, token: str) -> Actor | None:
        """Whose token this is; the settings' own needs no database."""
        digest = digest_of(token)
        if secrets.compare_digest(digest, self._root):
            return Actor(self.tenant_id, ROOT_NAME, Role.ADMIN, "token", is_root=True)
        async with self.pool.connection() as conn:
            return await queries.find_token(conn, digest, self._now())

    def pace(self, actor: Actor) -> float:
        """The seconds that an actor has to wait before asking again; 0 where they need not."""
        return 0.0 if actor.is_root else self._paces.take(f"{actor.tenant_id}/{actor}")

    async def note(self, actor: Actor, what: str, subject: str, inputs: Mapping[str, object] | None = None) -> None:
        """Write down that somebody looks at an owner's data, before they do; once in ten minutes."""
        key = (actor.tenant_id, str(actor), what, subject)
        if self._noted.has(key):
            return
        async with self.pool.connection() as conn:
            await record(conn, actor, what, subject, inputs or {})
        self._noted.add(key)

    async def _check(self, account: Account | None, password: str) -> bool:
        """Whether the password is that of an account which may sign in; as long a look where there is none."""
        if self._waiting >= _WAIT_FOR_CHECKS:
            raise SignInRefused("busy", "too many sign in at once; try again in a moment", 5.0)
        self._waiting += 1
        try:
            async with self._checking:
                if account is None or account.password is None or account.disabled_at is not None:
                    await asyncio.to_thread(passwords.waste_as_much, password)
                    return False
                right = await asyncio.to_thread(passwords.matches, password, account.password)
        finally:
            self._waiting -= 1
        return right and (account.password_until is None or account.password_until > self._now())


def digest_of(secret: str) -> bytes:
    """How sessions and tokens are kept."""
    return sha256(secret.encode(errors="replace")).digest()


def new_person_id() -> str:
    """An id that no name change touches."""
    return f"prs_{uuid4().hex}"


def _actor_of(account: Account, csrf: str | None = None) -> Actor:
    return Actor(
        account.tenant_id,
        account.name,
        Role(account.role),
        "person",
        csrf=csrf,
        must_change_password=account.is_one_time and account.password is not None,
        account=account.person_id,
    )


def _bucket_of(name: str) -> str:
    """What failures of a name are counted under: as short as it is long."""
    return sha256(name.casefold().encode(errors="replace")).hexdigest()[:32]
