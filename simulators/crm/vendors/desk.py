"""What all of the imitated CRMs have: tickets, notes, somebody at the door, and a way to be asked over HTTP."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import HTTP
from typing import Any, Protocol, cast


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    at_s: float

    @property
    def json(self) -> Any:
        """The body, where it is JSON; else nothing."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @property
    def parts(self) -> list[str]:
        """The path's parts."""
        return self.path.strip("/").split("/")


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw: bytes | None = None

    @property
    def content(self) -> bytes:
        """The bytes of it."""
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Note:
    """Something added to a ticket."""

    number: int
    text: str
    is_public: bool


@dataclass(frozen=True, slots=True)
class File:
    """Something that hangs on a ticket."""

    name: str
    media_type: str
    size: int


@dataclass(slots=True)
class Ticket:
    """One record, in the vendor's words."""

    number: str
    key: str
    title: str
    text: str
    priority: str
    status: str
    changed_s: float
    contact: str | None = None
    outcome: str = ""
    said: str = ""  # what the customer said of the fault
    removed: bool = False
    merged_into: str = ""
    parent: str = ""  # the number of the record that it is tied to
    notes: list[Note] = field(default_factory=list[Note])
    files: list[File] = field(default_factory=list[File])


@dataclass(frozen=True, slots=True)
class Spoken:
    """Somebody of the company spoke with an owner."""

    number: int
    owner: str
    at_s: float


@dataclass(slots=True)
class Book:
    """All that a CRM keeps; the fault that says yes and does nothing puts an older one back."""

    tickets: dict[str, Ticket] = field(default_factory=dict[str, Ticket])
    idempotent: dict[str, tuple[bytes, Reply]] = field(default_factory=dict[str, tuple[bytes, Reply]])
    noted: int = 0
    uploads: dict[str, File] = field(default_factory=dict[str, File])  # that hang on nothing yet
    spoken: list[Spoken] = field(default_factory=list[Spoken])

    def present(self) -> Iterator[Ticket]:
        """Those that nobody has removed."""
        return (ticket for ticket in self.tickets.values() if not ticket.removed)

    def of_key(self, key: str) -> list[Ticket]:
        """Those that bear a case's id."""
        return [ticket for ticket in self.present() if ticket.key == key and key]

    def changed_since(self, since_s: float) -> list[Ticket]:
        """Those that somebody has touched, the oldest change first."""
        return sorted((each for each in self.present() if each.changed_s >= since_s), key=lambda each: each.changed_s)

    def of_people(self) -> list[Ticket]:
        """Those that people opened."""
        return [ticket for ticket in self.present() if not ticket.key]

    def open_by_people(self, contact: str, status: str, at_s: float) -> Ticket:
        """Somebody opens a ticket for an owner."""
        number = str(700_000 + len(self.tickets))
        ticket = Ticket(number, "", "It drips", "Please call.", "2", status, at_s, contact=contact)
        self.tickets[number] = ticket
        return ticket

    def speak(self, owner: str, at_s: float) -> None:
        """Somebody speaks with an owner."""
        self.spoken.append(Spoken(len(self.spoken) + 1, owner, at_s))

    def note(self, ticket: Ticket, text: str, at_s: float, *, is_public: bool) -> Note:
        """Add to a ticket."""
        self.noted += 1
        note = Note(self.noted, text, is_public)
        ticket.notes.append(note)
        ticket.changed_s = at_s
        return note


@dataclass(frozen=True, slots=True)
class HookRequest:
    """What a CRM sends by itself when a ticket has changed."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class Vendor(Protocol):
    """One imitated CRM."""

    name: str
    book: Book
    lacks: set[str]  # fields, values and rights that this account does not have, by name
    drops: set[str]  # of "key" and "priority": what is forgotten without a word

    def refuse(self, asked: Asked) -> Reply | None:
        """Who is not let in, and how that is said."""
        ...

    def kind(self, asked: Asked) -> str:
        """Which call of an adapter's it is."""
        ...

    def work(self, asked: Asked) -> Reply:
        """What an honest one does."""
        ...

    def throttle(self) -> Reply:
        """Too many requests, in its own way."""
        ...

    def forbid(self) -> Reply:
        """A 403 that is about this record, or this moment, and not about who asks."""
        ...

    def word(self, status: str) -> str:
        """What it calls `open`, `waiting` and `closed`."""
        ...

    def called(self, owner: str) -> str:
        """What it calls an owner. Raises KeyError where it does not know them."""
        ...

    def hook(self, changed: Sequence[Ticket], at_s: float, secret: str) -> HookRequest:
        """The hook that tells of changed tickets, genuine under `secret`."""
        ...


def without(told: Any, lacks: set[str]) -> Any:
    """A description of an account without what it lacks: what is named so, and what may be done by nobody."""
    if isinstance(told, dict):
        described = cast("dict[str, Any]", told)
        return {
            name: False if name in lacks and value is True else without(value, lacks)
            for name, value in described.items()
        }
    if isinstance(told, list):
        return [without(each, lacks) for each in cast("list[Any]", told) if not _is_named(each, lacks)]
    return told


def _is_named(told: Any, lacks: set[str]) -> bool:
    names = cast("dict[str, Any]", told).values() if isinstance(told, dict) else (told,)
    return any(str(name) in lacks for name in names if isinstance(name, str | int))


def forms_of(asked: Asked) -> tuple[dict[str, str], File | None]:
    """The fields of a multipart/form-data request, and its file."""
    head = f"Content-Type: {asked.headers.get('content-type', '')}\r\n\r\n".encode()
    fields: dict[str, str] = {}
    file: File | None = None
    for part in message_from_bytes(head + asked.body, policy=HTTP).walk():
        content, name = part.get_payload(decode=True), part.get_filename()
        if not isinstance(content, bytes):
            continue  # the whole
        if name is None:
            fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
        else:
            file = File(name, part.get_content_type(), len(content))
    return fields, file


def instant(epoch_s: float) -> str:
    """ISO 8601 as most of them write it."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bearer(asked: Asked) -> str:
    """The token that a request shows."""
    return asked.headers.get("authorization", "").removeprefix("Bearer ")
