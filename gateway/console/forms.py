"""Fields of forms as the domain wants them; whoever sends something else is told which field it was."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from fastapi import HTTPException

from devices.clock import within_reach

MOST_TEXT: Final = 1000
MOST_NAME: Final = 300


def text_of(fields: Mapping[str, str], name: str, most: int = MOST_TEXT) -> str:
    """What was written, without the blanks around it; empty where nothing was. Raises HTTPException for a NUL."""
    text = fields.get(name, "").strip()
    if "\0" in text:
        raise unusable(name)
    return text[:most]


def needed_text(fields: Mapping[str, str], name: str, most: int = MOST_TEXT) -> str:
    """What was written, which must be something. Raises HTTPException."""
    text = text_of(fields, name, most)
    if not text:
        raise unusable(name)
    return text


def moment_of(fields: Mapping[str, str], name: str) -> datetime | None:
    """A moment; None where the field was left empty. Raises HTTPException.

    The browser puts the moment in UTC into a second field of the name with ``_utc`` behind it; without scripts what was
    written is UTC, and the page says so.
    """
    text = fields.get(f"{name}_utc", "").strip() or fields.get(name, "").strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return within_reach(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise unusable(name) from error


def seconds_of(fields: Mapping[str, str], name: str, allowed: Mapping[str, float]) -> float:
    """A span of time that was chosen from a list. Raises HTTPException."""
    try:
        return allowed[fields.get(name, "")]
    except KeyError as error:
        raise unusable(name) from error


def unusable(name: str) -> HTTPException:
    """A field that says nothing that can be done."""
    return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, name)
