"""Journeys of many cases, kept for a moment: a page that is looked at all day asks the database once a minute."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from crm_sync.journey.model import GroupBy, Journey, Stage
from crm_sync.journey.queries import Period

MANY: Final = 1000
"""Of fewer cases the journey is read anew each time."""

KEPT_FOR: Final = timedelta(minutes=1)
"""On the gateway's clock; what a journey says of itself ends when it was read."""

_MOST: Final = 64


@dataclass(slots=True)
class _Shelf:
    """The last journey of one kind, and the turn of those who want it."""

    journey: Journey | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeptJourneys:
    """The journeys up to now of tenants, by how long their period is and how they are grouped."""

    def __init__(self) -> None:
        self._shelves: OrderedDict[tuple[str, timedelta, GroupBy], _Shelf] = OrderedDict()

    async def get(self, asked: Period, by: GroupBy, read: Callable[[], Awaitable[Journey]]) -> Journey:
        """The journey of a period that ends now: a kept one, or what `read` brings; asked for once at a time."""
        key = (asked.tenant_id, asked.until - asked.since, by)
        shelf = self._shelves.setdefault(key, _Shelf())
        self._shelves.move_to_end(key)
        while len(self._shelves) > _MOST:
            _ = self._shelves.popitem(last=False)
        async with shelf.turn:
            if shelf.journey is None or not _is_fresh(shelf.journey, asked.until):
                shelf.journey = await read()
            return shelf.journey


def _is_fresh(journey: Journey, now: datetime) -> bool:
    is_recent = timedelta(0) <= now - journey.until <= KEPT_FOR
    return is_recent and journey.whole.stages[Stage.OPENED] >= MANY
