"""How a helpdesk's TOML file says what its records, tickets and contacts mean: in listings and in hooks."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from crm_sync.adapters.rest.calls import Expression, Listing, Pattern
from crm_sync.adapters.rest.instants import InstantFormat
from crm_sync.adapters.rest.section import Section
from crm_sync.cases.callback import AgentOutcome, CallbackStatus
from devices.profiles.model import SpanS


class Reading(Section):
    """How a record says how it stands; the paths go into an item of a listing, or into an event of a hook."""

    id: Expression | None = None  # what the CRM calls the record
    key: Expression | None = None  # the case's id; one of the two must be there
    status: Expression
    statuses: Mapping[str, CallbackStatus]  # the CRM's word -> careloop's; other words say nothing
    outcome: Expression | None = None
    outcomes: Mapping[str, AgentOutcome] = {}  # the CRM's word -> whether the fault was real
    customer_said: Expression | None = None  # what the customer said of the fault
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
    since: InstantFormat = "iso"
    in_order_of: Expression | None = None  # in an item: what {since} is held against, where answers come in its order


class People(Listing):
    """Asks whom items are about, where they say it by a name of the helpdesk's own; {people} are some of these."""

    id: Expression = "id"  # in an answer's item: the helpdesk's own name…
    owner: Expression  # …and the owner as the registry knows them
    at_once: Annotated[int, Field(ge=1, le=1000)] = 1


class _OfOwners(Listing):
    """Asks, now and then, for what concerns owners and not our cases."""

    every: Annotated[SpanS, Field(ge=1)] = 300.0
    overlap: Annotated[SpanS, Field(ge=0)] = 60.0  # `since` is so much before the last look: clocks differ
    since: InstantFormat = "iso"
    in_order_of: Expression | None = None  # in an item: what {since} is held against, where answers come in its order
    id: Expression  # what the CRM calls it
    at: Expression  # when
    people: People | None = None  # who is meant, where `owner` is a name of the helpdesk's own


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
    signatures: Pattern = ""  # where a header bears several, or more than that: each match's first group is one
    signed: str = "{body}"  # what is signed: {body}, and {timestamp} as the header has it
    timestamp_header: str = ""  # may be `header` itself…
    timestamp_pattern: Pattern = ""  # …where the first group of this is the timestamp
    tolerance: Annotated[SpanS, Field(gt=0)] = 300.0
    never: Sequence[str] = ()  # secrets that everybody knows
    delivery_header: str = ""  # names the delivery; else its bytes do
    format: Literal["json", "xml", "form"] = "json"
    events: Expression = "@"  # one, or several, in the body

    @model_validator(mode="after")
    def _signs_the_body(self) -> "Inbound":
        if self.kind == "hmac" and "{body}" not in self.signed:
            raise ValueError("what is signed must hold {body}")
        if "{timestamp}" in self.signed and not self.timestamp_header:
            raise ValueError("{timestamp} in what is signed wants timestamp_header: where it stands")
        if bool(self.header) == bool(self.parameter):
            raise ValueError("header or parameter, one of them, must say where the signature or token stands")
        return self
