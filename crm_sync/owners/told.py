"""What CRMs tell of owners: somebody contacted them, a person works for them, or they are to be left alone."""

from dataclasses import dataclass
from typing import Literal

HoldKind = Literal["do_not_contact", "legal_hold", "complaint"]


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
    at_s: float | None = None  # when that was said; None: now


OwnerNews = Contacted | HumanCase | LeaveAlone
