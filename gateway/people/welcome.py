"""What the first start of a gateway says, so that somebody can sign in."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.database.awaited import until_it_answers
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
    password = await until_it_answers(people.welcome, stop, Outage(log, "people.awaited", "people.known"))
    if password is not None:
        announce(f"sign in   {url} as {FIRST_ADMIN}, within a week, with the one-time password {password}")
