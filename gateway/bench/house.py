"""A house as large as it gets, for asking it things: millions of readings, thousands of devices, owners and cases."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from devices.credentials import hash_generated
from devices.ids import partition_of
from devices.profiles import load_profiles
from gateway.bench import queries
from gateway.bench.house_queries import FILL, NUMBER_DEVICES
from gateway.bench.reads import PUT_BATCH
from gateway.bench.rows import INTERVAL_S, MODEL, PASSWORD, Fleet, readings
from gateway.database.migrate import migrate
from gateway.maintenance.in_order import InOrder
from gateway.maintenance.rollups import OwnRollups
from gateway.maintenance.sessions import connect
from gateway.store.readings import copy_readings
from gateway.store.store import Store

Connection = AsyncConnection[TupleRow]
Say = Callable[[str], None]

DAYS: Final = 90
DAY_S: Final = 86_400
HOUR_S: Final = 3600
MOST_LIVE: Final = 5000
ENDED_PER_LIVE: Final = 4
_LARGE: Final = 2_000_000  # readings, from which on they are stored by quarters of a day
_FILLED: Final = "filled.json"


@dataclass(frozen=True, slots=True)
class House:
    """How large it is: half of the readings are of devices that tell every five minutes, half of hourly ones."""

    readings: int
    busy: int  # devices that tell every five minutes
    quiet: int  # that tell every hour
    start_s: int
    live_cases: int
    ended_cases: int

    @property
    def fleets(self) -> tuple[Fleet, Fleet]:
        """The busy devices, and the quiet ones."""
        return Fleet(self.busy, self.start_s), Fleet(self.quiet, self.start_s, interval_s=HOUR_S, first=self.busy)

    @property
    def step_s(self) -> int:
        """How much of a fleet's time is stored as one batch."""
        return DAY_S // 4 if self.readings >= _LARGE else 5 * DAY_S

    @property
    def device_ids(self) -> list[str]:
        """Of all devices, the busy ones first."""
        return [each for fleet in self.fleets for each in fleet.device_ids]


def plan_house(rows: int, now_s: float) -> House:
    """A house of so many readings that ends with the present hour."""
    busy = max(rows // 2 // (DAYS * DAY_S // INTERVAL_S), 1)
    quiet = max(rows // 2 // (DAYS * DAY_S // HOUR_S), 1)
    start_s = int(now_s) // HOUR_S * HOUR_S - DAYS * DAY_S
    live = min(busy + quiet, MOST_LIVE)
    total = DAYS * DAY_S * (busy * HOUR_S + quiet * INTERVAL_S) // (INTERVAL_S * HOUR_S)
    return House(total, busy, quiet, start_s, live, ENDED_PER_LIVE * live)


def find_house(folder: Path) -> House | None:
    """The house that a folder holds, whole; None where it holds none."""
    try:
        return House(**json.loads((folder / _FILLED).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def remember_house(folder: Path, house: House) -> None:
    """Note that the folder's database holds all of it."""
    (folder / _FILLED).write_text(json.dumps(asdict(house)), "utf-8")


def fill_house(url: str, house: House, say: Say) -> None:
    """Fill an empty database."""
    asyncio.run(migrate(url))
    asyncio.run(_fill_readings(url, house, say))
    ids = house.device_ids
    values = {
        "now": to_datetime(house.start_s + DAYS * DAY_S),
        "devices": len(ids),
        "live": house.live_cases,
        "ended": house.ended_cases,
        "rows": house.readings,
    }
    with psycopg.connect(url, autocommit=True) as conn:
        queries.register(
            conn, {each: partition_of(each) for each in ids}, 0, hash_generated(PASSWORD), with_assets=True
        )
        _ = conn.execute(NUMBER_DEVICES, {"device_ids": ids})
        for number, statement in enumerate(FILL):
            say(f"cases and what belongs to them: {100 * number // len(FILL)} %")
            _ = conn.execute(statement, values)
        queries.forget_fill(conn)
        say("vacuuming")
        queries.tidy(conn)
        queries.checkpoint(conn)


async def _fill_readings(url: str, house: House, say: Say) -> None:
    profiles = {name: profile for name, profile in load_profiles().items() if name in {MODEL, "automatic"}}
    store = Store(url, profiles, structlog.get_logger())
    conn = await store.open()
    steps = DAYS * DAY_S // house.step_s
    for step in range(steps):
        say(f"storing readings: {100 * step // steps} %")
        for place, fleet in enumerate(house.fleets):
            turns = house.step_s // fleet.interval_s
            await _store(conn, store, fleet, range(step * turns, (step + 1) * turns), 2 * step + place + 1)
    async with await connect(url) as maintenance:
        rollups, slices = OwnRollups(profiles, time.perf_counter), 0
        while await rollups.advance(maintenance):
            slices += 1
            say(f"rolling up: slice {slices}")
        order, now = InOrder(), to_datetime(house.start_s + DAYS * DAY_S)
        while await order.advance(maintenance, rollups.models, now):
            say("putting in order what is rolled up")
    await store.close()


async def _store(conn: Connection, store: Store, fleet: Fleet, turns: range, batch_seq: int) -> None:
    """Some turns of a fleet, as a batch of its own."""
    table = store.tables[MODEL]
    told = readings(fleet, fleet.block(turns.start, len(turns)), table)
    await store.divider.make_room(conn, table.name, told.ts_us)
    async with conn.transaction():
        await copy_readings(conn, told, batch_seq)
        await conn.execute(PUT_BATCH, (batch_seq, len(told)))
