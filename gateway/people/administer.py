"""Adding people and tokens, and taking them back: on the caller's transaction, which also keeps the record of it."""

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from devices.errors import CareloopError
from gateway.people import passwords, queries
from gateway.people.model import Role
from gateway.people.people import ONE_TIME_FOR, ROOT_NAME, digest_of, new_person_id
from gateway.people.queries import Account, Connection, NewPerson, NewToken

TOKEN_PREFIX: Final = "clt_"  # noqa: S105 - by which scanners find a token that was left lying about
_NAME: Final = re.compile(r"[\w][\w.@+ -]{0,99}")
Keep = Callable[[str, str, dict[str, object]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Office:
    """Where people of a tenant are administered: `keep` writes what was done into the audit trail."""

    conn: Connection
    tenant_id: str
    now: datetime
    keep: Keep

    async def add_person(self, name: str, role: Role) -> str:
        """Add somebody; returns their one-time password. Raises CareloopError where the name cannot be had."""
        name = _checked(name)
        password = passwords.new_one_time()
        new = NewPerson(
            self.tenant_id,
            new_person_id(),
            name,
            role,
            self.now,
            password=passwords.keep_generated(password),
            is_one_time=True,
            password_until=self.now + ONE_TIME_FOR,
        )
        if not await queries.insert_person(self.conn, new):
            raise CareloopError("name_taken", f"there is somebody of the name {name}")
        await self.keep("person.add", name, {"role": str(role)})
        return password

    async def set_role(self, name: str, role: Role) -> None:
        """Let somebody do more, or less; the last admin stays one."""
        account = await self._account(name)
        if role is not Role.ADMIN:
            await self._keep_an_admin(account)
        await queries.set_role(self.conn, account.person_id, role)
        await self.keep("person.role", account.name, {"from": account.role, "role": str(role)})

    async def disable(self, name: str) -> None:
        """Shut somebody out at once; the last admin stays."""
        account = await self._account(name)
        await self._keep_an_admin(account)
        await queries.set_disabled(self.conn, account.person_id, self.now)
        await queries.end_sessions(self.conn, account.person_id)
        await self.keep("person.disable", account.name, {})

    async def enable(self, name: str) -> None:
        """Let somebody in again."""
        account = await self._account(name)
        await queries.set_disabled(self.conn, account.person_id, None)
        await self.keep("person.enable", account.name, {})

    async def reset_password(self, name: str) -> str:
        """Give somebody a one-time password, and end their sessions; returns it."""
        account = await self._account(name)
        password = passwords.new_one_time()
        await queries.set_password(
            self.conn,
            account.person_id,
            passwords.keep_generated(password),
            is_one_time=True,
            until=self.now + ONE_TIME_FOR,
        )
        await queries.end_sessions(self.conn, account.person_id)
        await self.keep("person.reset_password", account.name, {})
        return password

    async def set_password(self, name: str, password: str) -> None:
        """Give somebody the password that they chose, and end their sessions. Raises CareloopError for a weak one."""
        account = await self._account(name)
        weakness = passwords.weakness_of(password, account.name)
        if weakness is not None:
            raise CareloopError("weak_password", weakness)
        kept = passwords.keep_chosen(password)
        await queries.set_password(self.conn, account.person_id, kept, is_one_time=False, until=None)
        await queries.end_sessions(self.conn, account.person_id)
        await self.keep("person.password", account.name, {})

    async def create_token(self, name: str, role: Role, expires_at: datetime | None) -> str:
        """Make a token; returns its text, which is kept nowhere. Raises CareloopError where the name cannot be had."""
        name = _checked(name)
        if name == ROOT_NAME:
            raise CareloopError("name_taken", f"{name} is what the settings' own token is called in the audit trail")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        new = NewToken(self.tenant_id, name, role, digest_of(token), self.now, expires_at)
        if await queries.insert_token(self.conn, new) is None:
            raise CareloopError("name_taken", f"there is a live token of the name {name}")
        until = None if expires_at is None else expires_at.isoformat()
        await self.keep("token.create", name, {"role": str(role), "expires_at": until})
        return token

    async def revoke_token(self, name: str) -> None:
        """Take a token back at once. Raises CareloopError where there is none."""
        if not await queries.revoke_token(self.conn, self.tenant_id, name, self.now):
            raise CareloopError("unknown_token", f"there is no live token of the name {name}")
        await self.keep("token.revoke", name, {})

    async def _account(self, name: str) -> Account:
        account = await queries.find_account(self.conn, self.tenant_id, name)
        if account is None:
            raise CareloopError("unknown_person", f"there is nobody of the name {name}")
        return account

    async def _keep_an_admin(self, account: Account) -> None:
        admins = await queries.lock_admins(self.conn, self.tenant_id)
        if admins == {account.person_id}:
            raise CareloopError("last_admin", f"{account.name} is the last admin; make somebody else one first")


def _checked(name: str) -> str:
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise CareloopError("unusable_name", "a name has 1 to 100 letters, digits, and . @ + _ - or spaces between")
    return name
