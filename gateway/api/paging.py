"""Pages by cursor: stable while rows are added, and cheap at any depth."""

import base64
import binascii
from http import HTTPStatus
from typing import Annotated, Generic, TypeVar

import msgspec
from fastapi import HTTPException, Query
from pydantic import BaseModel

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many items.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before; leave out for the first page.")]


class Page(BaseModel, Generic[Item]):
    """Some items, and the cursor of the next page: null on the last one."""

    items: list[Item]
    next: str | None


def encode_cursor(*key: str | int) -> str:
    """An opaque cursor for the last row of a page."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type[str] | type[int]) -> list[str | int] | None:
    """The key that a cursor stands for, checked against the kinds of its parts. Raises HTTPException 422."""
    if cursor is None:
        return None
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[str | int])
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise _unusable() from error
    if [type(part) for part in key] != list(kinds):
        raise _unusable()
    return key


def _unusable() -> HTTPException:
    return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "the cursor is not one that this API gave out")
