"""What the first start of a gateway says, so that somebody can sign in."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from psycopg import OperationalError

from gateway.database.hold import RETRY_S
from gateway.doors.sparing import Log
from gateway.outage import Outage
from gateway.people.people import FIRST_ADMIN


class Newcomers(Protocol):
    """Who may sign in, as far as the first start is concerned."""

    async def welcome(self) -> str | None:
        """The one-time password of the first admin, made at the first start; None at every other."""
        ...


async def welcome(people: Newcomers, url: str, announce: Callable[[str], None], stop: asyncio.Event, log: Log) -> None:
    """At the first start, say how the first admin gets in, once the database answers; there is no default password."""
    outage = Outage(log, "people.awaited", "people.known")
    while not stop.is_set():
        try:
            password = await people.welcome()
        except OperationalError as error:
            outage.goes_on(error=type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_S)
        else:
            outage.ends()
            if password is not None:
                announce(f"sign in   {url} as {FIRST_ADMIN}, within a week, with the one-time password {password}")
            return
