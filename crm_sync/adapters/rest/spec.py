"""What a helpdesk's TOML file may say."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from crm_sync.adapters.contract import Result
from crm_sync.adapters.rest.calls import (
    Attachment,
    Call,
    Check,
    Contact,
    Create,
    Duplicate,
    Expression,
    Find,
    Note,
    Parent,
    Pattern,
    Read,
    Status,
    Statuses,
    Write,
    path_inside,
)
from crm_sync.adapters.rest.hearing import Contacts, Inbound, Poll, Tickets
from crm_sync.adapters.rest.limits import Limits
from crm_sync.adapters.rest.section import Section
from devices.errors import ConfigError, Fault
from devices.profiles.model import SpanS

FACTS: Final = frozenset(
    {
        *("case_id", "version", "change", "state", "problem", "severity", "title", "brief", "team", "opened_at"),
        *("sla_due_at", "closed_at", "resolution", "outcome", "device_id", "asset", "owner_ref", "account_ref"),
        *("alarms", "relapse_of", "outreach", "owner_answer", "chart", "truncated"),
        *("next_action", "tried"),
        *("major", "cohort", "members", "parent", "left"),  # of the message
        *("message_id", "external_id", "contact_id", "page", "cursor", "offset", "listed"),  # of the call
        *("parent_record", "kept_record", "attachment_id", "attachment_name"),
        *("since", "now", "etag", "note_id", "people", "people_ids"),
        *("news", "todo", "case_link"),  # written from the message
    }
)
"""What places may begin with."""

_MUST_SAY: Final = frozenset({"external_id", "kept_record"})
_MAY_SAY: Final = _MUST_SAY | {"case_id", "message_id"}

CallName = Literal[
    "create",
    "find",
    "read",
    "update",
    "note",
    "note.find",
    "note.first",
    "note.attach",
    "status",
    "end",
    "contact",
    "link",
    "parent",
    "parent.leave",
    "attachment",
    "attachment.find",
    "attachment.first",
    "attachment.attach",
    "duplicate",
    "poll",
    "contacts",
    "tickets",
    "checks",
]


class Auth(Section):
    """How careloop shows who it is; secrets stand in the endpoint's settings."""

    kind: Literal["none", "bearer", "basic", "header", "parameter", "login", "client_credentials", "jwt_bearer"] = (
        "bearer"
    )
    header: str = "Authorization"  # for `header` and `login`
    prefix: str = ""  # before the token, for `header` and `login`: "Token "
    parameter: str = ""  # for `parameter`: the one of each address that bears the token
    login: Write | None = None  # for `login`: the call that gives a token, with {user} and {token}…
    token_at: Expression = "token"  # noqa: S105 - …where its answer has that…
    life: Annotated[SpanS, Field(gt=0)] = 300.0  # …and how long that is good, where nothing says so
    grant_path: Annotated[str, AfterValidator(path_inside)] = "/oauth/token"  # where tokens are granted…
    grant_url: str = ""  # …or a whole URL, where that is another server
    scope: str = ""
    audience: str = ""  # for `jwt_bearer`: who is to believe the assertion…
    subject: str = ""  # …and as which user careloop works

    @model_validator(mode="after")
    def _states_enough(self) -> "Auth":
        if self.kind == "jwt_bearer" and not (self.audience and self.subject):
            raise ValueError("jwt_bearer wants audience and subject: who is to believe it, and as whom careloop works")
        if self.kind == "parameter" and not self.parameter:
            raise ValueError("parameter must say which one of the address bears the token")
        if (self.login is None) == (self.kind == "login"):
            raise ValueError("kind login, and it alone, wants a table auth.login: the call that gives a token")
        strange = {root for root, _ in self.login.places()} - {"user", "token"} if self.login else ()
        if strange:
            raise ValueError(f"auth.login knows {{user}} and {{token}} alone, not {', '.join(sorted(strange))}")
        return self

    @property
    def is_granted(self) -> bool:
        """Whether careloop is given a token for a while, and another one when that is refused."""
        return self.kind in {"login", "client_credentials", "jwt_bearer"}


class ErrorRule(Section):
    """What an answer means where its status alone says it wrongly."""

    status: Statuses = ()  # any
    body: Pattern = ""  # found in the answer's text
    means: Result
    code: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")] = "refused"
    on: Sequence[CallName] = ()  # which calls; all
    retry_after: SpanS | None = None


def _several(value: object) -> object:
    return (value,) if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownVariableType]


class Spec(Section):
    """One helpdesk."""

    name: str
    account: Mapping[str, str | int] = {}  # what differs from account to account: {account.name}, everywhere
    auth: Auth = Auth()
    limits: Limits = Limits()
    headers: Mapping[str, str] = {}
    maps: Mapping[str, Mapping[str, Any]] = {}
    create: Create
    find: Find | None = None
    contact: Contact | None = None
    link: Write | None = None
    parent: Parent | None = None
    read: Read | None = None
    update: Write | None = None
    note: Note | None = None
    attachment: Attachment | None = None
    status: Status | None = None
    end: Status | None = None
    duplicate: Duplicate | None = None
    poll: Poll | None = None
    contacts: Annotated[tuple[Contacts, ...], BeforeValidator(_several)] = ()
    tickets: Tickets | None = None
    inbound: Inbound | None = None
    errors: Sequence[ErrorRule] = ()
    checks: Sequence[Check] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> "Spec":
        wrong = [*self._unknown_places(), *self._missing()]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def calls(self) -> Mapping[str, Call]:
        """Every call, by the name of its table."""
        named: dict[str, Call | None] = {
            "create": self.create,
            "find": self.find,
            "contact": self.contact,
            "link": self.link,
            "parent": self.parent,
            "parent.leave": self.parent.leave if self.parent else None,
            "read": self.read,
            "update": self.update,
            "note": self.note,
            "note.find": self.note.find if self.note else None,
            "note.first": self.note.find.first if self.note and self.note.find else None,
            "note.attach": self.note.attach if self.note else None,
            **self._attachment_calls(),
            "status": self.status,
            "end": self.end,
            "duplicate": self.duplicate,
            "poll": self.poll,
            **{f"contacts[{at}]": contacts for at, contacts in enumerate(self.contacts)},
            **{f"contacts[{at}].people": contacts.people for at, contacts in enumerate(self.contacts)},
            "tickets": self.tickets,
            "tickets.people": self.tickets.people if self.tickets else None,
            **{f"checks[{at}]": check for at, check in enumerate(self.checks)},
        }
        return {name: call for name, call in named.items() if call is not None}

    def _attachment_calls(self) -> dict[str, Call | None]:
        made = self.attachment
        if made is None:
            return {}
        find = made.find
        first = find.first if find else None
        found = {"attachment.find": find, "attachment.first": first, "attachment.attach": made.attach}
        return {"attachment": made, **found}

    def _unknown_places(self) -> list[str]:
        wrong: list[str] = []
        for name, call in self.calls().items():
            try:
                for root, mapped in call.places():
                    if root not in FACTS:
                        wrong.append(f"{name}: {{{root}}} is nothing that a message has ({', '.join(sorted(FACTS))})")
                    if mapped is not None and mapped not in self.maps:
                        wrong.append(f"{name}: there is no table maps.{mapped}")
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        return wrong

    def _missing(self) -> list[str]:
        wrong = [
            f"{name}: a form is a table"
            for name, call in self.calls().items()
            if call.format in {"form", "multipart"} and not isinstance(call.body, Mapping | None)
        ]
        wrong += [
            f"{name}: only attachment sends the picture itself"
            for name, call in self.calls().items()
            if call.format in {"multipart", "binary"} and not name.startswith("attachment")
        ]
        if self.create.id is None and not self.create.id_header and self.find is None:
            wrong.append("create.id, create.id_header, or else find, must tell what the record is called")
        if self.update is None and self.note is None:
            wrong.append("update or note must tell what is new")
        if self.status is None and self.end is None and self.note is None:
            wrong.append("status, end or note must tell that a case is over")
        if self.read is None:
            wrong += [f"{name}: {{etag}} wants read" for name, call in self.calls().items() if call.bears("etag")]
            wrong += ["find.reads wants read"] if self.find and self.find.reads else []
        if self.find and self.find.reads and self.find.key is None:
            wrong.append("find.reads wants key: where the record has the case's id")
        if self.note and self.note.attach and self.note.find and self.note.find.id is None:
            wrong.append("note.find.id must tell what is to be attached")
        if self.note and self.note.attach and self.note.attach.bears("note_id"):
            named = self.note.id or self.note.id_header or self.note.find
            wrong += [] if named else ["note.id, note.id_header or note.find.id must tell what is to be attached"]
        moves = {"status": self.status, "end": self.end}
        wrong += [] if self.duplicate is None else self._of_duplicates(self.duplicate)
        wrong += [f"{name}.check wants read" for name, move in moves.items() if move and move.check and not self.read]
        wrong += [
            f"checks[{at}]: hold_map names no table of maps"
            for at, check in enumerate(self.checks)
            if check.hold_map and check.hold_map not in self.maps
        ]
        return wrong

    def _of_duplicates(self, duplicate: Duplicate) -> list[str]:
        """What would put away another record than one that is surely of the same case."""
        wrong: list[str] = []
        if self.find is None or self.find.key is None:
            wrong.append("duplicate wants find with key: only what surely bears the case's id is put away")
        roots = {root for root, _ in duplicate.places()}
        if not _MUST_SAY <= roots <= _MAY_SAY:
            wrong.append("duplicate must say {external_id} and {kept_record}, and may say {case_id} and {message_id}")
        return wrong


def parse_spec(table: Mapping[str, Any], where: str) -> Spec:
    """A helpdesk's file that was read from `where`. Raises ConfigError naming every fault."""
    try:
        return Spec.model_validate(table)
    except ValidationError as error:
        raise ConfigError([_fault(where, each) for each in error.errors(include_url=False)]) from error


def read_table(path: Path) -> dict[str, Any]:
    """What a TOML file says. Raises ConfigError."""
    try:
        return tomllib.loads(path.expanduser().read_text("utf-8"))
    except OSError as error:
        fault = Fault("spec_file", str(path), f"a file that can be read ({error.strerror})")
        raise ConfigError([fault]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([Fault(str(path), "no TOML", str(error))]) from error


def _fault(file: str, each: Any) -> Fault:
    where = ".".join(str(part) for part in each["loc"])
    found = "missing" if each["type"] == "missing" else repr(each["input"])[:200]
    return Fault(f"{file}: {where}" if where else file, found if where else "what it says", each["msg"])
