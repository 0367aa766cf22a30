"""What an adapter to a CRM, a helpdesk or a webhook receiver must be, and the only answers it can give.

The engine delivers one case's messages to one endpoint in order, one at a time; an adapter turns a delivery into
calls and the answer into exactly one `Result`. It never retries by itself, except to refresh a token once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, runtime_checkable

from crm_sync.cases.callback import AgentOutcome, CallbackStatus
from crm_sync.owners.told import OwnerNews
from crm_sync.settings import EndpointSettings, MessageType
from devices.errors import Retryable


class Result(StrEnum):
    """What became of an attempt; each tells the engine what to do next."""

    OK = "ok"  # it is there: go on with the case's next message
    UNKNOWN = "unknown"  # it may be there: look it up where the CRM can be asked, else send the same id again
    RETRYABLE = "retryable"  # it is not there: again on the schedule
    RATE_LIMITED = "rate_limited"  # too many requests: leave the whole endpoint alone; uses up no attempt
    AUTH = "auth"  # careloop is not let in: 401 stops the endpoint until it is, and a person is told
    CONFLICT = "conflict"  # the CRM holds something else under this key: for a person
    PERMANENT = "permanent"  # the same request will never succeed: dead letter
    GONE = "gone"  # the endpoint is no more: disable it


ADAPTER_FAILED: Final = "adapter_failed"
"""The code of an adapter's own fault, for which its CRM is not to blame."""

NOT_LISTED: Final = "not_listed_yet"
"""The code of a create that waits until a look-up can have found an earlier one."""

PARENT_UNKNOWN: Final = "parent_unknown"
"""The code of a record that waits until its major case has one."""

SEVERAL_RECORDS: Final = "several_records"
"""The code of a case that has more than one record: for a person, or one of them is kept at the next attempt."""

OURS: Final = frozenset({ADAPTER_FAILED, NOT_LISTED, PARENT_UNKNOWN, SEVERAL_RECORDS})
"""Codes that say nothing of how the CRM is doing."""

DEFAULT_PAUSE_S: Final = 60.0
"""How long an endpoint that says neither when nor how soon is left alone after too many requests."""

OWN_LIMIT: Final = "own_limit"
"""The code of what waits because of the limit that an endpoint's own settings set."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's result and what is worth keeping of the answer."""

    result: Result
    code: str  # a closed word: http_503, timeout, blocked_target ...
    detail: str = ""
    field: str | None = None  # what the CRM objected to, where it said so
    status: int | None = None
    external_id: str | None = None  # what the CRM calls the case
    retry_after_s: float | None = None  # as the other side asked
    tries: int | None = None  # fewer attempts than the schedule has, for answers that seldom change
    answer: str = ""  # its beginning, redacted
    request: str = ""  # the call that it answers, where an adapter makes several: method, path, body; redacted
    put_as: Sequence[str] = ()  # in which of the CRM's words the record stands by our own doing


class Limited(Retryable):
    """There were too many requests, ours or others': what was asked uses up no attempt."""


class NotLetIn(Retryable):
    """Who careloop is was not believed when it asked: a person is told, as when it writes."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way."""

    key: str  # the case's id: the same for all its messages, at most 64 characters, no dots
    message_id: str  # the same in every attempt, and after a replay
    type: MessageType
    body: bytes
    external_id: str | None  # what the CRM calls the case, if it has said so
    attempt: int  # 1 for the first
    uncertain: bool  # an earlier attempt may have succeeded without our knowing
    overtaken: bool = False  # a person sends it again, and the CRM has taken newer ones: it must not undo what they did
    parent_id: str | None = None  # what the CRM calls the major case that the case belongs to, or leaves


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a CRM can do, as far as the engine decides by it."""

    lookup: Literal["strong", "eventual", "scan", "none"] = "none"
    lookup_lag_s: float = 0.0  # how long "not found" means nothing after a create
    max_in_flight: int = 8
    completes: bool = False  # delivering to a record that was found mends what it lacks
    unites: bool = (
        False  # of several records that were found the first is kept, and delivering to it puts away the others
    )


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an endpoint could be delivered to now, found out without delivering anything."""

    ok: bool
    detail: str


class CrmAdapter(Protocol):
    """The way to one endpoint; made once per endpoint by an `AdapterFactory`."""

    @property
    def capabilities(self) -> Capabilities:
        """What the CRM can do."""
        ...

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Tell the CRM; every answer and every failure is an outcome."""
        ...

    async def find_case(self, key: str) -> Sequence[str]:
        """Every external id that the CRM holds under a case's key: none, one, or a conflict. Raises Retryable."""
        ...

    async def health(self) -> Health:
        """Look whether the endpoint could be delivered to."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class Rationed(Protocol):
    """An adapter that keeps below a limit, which all endpoints of one account use up together, in all processes."""

    @property
    def account(self) -> str:
        """Whose limit it is."""
        ...

    @property
    def budget(self) -> Any:
        """What is left of it."""
        ...

    def join(self, budget: Any, /) -> None:
        """Count with another adapter of the same account, whose budget this is."""
        ...


@dataclass(frozen=True, slots=True)
class RecordChange:
    """One record, as a hook or an answer describes it; `case_id` or `external_id` says which."""

    case_id: str | None
    external_id: str | None
    status: CallbackStatus
    outcome: AgentOutcome | None = None
    version: int | None = None  # rises with each change on the CRM's side
    customer_said: str = ""  # of the fault, in an agent's words
    word: str = field(default="", compare=False)  # the CRM's own, of which `status` is the meaning
    may_be_duplicate: bool = field(default=False, compare=False)  # if it is not the case's known record, it is one


@dataclass(frozen=True, slots=True)
class Audit:
    """What a CRM has of one case."""

    records: int  # how many bear the case's id
    external_id: str | None = None  # of the only one
    fields: Sequence[str] = ()  # what is not as it was told, in words
    is_closed: bool | None = None  # None: it does not say


@runtime_checkable
class Audited(Protocol):
    """An adapter whose records can be looked at."""

    async def audit(self, delivery: Delivery, *, is_live: bool) -> Audit:
        """Hold a record against what would be delivered of a case now; nothing is written. Raises Retryable."""
        ...


@dataclass(frozen=True, slots=True)
class Hook:
    """One request of a CRM's to us."""

    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict[str, str])


class Inbound(Protocol):
    """A CRM's own hooks."""

    def verify(self, hook: Hook, now_s: float) -> str:
        """Believe a hook, and name its delivery. Raises BadSignature, and nothing else."""
        ...

    def read(self, body: bytes) -> Sequence[RecordChange]:
        """The changes that a believed hook tells; none where it tells nothing of interest. Raises ValueError."""
        ...


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The one answer after which a CRM does not tell the same again."""

    media_type: str
    body: bytes


@runtime_checkable
class Acknowledging(Protocol):
    """An `Inbound` whose CRM wants more than a 2xx."""

    @property
    def acknowledgement(self) -> Acknowledgement:
        """What it wants to read."""
        ...


@runtime_checkable
class Hooked(Protocol):
    """What an `AdapterFactory` may be besides: the one who knows the CRM's own hooks."""

    def open_inbound(self, settings: EndpointSettings, /) -> Inbound | None:
        """The hooks of an endpoint; None where it calls back after Standard Webhooks. Raises ConfigError."""
        ...


News = TypeVar("News")


@dataclass(frozen=True, slots=True)
class Answered(Generic[News]):
    """A piece of an answer that may be too long to be had at once."""

    told: Sequence[News]
    place: object | None = None  # where it goes on, as the adapter itself knows it; None: that was all
    until_s: float | None = None  # all that changed before is told by now, though there be more


@runtime_checkable
class Polled(Protocol):
    """An adapter that can be asked what has changed."""

    @property
    def poll_every_s(self) -> float | None:
        """Real seconds between questions; None for never."""
        ...

    async def changes_since(self, since_s: float, place: object | None = None, /) -> Answered[RecordChange]:
        """Records that changed since an instant, as they stand now: the first of them, or on from a place.

        A bounded number at once. Raises Retryable.
        """
        ...


@runtime_checkable
class TellsOfOwners(Protocol):
    """An adapter that can tell whom others contacted, and for whom people work."""

    @property
    def owners_every_s(self) -> float | None:
        """Real seconds between questions; None for never."""
        ...

    async def owner_news_since(self, since_s: float, place: object | None = None, /) -> Answered[OwnerNews]:
        """What happened to owners since an instant, or on from a place; the same may be told again. Raises Retryable.

        A bounded number at once.
        """
        ...


AdapterFactory = Callable[[EndpointSettings], CrmAdapter]
"""What the entry points of `careloop.crm_adapters` name; raises ConfigError."""
