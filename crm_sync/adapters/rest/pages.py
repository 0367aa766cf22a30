"""Goes through a listing page by page, and knows where to go on when there is more than is read at once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from crm_sync.adapters.rest.calls import Listing
from crm_sync.adapters.rest.instants import parse_instant_s
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up

EMPTY_STEPS: Final = 5
"""Whole steps in a row without an item after which pages are taken to lead on for ever."""

_MOST_BACK: Final = 10  # pages that a listing may have shrunk by while nobody looked; beyond, it is read from its start


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listing goes on; opaque to all others."""

    page: int | None = None
    cursor: Json = None
    offset: int = 0
    path: str = ""
    seen: frozenset[bytes] = frozenset()  # the pages read so far: a CRM that ignores the number brings the first again
    last: tuple[bytes, ...] = ()  # the items of the last page that was read
    empty: int = 0  # steps in a row that brought nothing

    def facts(self) -> dict[str, Json]:
        """What a question says of it."""
        return {"page": self.page, "cursor": self.cursor, "offset": self.offset}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer, and where the next one is to be had; None where the listing ends."""

    items: Sequence[Json]
    following: Place | None


class Turns(Protocol):
    """Who asks for one page."""

    async def turn(self, name: str, call: Listing, values: Values, path: str) -> tuple[Sequence[Json], str, Json]:
        """The items, the path of the next page and its cursor; nothing of these where there is none."""
        ...


async def read_page(turns: Turns, name: str, call: Listing, values: Values, place: Place) -> Page:
    """One page. Raises CallFailed."""
    told = replace(values, facts={**values.facts, **place.facts()})
    items, path, cursor = await turns.turn(name, call, told, place.path)
    mark = _mark(items)
    if mark in place.seen or not (items or call.is_led):
        return Page([], None)
    following = replace(
        place,
        page=None if place.page is None else place.page + 1,
        cursor=cursor,
        offset=place.offset + len(items),
        path=path,
        seen=place.seen | {mark} if items else place.seen,
        last=tuple(_mark(item) for item in items),
        empty=0 if items else place.empty,
    )
    is_over = place.page is None and not path and cursor is None and not call.by_offset
    return Page(items, None if is_over else following)


async def read_some(
    turns: Turns, name: str, call: Listing, values: Values, place: Place | None
) -> tuple[list[Json], Place | None]:
    """As many pages as may be read at once, and where to go on; None where that was all. Raises CallFailed."""
    gathered: list[Json] = []
    following: Place | None = Place(page=call.page_from)
    if place is not None:
        page = await _find_again(turns, name, call, values, place)
        gathered, following = list(page.items), page.following
    for _ in range(call.most_pages):
        if following is None:
            return gathered, None
        page = await read_page(turns, name, call, values, following)
        gathered += page.items
        following = page.following
    if following is None or gathered:
        return gathered, following
    return gathered, replace(following, empty=following.empty + 1)


async def _find_again(turns: Turns, name: str, call: Listing, values: Values, place: Place) -> Page:
    """Where a listing goes on that has stood still for a while. Raises CallFailed.

    What changes moves to the end of a listing in order of change, and all that stood behind it moves up by one: by
    number, as many would be passed over. So it is gone back to the last page of before, or to where its items are now.
    """
    if not place.last or (place.page is None and not call.by_offset):
        return Page([], place)  # the CRM itself keeps the place
    start, wide = call.page_from or 0, len(place.last)
    for back in range(1, _MOST_BACK + 1):
        page = None if place.page is None else place.page - back
        offset = place.offset - back * wide
        if (page is not None and page < start) or (page is None and offset < 0):
            break
        earlier = replace(place, page=page, offset=max(offset, 0), seen=frozenset())
        found = await read_page(turns, name, call, values, earlier)
        if {_mark(item) for item in found.items} & set(place.last):
            return found
    return Page([], Place(page=call.page_from))


def ordered_until_s(expression: str, items: Sequence[Json]) -> float | None:
    """The last item's instant, where all bear one and none is later than that of the one behind it; None elsewhere."""
    instants = [parse_instant_s(as_text(look_up(expression, item))) for item in items]
    known = [each for each in instants if each is not None]
    return known[-1] if known and len(known) == len(items) and known == sorted(known) else None


def _mark(shown: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(shown), digest_size=16).digest()
