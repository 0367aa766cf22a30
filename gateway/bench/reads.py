"""Reads at the size of a real store: one device over a day and over 90, the fleet by hour, each with its plan."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, LiteralString, cast

import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow
from rich.console import Console
from rich.table import Table

from devices.clock import to_datetime
from devices.profiles import load_profiles
from gateway.api.device_queries import readings_statement
from gateway.bench.rows import INTERVAL_S, METRICS, MODEL, Fleet, readings
from gateway.bench.services import database_server, work_folder
from gateway.bench.stage import new_database
from gateway.database.embedded import EmbeddedPostgres
from gateway.database.migrate import migrate
from gateway.database.provisioned import Provisioned
from gateway.maintenance.rollups import OwnRollups
from gateway.maintenance.sessions import connect
from gateway.maintenance.usage import UsageTable, find_usage, fleet_statement, usage_statement
from gateway.store.readings import copy_readings
from gateway.store.store import Store

Connection = AsyncConnection[TupleRow]
Say = Callable[[str], None]

DAYS: Final = 90
READINGS_A_DAY: Final = 86_400 // INTERVAL_S
_BLOCK: Final = 50_000
_FIRST_RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class ReadsPlan:
    """How much is read from, and how often."""

    rows: int = 20_000_000
    repeats: int = 100
    seed: int = 1


@dataclass(frozen=True, slots=True)
class ReadFigures:
    """One question, asked about one device after the other."""

    p50_ms: float
    p95_ms: float
    rows: int  # in an answer
    plan: str
    buffers: int  # pages of 8 kB that the planned one touched


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What one edition of the database makes of it."""

    database: str
    rows: int
    devices: int
    megabytes: float
    rollup_megabytes: float
    load_rows_per_s: float
    rollup_rows_per_s: float
    reads: Mapping[str, ReadFigures]


@dataclass(frozen=True, slots=True)
class ReadsFigures:
    """What `careloop bench reads` found, by edition."""

    editions: Sequence[StoreFigures]


def run_reads(plan: ReadsPlan, programs: Provisioned | None, say: Say) -> ReadsFigures:
    """Fill a store of each edition that is there, one after the other, and read from it."""
    found: list[StoreFigures] = []
    for each in (None, programs) if programs else (None,):
        with work_folder() as folder, database_server(folder, each) as server:
            found.append(asyncio.run(_of_edition(plan, server, folder, say)))
    return ReadsFigures(found)


async def _of_edition(plan: ReadsPlan, server: EmbeddedPostgres, folder: Path, say: Say) -> StoreFigures:
    del folder
    url = await asyncio.to_thread(new_database, server, "reads")
    await migrate(url)
    profiles = {name: profile for name, profile in load_profiles().items() if name in {MODEL, "automatic"}}
    store = Store(url, profiles, structlog.get_logger())
    conn = await store.open()
    assert store.edition is not None
    fleet = Fleet(max(plan.rows // (DAYS * READINGS_A_DAY), 1), _start_s(), plan.seed)
    started_s = time.perf_counter()
    rows = await _load(conn, store, fleet, say)
    loaded_s = time.perf_counter()
    async with await connect(url) as maintenance:
        await _roll_up(maintenance, OwnRollups(profiles, time.perf_counter), say)
        rolled_s = time.perf_counter()
        say("vacuuming")
        await maintenance.execute("VACUUM (ANALYZE)")
        (table,) = [one for one in await find_usage(maintenance, METRICS) if one.model == MODEL]
    say("reading")
    async with await AsyncConnection.connect(url, autocommit=True, options="-c timezone=UTC") as reader:
        reads = {
            name: await _measure(reader, question, plan, fleet)
            for name, question in _questions(table, readings_statement(store.tables[MODEL])).items()
        }
        figures = StoreFigures(
            database=store.edition.describe(),
            rows=rows,
            devices=fleet.senders,
            megabytes=await megabytes(reader, table.source),
            rollup_megabytes=await megabytes(reader, table.hour) + await megabytes(reader, table.day),
            load_rows_per_s=rows / (loaded_s - started_s),
            rollup_rows_per_s=rows / (rolled_s - loaded_s),
            reads=reads,
        )
    await store.close()
    return figures


def _start_s() -> int:
    """The start of the UTC day 90 days before this one."""
    return (int(time.time()) // 86_400 - DAYS) * 86_400


async def _load(conn: Connection, store: Store, fleet: Fleet, say: Say) -> int:
    """Store what the fleet tells in 90 days, in the order of time."""
    table, per_device = store.tables[MODEL], DAYS * READINGS_A_DAY
    turns = max(_BLOCK // fleet.senders, 1)
    for batch_seq, first in enumerate(range(0, per_device, turns), 1):
        told = readings(fleet, fleet.block(first, min(turns, per_device - first)), table)
        await store.divider.make_room(conn, table.name, told.ts_us)
        async with conn.transaction():
            await copy_readings(conn, told, batch_seq)
            await conn.execute(PUT_BATCH, (batch_seq, len(told)))
        say(f"storing: {100 * first // per_device} %")
    return fleet.senders * per_device


# Numbered as ingest numbers them, for the rollups go by that.
PUT_BATCH: LiteralString = """
INSERT INTO batch (tenant_id, batch_seq, fence, kind, alive_s, now_s,
                   packets, stored, duplicates, filled, quarantined, events)
SELECT 'default', %s, 0, 'ingest', 0, 0, stored, stored, 0, 0, 0, 0 FROM (SELECT %s::integer AS stored) AS batch
"""


async def _roll_up(conn: Connection, rollups: OwnRollups, say: Say) -> None:
    slices = 0
    while await rollups.advance(conn):
        slices += 1
        say(f"rolling up: {slices} slices")


MEGABYTES: LiteralString = """
SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) / 1e6 FROM pg_inherits WHERE inhparent = %s::regclass
"""


async def megabytes(conn: Connection, table: str) -> float:
    """What a divided table takes, with its indexes."""
    row = await (await conn.execute(MEGABYTES, (sql.Identifier(table).as_string(conn),))).fetchone()
    return float(row[0]) if row else 0.0


RAW_BY_HOUR: LiteralString = """
SELECT date_bin('1 hour', ts, 'epoch') AS bucket, count({column}), sum({column}), min({column}), max({column})
FROM {source} WHERE device_id = %(device_id)s AND ts >= %(since)s AND ts < %(until)s GROUP BY bucket ORDER BY bucket
"""
RAW_FLEET_BY_HOUR: LiteralString = """
SELECT date_bin('1 hour', ts, 'epoch') AS bucket, count({column}), sum({column}), min({column}), max({column})
FROM {source} WHERE ts >= %(since)s AND ts < %(until)s GROUP BY bucket ORDER BY bucket
"""


@dataclass(frozen=True, slots=True)
class Question:
    """A statement, and over how many days it asks."""

    statement: sql.Composed
    days: int
    repeats_share: float = 1.0


def _questions(table: UsageTable, readings: sql.Composed) -> Mapping[str, Question]:
    ((_, column), *_) = table.metrics
    names = {"source": sql.Identifier(table.source), "column": sql.Identifier(column)}
    return {
        "device_24h": Question(readings, 1),
        "device_90d_hourly": Question(usage_statement(table, by_day=False), DAYS),
        "device_90d_daily": Question(usage_statement(table, by_day=True), DAYS),
        "device_90d_raw_by_hour": Question(sql.SQL(RAW_BY_HOUR).format(**names), DAYS),
        "fleet_24h_by_hour": Question(fleet_statement(table), 1, 0.2),
        "fleet_7d_by_hour": Question(fleet_statement(table), 7, 0.2),
        "fleet_24h_raw_by_hour": Question(sql.SQL(RAW_FLEET_BY_HOUR).format(**names), 1, 0.1),
    }


async def _measure(conn: Connection, question: Question, plan: ReadsPlan, fleet: Fleet) -> ReadFigures:
    dice = random.Random(plan.seed)  # noqa: S311 - which device is asked about is no secret
    end = to_datetime(_start_s()) + timedelta(days=DAYS)

    def about() -> dict[str, object]:
        until = end - timedelta(days=dice.randrange(DAYS - question.days + 1))
        since = until - timedelta(days=question.days)
        device_id = dice.choice(fleet.device_ids)
        return {"device_id": device_id, "since": since, "after": since, "until": until, "limit": 100_000}

    took_ms: list[float] = []
    rows = 0
    for number in range(_FIRST_RUNS + max(int(plan.repeats * question.repeats_share), 2)):
        asked = about()
        started_s = time.perf_counter()
        rows = len(await (await conn.execute(question.statement, asked)).fetchall())
        if number >= _FIRST_RUNS:
            took_ms.append((time.perf_counter() - started_s) * 1000)
    cuts = quantiles(took_ms, n=20, method="inclusive")
    words, buffers = await explain(conn, question.statement, about())
    return ReadFigures(cuts[9], cuts[18], rows, words, buffers)


EXPLAIN: LiteralString = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "


async def explain(conn: Connection, statement: sql.Composed, asked: Mapping[str, object]) -> tuple[str, int]:
    """How the database goes about it: its plan's nodes from the top in words, and the pages that it touched."""
    row = await (await conn.execute(sql.SQL(EXPLAIN) + statement, asked)).fetchone()
    assert row is not None
    top = cast("dict[str, Any]", row[0][0]["Plan"])
    return " < ".join(nodes_of(top)), int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])


def nodes_of(node: Mapping[str, Any]) -> list[str]:
    """The nodes of a plan from the top, along the branches that ran."""
    below = cast("list[dict[str, Any]]", node.get("Plans", []))
    name = str(node.get("Custom Plan Provider") or node["Node Type"])
    if len(below) > 1:
        name += f" of {len(below)}"
    ran = next((each for each in below if each.get("Actual Loops")), below[0] if below else None)
    return [name, *(nodes_of(ran) if ran is not None else [])]


_WHAT: Final = {
    "device_24h": "one device, 24 hours, every reading",
    "device_90d_hourly": "one device, 90 days by hour",
    "device_90d_daily": "one device, 90 days by day",
    "device_90d_raw_by_hour": "  the same by hour, from its readings",
    "fleet_24h_by_hour": "fleet, 24 hours by hour",
    "fleet_7d_by_hour": "fleet, 7 days by hour",
    "fleet_24h_raw_by_hour": "  24 hours, from the readings",
}


def show_reads(figures: ReadsFigures, console: Console) -> None:
    """Print the figures of `careloop bench reads`."""
    for found in figures.editions:
        console.print(
            f"\n{found.database}: {found.rows:,} readings of {found.devices:,} devices in {found.megabytes:,.0f} MB, "
            f"rollups {found.rollup_megabytes:,.0f} MB; stored {found.load_rows_per_s:,.0f} and rolled up "
            f"{found.rollup_rows_per_s:,.0f} readings/s\n"
        )
        table = Table("", "p50 ms", "p95 ms", "rows", "pages", "plan", box=None, header_style="bold", pad_edge=False)
        for column in table.columns[1:5]:
            column.justify = "right"
        for name, read in found.reads.items():
            cells = (f"{read.p50_ms:,.1f}", f"{read.p95_ms:,.1f}", f"{read.rows:,}", f"{read.buffers:,}", read.plan)
            table.add_row(_WHAT[name], *cells)
        console.print(table)
