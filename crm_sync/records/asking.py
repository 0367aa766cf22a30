"""Asks a CRM again and again, whatever comes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from devices.errors import Retryable

LONGEST_WAIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Troubles:
    """What is logged when nothing comes of it."""

    not_asked: str
    database_unavailable: str
    failed: str


async def keep_asking(
    ask: Callable[[], Awaitable[object]], every_s: float, troubles: Troubles, log: structlog.typing.FilteringBoundLogger
) -> None:
    """Ask until cancelled, later where the CRM says so."""
    while True:
        wait_s = every_s
        try:
            await ask()
        except Retryable as error:
            log.warning(troubles.not_asked, reason=error.reason)
            wait_s = min(max(every_s, error.retry_after_s or 0.0), LONGEST_WAIT_S)
        except (psycopg.Error, PoolTimeout, OSError) as error:
            log.warning(troubles.database_unavailable, error=type(error).__name__)
        except Exception:  # the supervisor's boundary: one endpoint must not stop the others
            log.exception(troubles.failed)
        await asyncio.sleep(wait_s)
