"""Pages by cursor: stable while rows are added, and cheap at any depth."""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from fastapi import HTTPException, Query
from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")
Found = TypeVar("Found")

_NUMBERS: Final = 2**63
Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many items.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before; leave out for the first page.")]


class Page(BaseModel, Generic[Item]):
    """Some items, and the cursor of the next page: null on the last one."""

    model_config = ConfigDict(
        json_schema_extra={"description": "Some items, and the cursor of the next page: null on the last one."}
    )

    items: list[Item]
    next: str | None


def cut(found: Sequence[Found], limit: int) -> tuple[Sequence[Found], Found | None]:
    """Of at most one more than `limit` rows those of the page, and its last one where there is a next page."""
    return found[:limit], found[limit - 1] if len(found) > limit else None


def page_of(
    items: Iterable[Item], key: Callable[[Item], tuple[str | int, ...]], cursor: str | None, limit: int
) -> Page[Item]:
    """A page of a list that is short enough to be read whole, in the order of its keys. Raises HTTPException 422."""
    ordered = sorted(items, key=key)
    kinds = (type(part) for part in key(ordered[0])) if ordered else ()
    after = decode_cursor(cursor, *kinds) if ordered else None
    rest = ordered if after is None else [each for each in ordered if key(each) > tuple(after)]
    end = encode_cursor(*key(rest[limit - 1])) if len(rest) > limit else None
    return Page(items=rest[:limit], next=end)


def encode_cursor(*key: str | int) -> str:
    """An opaque cursor for the last row of a page."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type[str] | type[int]) -> list[str | int] | None:
    """The key that a cursor stands for, checked against the kinds of its parts. Raises HTTPException 422."""
    if cursor is None:
        return None
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[str | int])
    except (binascii.Error, msgspec.DecodeError, ValueError, UnicodeError) as error:
        raise _unusable() from error
    if [type(part) for part in key] != list(kinds):
        raise _unusable()
    if any(abs(part) >= _NUMBERS if isinstance(part, int) else "\0" in part for part in key):
        raise _unusable()
    return key


def moment_of(ts_us: int) -> datetime:
    """The moment that a cursor's microseconds name. Raises HTTPException 422 where there is none such."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts_us)
    except OverflowError as error:
        raise _unusable() from error


def _unusable() -> HTTPException:
    return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "the cursor is not one that this API gave out")
