"""What a person and a token are to the rest of the house."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from devices.errors import CareloopError


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"  # look
    AGENT = "agent"  # work cases and alarms
    OPERATOR = "operator"  # work deliveries, quarantine, watches and maintenance
    ADMIN = "admin"  # people, tokens, the audit trail

    @property
    def rank(self) -> int:
        """Higher may do more."""
        return _RANKS[self]

    def may(self, least: "Role") -> bool:
        """Whether it is at least that role."""
        return self.rank >= least.rank


_RANKS: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a person who signed in, or a token."""

    tenant_id: str
    name: str
    role: Role
    kind: Literal["person", "token"]
    csrf: str | None = None  # what writes of this session must bring along; None for tokens
    must_change_password: bool = False
    account: str | None = None  # a person's id, which no change of name touches; None for tokens
    is_root: bool = False  # the token of the settings, which may speak for others

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    def signs_as(self, by: str | None = None) -> str:
        """The name under which an act is kept; only the settings' own token may say on whose behalf it acts."""
        return by if self.is_root and by else self.name if self.kind == "person" else str(self)


@dataclass(frozen=True, slots=True)
class Person:
    """A person as others see them."""

    person_id: str
    name: str
    role: Role
    signs_in: Literal["password", "one-time password", "provider", "not yet"]
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Token:
    """A token as others see it: never its text."""

    token_id: int
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session: `token` belongs into the cookie and nowhere else."""

    token: str
    actor: Actor


class SignInRefused(CareloopError):
    """Nobody is let in: reason `wrong` (which of both is not said), `throttled`, `busy`, `unknown`, `weak_password`."""

    def __init__(self, reason: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after_s = retry_after_s
