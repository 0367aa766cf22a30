"""What a helpdesk's TOML file may say."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from crm_sync.adapters.contract import Result
from crm_sync.adapters.rest.template import Json, check_path, places
from crm_sync.cases.callback import AgentOutcome, CallbackStatus
from devices.errors import ConfigError, Fault
from devices.profiles.model import SpanS

FACTS: Final = frozenset(
    {
        *("case_id", "version", "change", "state", "problem", "severity", "title", "brief", "team", "opened_at"),
        *("sla_due_at", "closed_at", "resolution", "outcome", "device_id", "asset", "owner_ref", "account_ref"),
        *("alarms", "relapse_of", "outreach", "owner_answer", "chart", "truncated"),
        *("major", "cohort", "members", "parent"),  # of the message
        *("message_id", "external_id", "contact_id", "page", "cursor", "listed", "since", "now"),  # of the call
    }
)
"""What places may begin with."""

_MOST_PAGES: Final = 200


def _several(value: object) -> object:
    return (value,) if isinstance(value, int) else value


def _path_inside(path: str) -> str:
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError("a path starts with one /, and goes to the endpoint's own URL")
    return path


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


Expression = Annotated[str, Field(min_length=1), AfterValidator(check_path)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Statuses = Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], BeforeValidator(_several)]


CallName = Literal[
    "create",
    "find",
    "read",
    "update",
    "note",
    "note.find",
    "note.first",
    "status",
    "end",
    "contact",
    "link",
    "poll",
    "checks",
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Auth(_Section):
    """How careloop shows who it is; secrets stand in the endpoint's settings."""

    kind: Literal["none", "bearer", "basic", "header", "client_credentials", "jwt_bearer"] = "bearer"
    header: str = "Authorization"  # for `header`
    prefix: str = ""  # before the token, for `header`: "Token "
    grant_path: Annotated[str, AfterValidator(_path_inside)] = "/oauth/token"  # where tokens are granted…
    grant_url: str = ""  # …or a whole URL, where that is another server
    scope: str = ""
    audience: str = ""  # for `jwt_bearer`: who is to believe the assertion…
    subject: str = ""  # …and as which user careloop works

    @model_validator(mode="after")
    def _states_enough(self) -> "Auth":
        if self.kind == "jwt_bearer" and not (self.audience and self.subject):
            raise ValueError("jwt_bearer wants audience and subject: who is to believe it, and as whom careloop works")
        return self

    @property
    def is_granted(self) -> bool:
        """Whether careloop is given a token for a while, and another one when that is refused."""
        return self.kind in {"client_credentials", "jwt_bearer"}


class Limits(_Section):
    """How much of the account's limit careloop may use; other applications share it."""

    requests: Annotated[int, Field(ge=1)] = 100_000
    per: Annotated[SpanS, Field(gt=0)] = 60.0
    in_flight: Annotated[int, Field(ge=1, le=100)] = 4


class Call(_Section):
    """One request."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Annotated[str, AfterValidator(_path_inside)]
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: Any = None  # tables, arrays and texts with places
    omit_null: bool = False  # what would be null in the body's tables is left out
    format: Literal["json", "form"] = "json"
    success: Statuses = tuple(range(200, 300))  # statuses of it
    expect: Expression | None = None  # must be there, and neither false nor empty, in the answer

    @property
    def only_asks(self) -> bool:
        """Whether it changes nothing, whatever its method: some helpdesks search by POST."""
        return True


class Write(Call):
    """A request that changes something."""

    @property
    def only_asks(self) -> bool:
        """It does not."""
        return False

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    idempotency_header: str = ""  # carries an id that is the same in every attempt


class Create(Write):
    """Makes the record; a call that updates the one which is there under the case's id is welcome."""

    id: Expression | None = None  # in the answer: what the CRM calls the record; else it is looked up


class Listing(Call):
    """A request that gives several things, perhaps on several pages."""

    items: Expression = "@"
    page_from: int | None = None  # {page} starts here, and rises until a page is empty or brings nothing new
    next: Expression | None = None  # in the answer: the path of the next page…
    cursor: Expression | None = None  # …or what {cursor} is to be in the next question
    nothing: Statuses = ()  # statuses that mean that there is none
    most_pages: Annotated[int, Field(ge=1, le=_MOST_PAGES)] = 20


class Find(Listing):
    """Looks for the record under the case's id."""

    id: Expression = "id"
    key: Expression | None = None  # in an item: must be the case's id; a CRM that ignores the filter finds everything
    lag: Annotated[SpanS, Field(ge=0)] = 0.0  # how long after a create "not found" means nothing
    confirm: bool = False  # asked after each create too: where nothing else hinders a second record


class Contact(Listing):
    """Looks for the owner, by the reference that the CRM gave careloop."""

    id: Expression = "id"
    required: bool = False  # without a contact no record is made
    otherwise: str | int = ""  # the contact of a product whose owner is not known, or not found


class Read(Call):
    """Reads the record back, to see whether it is as it was told to be."""

    item: Expression = "@"
    id: Expression | None = None  # in the record: what it is called; another name is that of what it was merged into
    check: Mapping[Expression, Any] = {}  # where in the record, and what must stand there, after create and update


class FindNote(Listing):
    """Looks whether a note is there already, when its answer was lost."""

    text: Expression  # in an item: holds {message_id} if it is the note
    first: Listing | None = None  # asked before; what it lists is {listed}


class Note(Write):
    """Adds to the record, for colleagues: it should neither reopen it nor be seen by the customer."""

    find: FindNote | None = None
    before_status: bool = False  # for helpdesks that take no note on a closed record


class Status(Write):
    """Moves the record; as `end`, moves it when the case is over, where that takes another call."""

    check: Mapping[Expression, Any] = {}  # as in `read`, after the move


class ErrorRule(_Section):
    """What an answer means where its status alone says it wrongly."""

    status: Statuses = ()  # any
    body: Pattern = ""  # found in the answer's text
    means: Result
    code: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")] = "refused"
    on: Sequence[CallName] = ()  # which calls; all
    retry_after: SpanS | None = None


class Reading(_Section):
    """How a record says how it stands; the paths go into an item of a listing, or into an event of a hook."""

    id: Expression | None = None  # what the CRM calls the record
    key: Expression | None = None  # the case's id; one of the two must be there
    status: Expression
    statuses: Mapping[str, CallbackStatus]  # the CRM's word -> careloop's; other words say nothing
    outcome: Expression | None = None
    outcomes: Mapping[str, AgentOutcome] = {}  # the CRM's word -> whether the fault was real
    version: Expression | None = None  # a number or an instant that rises: what is older has no effect

    @model_validator(mode="after")
    def _says_which(self) -> "Reading":
        if self.id is None and self.key is None:
            raise ValueError("id or key must say which record it is")
        return self


class Poll(Listing, Reading):
    """Asks what has changed since the last time, for what no hook tells."""

    every: Annotated[SpanS, Field(ge=1)] = 300.0
    overlap: Annotated[SpanS, Field(ge=0)] = 60.0  # `since` is so much before the last look: clocks differ
    since: Literal["iso", "epoch", "epoch_ms"] = "iso"


class _OfOwners(Listing):
    """Asks, now and then, for what concerns owners and not our cases."""

    every: Annotated[SpanS, Field(ge=1)] = 300.0
    overlap: Annotated[SpanS, Field(ge=0)] = 60.0  # `since` is so much before the last look: clocks differ
    since: Literal["iso", "epoch", "epoch_ms"] = "iso"
    id: Expression  # what the CRM calls it
    at: Expression  # when


class Contacts(_OfOwners):
    """Whom people or programs have contacted: mails, calls, public replies."""

    owner: Expression  # as the registry knows them
    channel: Expression | None = None
    human: Expression | None = None  # true, or a word of `humans`, where a person did it; else all are persons'
    humans: Sequence[str] = ("true", "True", "1")


class Tickets(_OfOwners):
    """Tickets that people have opened; `ours` keeps our own out."""

    owner: Expression | None = None
    device: Expression | None = None
    status: Expression
    open: Sequence[str]  # the words of `status` that mean that somebody works on it
    ours: Expression | None = None  # the field with our case's id: where it is filled, the ticket is ours

    @model_validator(mode="after")
    def _is_about_somebody(self) -> "Tickets":
        if self.owner is None and self.device is None:
            raise ValueError("owner or device must say whom a ticket is about")
        return self


class Inbound(Reading):
    """How the helpdesk's own hooks show who they are, and what they say."""

    kind: Literal["hmac", "token"]
    header: str = ""  # of the signature, or of the token…
    parameter: str = ""  # …or the token is a parameter of the URL that hooks go to
    prefix: str = ""  # before it: "sha256=", "Bearer "
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = "{body}"  # what is signed: {body}, and {timestamp} as the header has it
    timestamp_header: str = ""
    tolerance: Annotated[SpanS, Field(gt=0)] = 300.0
    never: Sequence[str] = ()  # secrets that everybody knows
    delivery_header: str = ""  # names the delivery; else its bytes do
    events: Expression = "@"  # one, or several, in the body

    @model_validator(mode="after")
    def _signs_the_body(self) -> "Inbound":
        if self.kind == "hmac" and "{body}" not in self.signed:
            raise ValueError("what is signed must hold {body}")
        if bool(self.header) == bool(self.parameter):
            raise ValueError("header or parameter, one of them, must say where the signature or token stands")
        return self


class Check(Call):
    """Something that must be so before the first case is sent: `crm check` asks."""

    says: str  # what is looked for, in words
    values: Expression | None = None  # in the answer
    hold: Sequence[str] = ()  # these must be among `values`
    hold_map: str = ""  # every word of this map must be


class Spec(_Section):
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
    read: Read | None = None
    update: Write | None = None
    note: Note | None = None
    status: Status | None = None
    end: Status | None = None
    poll: Poll | None = None
    contacts: Contacts | None = None
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
            "read": self.read,
            "update": self.update,
            "note": self.note,
            "note.find": self.note.find if self.note else None,
            "note.first": self.note.find.first if self.note and self.note.find else None,
            "status": self.status,
            "end": self.end,
            "poll": self.poll,
            "contacts": self.contacts,
            "tickets": self.tickets,
            **{f"checks[{at}]": check for at, check in enumerate(self.checks)},
        }
        return {name: call for name, call in named.items() if call is not None}

    def _unknown_places(self) -> list[str]:
        wrong: list[str] = []
        for name, call in self.calls().items():
            checked = cast("Json", dict(getattr(call, "check", {})))
            templates: list[Json] = [call.path, dict(call.query), dict(call.headers), call.body, checked]
            try:
                for root, mapped in (place for template in templates for place in places(template)):
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
            if call.format == "form" and not isinstance(call.body, Mapping | None)
        ]
        if self.create.id is None and self.find is None:
            wrong.append("create.id, or else find, must tell what the record is called")
        if self.update is None and self.note is None:
            wrong.append("update or note must tell what is new")
        if self.status is None and self.end is None and self.note is None:
            wrong.append("status, end or note must tell that a case is over")
        moves = {"status": self.status, "end": self.end}
        wrong += [f"{name}.check wants read" for name, move in moves.items() if move and move.check and not self.read]
        wrong += [
            f"checks[{at}]: hold_map names no table of maps"
            for at, check in enumerate(self.checks)
            if check.hold_map and check.hold_map not in self.maps
        ]
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
