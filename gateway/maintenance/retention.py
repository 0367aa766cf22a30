"""Retention: what was stored too long ago goes, in whole partitions where it can, else in small batches.

It goes by when something was stored, never by device time: a backlog of years ago that came in yesterday is new.
Whatever goes is counted in `pipeline_counter`, under `retired_` and its purpose.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import AsyncConnection, sql
from psycopg.errors import LockNotAvailable, UndefinedTable
from psycopg.rows import TupleRow

from crm_sync.delivery.retire import count_delivered, delete_callbacks, delete_delivered
from crm_sync.owners.retire import count_said, delete_said
from gateway.maintenance.community import kind_of
from gateway.maintenance.retention_queries import (
    AGE_COLUMN,
    Part,
    age_of,
    count_old_quarantine,
    delete_due,
    delete_old_quarantine,
    drop_part,
    erase_device,
    is_compressed,
    parts_of,
    removed_devices,
    stored_before,
)
from gateway.maintenance.rollups import find_rollups
from gateway.maintenance.sessions import maintaining
from gateway.maintenance.settings import RetentionSettings
from gateway.store.queries import add_counters
from gateway.store.tables import read_tables

Connection = AsyncConnection[TupleRow]

AT_ONCE: Final = 5000
_DEVICES_AT_ONCE: Final = 500
_OF_DEVICES: Final = (
    "device_event",
    "device_status",
    "quarantine",
    "raw_message",
    "reading_fill",
    "device_counter",
    "firmware_history",
    "device_command",
    "device_owner",
    "device_parting",
    "forgotten_device",
)


@dataclass(frozen=True, slots=True)
class Due:
    """Rows that are kept no longer."""

    purpose: str  # the setting's name
    table: str
    part: Part | None  # what they lie in, where that is known
    rows: int
    is_whole: bool = False  # nothing else lies in it
    model: str | None = None
    mark: int = 0  # up to which batch
    before: datetime | None = None  # where there is no batch


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose, how long, as of when; a columnstore's chunks go as a whole or not at all."""

    tenant_id: str
    kept: RetentionSettings
    now: datetime
    has_columnstore: bool = False

    def before(self, span_s: float | None) -> datetime | None:
        """The moment before which what is kept for so long has to go; None: it is kept for ever."""
        longest_s = (self.now - datetime.min.replace(tzinfo=UTC)).total_seconds()
        return self.now - timedelta(seconds=span_s) if span_s and span_s < longest_s else None


async def find_due(conn: Connection, terms: Terms) -> list[Due]:
    """What has to go now; changes nothing."""
    found: list[Due] = []
    rollups = {tables.model: tables for tables in await find_rollups(conn)}
    for table in await read_tables(conn):
        kept = terms.kept.of(table.model)
        found += await _due_parts(conn, terms, Due("readings", table.name, None, 0, model=table.model), kept.readings)
        rolled = rollups.get(table.model)
        if rolled is not None:
            found += await _due_parts(conn, terms, Due("hourly", rolled.hour, None, 0, model=table.model), kept.hourly)
            found += await _due_parts(conn, terms, Due("daily", rolled.day, None, 0, model=table.model), kept.daily)
    for name in ("device_event", "device_status"):
        found += await _due_parts(conn, terms, Due("events", name, None, 0), terms.kept.events)
    found += await _due_elsewhere(conn, terms)
    return found


async def _due_parts(conn: Connection, terms: Terms, due: Due, span_s: float | None) -> list[Due]:
    before = terms.before(span_s)
    mark = 0 if before is None else await stored_before(conn, before)
    if not mark:
        return []
    found: list[Due] = []
    is_divided = due.purpose != "events"
    whole = Part(due.table, sql.Identifier(due.table))
    for part in await parts_of(conn, due.table) if is_divided else [whole]:
        age = await age_of(conn, part, _age_column(due.purpose), mark)
        is_whole = is_divided and not age.has_others
        is_fixed = not is_whole and terms.has_columnstore and part.is_chunk and await is_compressed(conn, part)
        if age.due and not is_fixed:
            found.append(Due(due.purpose, due.table, part, age.due, is_whole, due.model, mark))
    return found


def _age_column(purpose: str) -> AGE_COLUMN:
    return "through_seq" if purpose in {"hourly", "daily"} else "batch_seq"


async def _due_elsewhere(conn: Connection, terms: Terms) -> list[Due]:
    found: list[Due] = []
    before = terms.before(terms.kept.quarantine)
    if before is not None:
        rows = await count_old_quarantine(conn, before)
        found.append(Due("quarantine", "quarantine", None, rows, before=before))
    before = terms.before(terms.kept.deliveries)
    if before is not None:
        found.append(Due("deliveries", "outbox_message", None, await count_delivered(conn, before), before=before))
    before = terms.before(terms.kept.owners)
    if before is not None:
        found.append(Due("owners", "owner_contact", None, await count_said(conn, before), before=before))
    if terms.kept.removed_devices:
        devices = await removed_devices(conn, terms.kept.removed_devices, _DEVICES_AT_ONCE)
        found.append(Due("removed_devices", "device", None, len(devices)))
    return [due for due in found if due.rows]


async def retire(conn: Connection, terms: Terms, due: Due) -> int:
    """Let go what is due, in small transactions, each counted; how many rows went.

    What somebody is reading right now stays until the next time.
    """
    if due.purpose == "removed_devices":
        return await _erase(conn, terms)
    if due.part is not None and due.is_whole:
        return await _drop(conn, terms, due)
    if due.part is not None:
        return await _in_batches(conn, terms, due, lambda: _delete_due(conn, due))
    if due.purpose == "quarantine":
        return await _in_batches(conn, terms, due, lambda: _delete_quarantine(conn, due))
    if due.purpose == "owners":
        return await _in_batches(conn, terms, due, lambda: _delete_said(conn, due))
    return await _in_batches(conn, terms, due, lambda: _delete_delivered(conn, due))


async def _drop(conn: Connection, terms: Terms, due: Due) -> int:
    assert due.part is not None
    try:
        async with maintaining(conn):
            if not await drop_part(conn, due.part, _age_column(due.purpose), due.mark):
                return 0
            await _count(conn, terms, due.purpose, due.rows)
    except (LockNotAvailable, UndefinedTable):  # in use, or let go by another round since it was found
        return 0
    return due.rows


async def _in_batches(conn: Connection, terms: Terms, due: Due, delete: Callable[[], Awaitable[Counter[str]]]) -> int:
    rows = 0
    while True:
        started_s = asyncio.get_running_loop().time()
        async with maintaining(conn):
            gone = await delete()
            for name, count in gone.items():
                await _count(conn, terms, name, count)
        rows += gone[due.purpose]
        if gone[due.purpose] < AT_ONCE:
            return rows
        await asyncio.sleep(asyncio.get_running_loop().time() - started_s)  # half of the time is for others


async def _delete_due(conn: Connection, due: Due) -> Counter[str]:
    assert due.part is not None
    return Counter({due.purpose: await delete_due(conn, due.part, _age_column(due.purpose), due.mark, AT_ONCE)})


async def _delete_quarantine(conn: Connection, due: Due) -> Counter[str]:
    assert due.before is not None
    reasons = await delete_old_quarantine(conn, due.before, AT_ONCE)
    return Counter(f"quarantine_{reason}" for reason in reasons) + Counter(quarantine=len(reasons))


async def _delete_delivered(conn: Connection, due: Due) -> Counter[str]:
    assert due.before is not None
    rows = await delete_delivered(conn, due.before, AT_ONCE)
    return Counter(deliveries=rows + await delete_callbacks(conn, due.before, AT_ONCE))


async def _delete_said(conn: Connection, due: Due) -> Counter[str]:
    assert due.before is not None
    return Counter(owners=await delete_said(conn, due.before, AT_ONCE))


async def _erase(conn: Connection, terms: Terms) -> int:
    devices = await removed_devices(conn, terms.kept.removed_devices, _DEVICES_AT_ONCE)
    readings = [table.name for table in await read_tables(conn)]
    # Also from what is rolled up no longer; a continuous aggregate follows its readings by itself.
    rolled = [name for one in await find_rollups(conn) for name in (one.hour, one.day)]
    rollups = [name for name in rolled if await kind_of(conn, name) in {"r", "p"}]
    for device_id in devices:
        async with maintaining(conn):
            rows = await erase_device(conn, device_id, readings, [*rollups, *_OF_DEVICES])
            await _count(conn, terms, "removed_devices", 1)
            await _count(conn, terms, "removed_devices_readings", rows)
    return len(devices)


async def _count(conn: Connection, terms: Terms, purpose: str, rows: int) -> None:
    await add_counters(conn, terms.tenant_id, {f"retired_{purpose}": rows})
