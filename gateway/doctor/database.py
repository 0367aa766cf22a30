"""The database: whether a commit there is worth its acknowledgement, and whether there is room for the next."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg

from devices.errors import CareloopError, ConfigError
from gateway.database.connect import build_embedded, embedded_folder, is_embedded, reachable_url
from gateway.database.edition import EditionKind, can_create_extension, detect_edition
from gateway.database.embedded import read_url
from gateway.database.migrate import pending
from gateway.database.session import has_no_room, open_session, require_own_sessions
from gateway.doctor import queries
from gateway.doctor.finding import Finding, judge
from gateway.doctor.machine import disk_finding
from gateway.doctor.queries import Connection, ServerState
from gateway.settings import Settings

CONNECT_TIMEOUT_S: Final = 5
TOLERABLE_CLOCK_DIFFERENCE_S: Final = 2.0
TOLERABLE_ANSWER_S: Final = 0.02
ASKED: Final = 15
DEAD_ROWS: Final = 100_000
TOLERABLE_QUARANTINE: Final = 0.01  # of all packets

_INGEST_CONNECTIONS: Final = 4  # ingest, its lock, the registry's ear, one to spare


async def examine_database(settings: Settings) -> list[Finding]:
    """Everything that a connection can tell."""
    if is_embedded(settings) and read_url(embedded_folder(settings)) is None:
        return [_not_running(settings)]
    try:
        url = reachable_url(settings)
        await require_own_sessions(url)
        async with await open_session(url, "careloop doctor", autocommit=True, timeout_s=CONNECT_TIMEOUT_S) as conn:
            findings = [await _edition(conn)]
            findings += _server(await _asked(conn), settings)
            findings += [await _answers(conn), await _disk(conn), await _vacuum(conn)]
            schema = await _schema(url)
            findings.append(schema)
            if schema.ok:
                findings += await _contents(conn, settings)
    except (CareloopError, psycopg.Error) as error:
        says = " ".join(str(error).split())
        fix = "start the database, or correct database.url and database.password_file"
        if has_no_room(error):
            fix = "raise max_connections, or lower database.pool_size"
        return [Finding("database", ok=False, says=says, fix=fix)]
    return findings


def _not_running(settings: Settings) -> Finding:
    """The embedded database before its gateway: whether its programs are there to start it with."""
    try:
        build_embedded(settings, os.environ)
    except ConfigError as error:
        (fault, *_) = error.faults
        return Finding("database", ok=False, says=f"{fault.setting} = {fault.found}", fix=fault.allowed)
    says = f"embedded in {embedded_folder(settings)}; not running, it starts with the gateway"
    return Finding("database", ok=True, says=says)


async def _edition(conn: Connection) -> Finding:
    edition = await detect_edition(conn)
    says = edition.describe()
    if edition.kind is EditionKind.PLAIN and await can_create_extension(conn):
        says += "; TimescaleDB is there too, and is taken up by the next `careloop migrate`"
    return Finding("database", ok=True, says=says)


async def _asked(conn: Connection) -> tuple[ServerState, float]:
    """What the server says, and how far its clock is from ours."""
    before_s = time.time()
    state = await queries.server_state(conn)
    return state, state.now_s - (before_s + time.time()) / 2


def _server(asked: tuple[ServerState, float], settings: Settings) -> list[Finding]:
    state, apart_s = asked
    return [
        _durability(state),
        _access(state),
        _connections(state, settings),
        clock_finding("the database's", apart_s),
    ]


def _durability(state: ServerState) -> Finding:
    loose = [
        f"{name} = off"
        for name, value in (
            ("fsync", state.fsync),
            ("full_page_writes", state.full_page_writes),
            ("synchronous_commit", state.synchronous_commit),
        )
        if value == "off"
    ]
    fix = "turn them on: with them off a crash of the database loses readings that were acknowledged to their devices"
    says = ", ".join(loose) if loose else "a commit is on disk before it is answered"
    return judge("database durability", says, fix, ok=not loose)


def _access(state: ServerState) -> Finding:
    if state.is_replica:
        fix = "name the primary in database.url: a replica takes no readings"
        return Finding("database access", ok=False, says="this is a replica", fix=fix)
    fix = "GRANT CREATE on the schema to the gateway's user: each new product model gets a table of its own"
    says = "may write and create tables" if state.may_create else "may not create tables in its schema"
    return judge("database access", says, fix, ok=state.may_create)


def _connections(state: ServerState, settings: Settings) -> Finding:
    wanted = 2 * settings.database.pool_size + _INGEST_CONNECTIONS
    says = f"{state.connections} of {state.max_connections} in use; a gateway takes up to {wanted}"
    free = state.max_connections - state.connections
    is_enough = wanted <= state.max_connections and (free > 1 or state.connections <= wanted)
    return judge("database connections", says, "raise max_connections, or lower database.pool_size", ok=is_enough)


def clock_finding(whose: str, apart_s: float) -> Finding:
    """How far a clock is from ours."""
    fix = "let both machines keep their time by NTP: silence, quiet hours and signatures go by it"
    says = f"{abs(apart_s):.1f} s apart from {whose}"
    return judge("clock", says, fix, ok=abs(apart_s) <= TOLERABLE_CLOCK_DIFFERENCE_S)


async def _answers(conn: Connection) -> Finding:
    took_s: list[float] = []
    for _ in range(ASKED):
        asked_s = time.perf_counter()
        await conn.execute("SELECT 1")
        took_s.append(time.perf_counter() - asked_s)
    quickest_s = min(took_s)  # what the way takes: the slower ones say how busy a machine is
    fix = "bring gateway and database nearer to each other: every batch takes some ten answers, one after the other"
    return judge("database answers", f"in {quickest_s * 1e3:.1f} ms", fix, ok=quickest_s <= TOLERABLE_ANSWER_S)


async def _disk(conn: Connection) -> Finding:
    directory = await queries.data_directory(conn)
    found = None if directory is None else await asyncio.to_thread(disk_finding, "database disk", Path(directory))
    return found or Finding("database disk", ok=True, says="on another machine, or not ours to see: watch it there")


async def _vacuum(conn: Connection) -> Finding:
    state = await queries.server_state(conn)
    if state.autovacuum != "on":
        fix = "turn autovacuum on: the tables of cases and the outbox grow without it, and in the end all writing stops"
        return Finding("database vacuum", ok=False, says="autovacuum = off", fix=fix)
    if state.oldest_transaction > 2 * state.freeze_limit:
        fix = "look for transactions left open and replication slots left behind, then run VACUUM FREEZE"
        says = f"{state.oldest_transaction:,} transactions old, twice what autovacuum should allow"
        return Finding("database vacuum", ok=False, says=says, fix=fix)
    neglected = await queries.neglected_tables(conn, DEAD_ROWS)
    says = ", ".join(f"{name} has {dead:,} dead rows" for name, dead in neglected)
    fix = "look for transactions left open, and give autovacuum more workers"
    return judge("database vacuum", says or "autovacuum keeps up", fix, ok=not neglected)


async def _schema(url: str) -> Finding:
    try:
        waiting = await pending(url)
    except ConfigError as error:
        (fault, *_) = error.faults
        return Finding("schema", ok=False, says=fault.found, fix=fault.allowed)
    says = f"wait to be applied: {', '.join(waiting)}" if waiting else "up to date"
    return judge("schema", says, "run `careloop migrate`, or start the gateway", ok=not waiting)


async def _contents(conn: Connection, settings: Settings) -> list[Finding]:
    """What has gathered in the tables and waits for a person."""
    since = datetime.now(UTC) - timedelta(days=1)
    quarantine = await queries.quarantine_state(conn, settings.tenant.id, since)
    says = f"payloads: {quarantine.rows:,}, from the last day: {quarantine.of_late:,}"
    if quarantine.most is not None:
        says += f", mostly {quarantine.most}"
    fix = f"`careloop quarantine list --reason {quarantine.most}` shows them; replay them after the fix"
    grows = quarantine.of_late > 0 and quarantine.rows > TOLERABLE_QUARANTINE * quarantine.packets
    outreach = await queries.outreach_state(conn, settings.tenant.id)
    return [
        judge("quarantine", says, fix, ok=not grows),
        judge(
            "dead letters",
            f"messages that no CRM took: {outreach.dead}",
            "`careloop deliveries list --state dead` shows why; `careloop deliveries replay` tries again",
            ok=outreach.dead == 0,
        ),
        judge(
            "alarm notices",
            f"that could not become cases: {outreach.parked}",
            "`careloop notices list` shows why; `careloop notices replay --all` tries again after the fix",
            ok=outreach.parked == 0,
        ),
        judge(
            "endpoints",
            f"disabled: {', '.join(outreach.disabled)}" if outreach.disabled else "none disabled",
            "mend the CRM, then `careloop deliveries resume NAME` takes it up again",
            ok=not outreach.disabled,
        ),
    ]
