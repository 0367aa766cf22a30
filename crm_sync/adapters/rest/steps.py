"""Asks for what has changed in steps of bounded size, however much that is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from crm_sync.adapters.contract import Result
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.hearing import Contacts, Poll, Tickets
from crm_sync.adapters.rest.instants import write_instant
from crm_sync.adapters.rest.pages import EMPTY_STEPS, Place, ordered_until_s
from crm_sync.adapters.rest.spec import FACTS
from crm_sync.adapters.rest.template import Json, Values

_FINEST_S: Final = 1.0  # as finely as every way of writing an instant tells them apart

_REFUSED: Final = frozenset({Result.PERMANENT, Result.CONFLICT, Result.GONE})


@dataclass(frozen=True, slots=True)
class Going:
    """How far an answer of several steps has come."""

    listing: int = 0  # the how manieth of those that are asked in turn
    since_s: float | None = None  # it is asked from here by now; None: from where it began
    place: Place | None = None  # where the listing goes on; None: from its first page


async def step(
    caller: Caller,
    name: str,
    listing: Poll | Contacts | Tickets,
    maps: Mapping[str, Mapping[str, Any]],
    *,
    since_s: float,
    going: Going,
) -> tuple[list[Json], Going | None]:
    """The next items, and how far that is; None where it was all. Raises CallFailed.

    Where answers come in order of change it goes on by asking from the last instant, which no other change disturbs;
    else, and where more bear one instant than are read at once, from page to page.
    """
    asked_s = since_s - listing.overlap if going.since_s is None else going.since_s
    values = Values({**dict.fromkeys(FACTS), "since": write_instant(listing.since, asked_s)}, maps)
    await caller.admit(can_wait=True)
    try:
        items, place = await caller.some(name, listing, values, going.place)
    except CallFailed as failed:
        if going.place is None or failed.outcome.result not in _REFUSED:
            raise
        items, place = await caller.some(name, listing, values)  # the CRM keeps that place no longer
    if place is None or place.empty >= EMPTY_STEPS:
        return items, None
    reached_s = ordered_until_s(listing.in_order_of, items) if listing.in_order_of else None
    if reached_s is not None and reached_s > asked_s + _FINEST_S:
        return items, replace(going, since_s=reached_s, place=None)
    return items, replace(going, place=place)
