"""Waiting for a database that does not answer yet, until told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from psycopg import OperationalError

from devices.errors import Retryable
from gateway.outage import Outage

RETRY_S: Final = 1.0

Answer = TypeVar("Answer")


async def until_it_answers(
    ask: Callable[[], Awaitable[Answer]],
    stop: asyncio.Event,
    outage: Outage,
    say: Callable[[str], None] = lambda _: None,
) -> Answer | None:
    """What the database answers, asked again each second until it does; None when told to stop before that.

    `say` is told each time why it did not; the log when it begins, each minute, and when it is over.
    """
    while not stop.is_set():
        try:
            answer = await ask()
        except (Retryable, OperationalError) as error:
            says = " ".join(str(error).split())
            say(says)
            outage.goes_on(detail=says)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_S)
        else:
            outage.ends()
            return answer
    return None
