"""The calls that a helpdesk's TOML file may describe: one request each, and what its answer is worth."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field

from crm_sync.adapters.rest.documents import Format
from crm_sync.adapters.rest.section import Section
from crm_sync.adapters.rest.template import Json, check_path, places
from devices.profiles.model import SpanS

_MOST_PAGES: Final = 200


def _several(value: object) -> object:
    return (value,) if isinstance(value, int) else value


def path_inside(path: str) -> str:
    """The path itself. Raises ValueError where it could lead elsewhere."""
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


class Call(Section):
    """One request."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Annotated[str, AfterValidator(path_inside)]
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: Any = None  # tables, arrays and texts with places
    omit_null: bool = False  # what would be null in the body's tables is left out
    format: Literal["json", "form", "multipart", "binary"] = "json"  # the last two send the picture itself
    file_field: str = "file"  # of `multipart`: which field the picture is
    json_fields: Sequence[str] = ()  # fields of the body that are sent as JSON in a text
    answers: Format = "json"
    success: Statuses = tuple(range(200, 300))  # statuses of it
    expect: Expression | None = None  # must be there, and neither false nor empty, in the answer

    @property
    def only_asks(self) -> bool:
        """Whether it changes nothing, whatever its method: some helpdesks search by POST."""
        return True

    def places(self) -> Iterator[tuple[str, str | None]]:
        """The first name of each place, and its map. Raises ValueError for what is no place."""
        checked = cast("Json", dict(getattr(self, "check", {})))
        templates: list[Json] = [self.path, dict(self.query), dict(self.headers), self.body, checked]
        return (place for template in templates for place in places(template))

    def bears(self, name: str) -> bool:
        """Whether one of its places begins with a name."""
        return any(root == name for root, _ in self.places())


class Write(Call):
    """A request that changes something."""

    @property
    def only_asks(self) -> bool:
        """It does not."""
        return False

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    idempotency_header: str = ""  # carries an id that is the same in every attempt


class Making(Write):
    """A request that makes something, and whose answer may say what that is called."""

    id: Expression | None = None  # in the answer…
    id_header: str = ""  # …or in this header of it, such as Location…
    id_pattern: Pattern = r"([^/]+)/?$"  # …where the first group is what it is called


class Create(Making):
    """Makes the record; a call that updates the one which is there under the case's id is welcome."""


class Listing(Call):
    """A request that gives several things, perhaps on several pages."""

    items: Expression = "@"
    page_from: int | None = None  # {page} starts here, and rises until a page is empty or brings nothing new
    by_offset: bool = False  # {offset} is how many items came before, until a page is empty or brings nothing new
    next: Expression | None = None  # in the answer: the address of the next page…
    next_link: bool = False  # …or in its header Link, as rel="next"…
    cursor: Expression | None = None  # …or what {cursor} is to be in the next question
    nothing: Statuses = ()  # statuses that mean that there is none
    most_pages: Annotated[int, Field(ge=1, le=_MOST_PAGES)] = 20

    @property
    def is_led(self) -> bool:
        """Whether answers say if there is more: one without items, which `items` may have left out, is not the end."""
        return bool(self.next or self.next_link) and self.page_from is None and not self.by_offset


class Find(Listing):
    """Looks for the record under the case's id."""

    id: Expression = "id"
    key: Expression | None = None  # in an item: must be the case's id; a CRM that ignores the filter finds everything
    reads: bool = False  # `key` is not in the item but in the record, which `read` then looks at
    lag: Annotated[SpanS, Field(ge=0)] = 0.0  # how long after a create "not found" means nothing
    confirm: bool = False  # asked after each create too: where nothing else hinders a second record


class Contact(Listing):
    """Looks for the owner, by the reference that the CRM gave careloop."""

    id: Expression = "id"
    required: bool = False  # without a contact no record is made
    otherwise: str | int = ""  # the contact of a product whose owner is not known, or not found


class Parent(Write):
    """Ties the record to that of the major case, however often it is said; with {parent_record} null, unties it."""

    leave: Write | None = None  # unties it, where that takes another call


class Read(Call):
    """Reads the record back, to see whether it is as it was told to be."""

    item: Expression = "@"
    id: Expression | None = None  # in the record: what it is called; another name is that of what it was merged into
    etag: Expression | None = None  # in the answer: what {etag} is; without it the header of that name
    check: Mapping[Expression, Any] = {}  # where in the record, and what must stand there, after create and update


class FindNote(Listing):
    """Looks whether a note is there already, when its answer was lost."""

    text: Expression  # in an item: holds {message_id} if it is the note, or {attachment_name} if it is the picture
    id: Expression | None = None  # in an item: what {note_id} is, for `attach`
    first: Listing | None = None  # asked before; what it lists is {listed}


class Note(Making):
    """Adds to the record, for colleagues: it should neither reopen it nor be seen by the customer."""

    find: FindNote | None = None
    attach: Write | None = (
        None  # ties {note_id} to the record, where that takes another call; made twice, it counts once
    )
    before_status: bool = False  # for helpdesks that take no note on a closed record


class Attachment(Making):
    """Puts the picture of the evidence into the record; that it fails never stops a case."""

    find: FindNote | None = None  # whether it is there already; without it nothing is tried twice
    attach: Write | None = None  # ties {attachment_id} to the record, where that takes another call


class Status(Write):
    """Moves the record; as `end`, moves it when the case is over, where that takes another call."""

    check: Mapping[Expression, Any] = {}  # as in `read`, after the move


class Duplicate(Write):
    """Puts away a second record of a case, which a race has made: merges it into {kept_record}, or closes it."""

    done: Expression  # in an item of `find`, or in the record where that is read: found in those that are put away


class Check(Call):
    """Something that must be so before the first case is sent: `crm check` asks."""

    says: str  # what is looked for, in words
    values: Expression | None = None  # in the answer
    hold: Sequence[str] = ()  # these must be among `values`
    hold_map: str = ""  # every word of this map must be
