"""Pages and calls at the size of a real house, asked of a gateway over HTTP, with the plans of the slow ones."""

import http.client
import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import median, quantiles
from typing import Final, LiteralString, NamedTuple
from urllib.parse import urlsplit

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from rich.console import Console
from rich.table import Table

from devices.errors import Retryable
from gateway.bench.house import House, fill_house, find_house, plan_house, remember_house
from gateway.bench.page_calls import API_CALLS, PAGES, Call, Subjects, draw_path, find_subjects
from gateway.bench.processor_time import main_thread_s
from gateway.bench.services import Gateway, database_server, gateway, work_folder
from gateway.bench.stage import new_database
from gateway.bench.statements import Done, Plan, Watcher
from gateway.database.embedded import EmbeddedPostgres, replace_database
from gateway.database.provisioned import Provisioned
from gateway.people.door import COOKIE
from gateway.people.people import digest_of

Say = Callable[[str], None]

_FIRST_ROUNDS: Final = 3
_LOOKED_AT: Final = 5
DATABASE: Final = "bench_pages"
SLOW_MS: Final = 50.0
MOST_PLANS: Final = 3


@dataclass(frozen=True, slots=True)
class PagesPlan:
    """How large the house is, where it is kept, and how often everything is asked."""

    rows: int = 20_000_000
    repeats: int = 40
    store: Path | None = None  # a folder that keeps the house from one run to the next
    only: str = ""  # part of the names of the calls to make
    seed: int = 1


@dataclass(frozen=True, slots=True)
class CallFigures:
    """One call, asked about one subject after the other."""

    name: str
    path: str
    is_page: bool
    p50_ms: float
    p95_ms: float
    processor_ms: float  # median of the gateway's own, which hardly depends on what else the machine does
    statements: int
    database_ms: float  # median of what its statements took in the database, by its log
    kilobytes: float
    plans: Sequence[Plan]  # of the slowest statements, where the call is a slow one


@dataclass(frozen=True, slots=True)
class PagesFigures:
    """What `careloop bench pages` found."""

    database: str
    house: House
    fill_s: float | None
    calls: Sequence[CallFigures]


def run_pages(plan: PagesPlan, programs: Provisioned | None, say: Say) -> PagesFigures:
    """Fill a house where there is none yet, start a gateway on it, and ask it everything in turn."""
    with work_folder() as folder:
        kept = plan.store or folder / "store"
        kept.mkdir(parents=True, exist_ok=True)
        kept.chmod(0o711)
        with database_server(kept, programs, keep=plan.store is not None) as server:
            house, fill_s = _house(plan, server, kept, say)
            url = replace_database(server.url, DATABASE)
            with psycopg.connect(url, autocommit=True) as conn:
                watcher = Watcher(conn, server.data)
                watcher.prepare(DATABASE)
                sections = {
                    "database": {"url": url},
                    "listen": {"port": 0},
                    "api": {"port": 0},
                    "people": {"requests_per_s": 100_000.0, "requests_burst": 1_000_000},
                }
                say("starting the gateway")
                with gateway(folder, "pages", sections) as running:
                    calls = [call for call in (*API_CALLS, *PAGES) if plan.only in call.name]
                    asker = _Asker(running, _let_in(conn), find_subjects(conn, house), house, plan)
                    with closing(asker.connection):
                        found = _measure(asker, calls, watcher, say)
                    return PagesFigures(_version(conn), house, fill_s, found)


def _house(plan: PagesPlan, server: EmbeddedPostgres, folder: Path, say: Say) -> tuple[House, float | None]:
    found = find_house(folder)
    if found is not None:
        return found, None
    house, started_s = plan_house(plan.rows, time.time()), time.monotonic()
    fill_house(new_database(server, "pages"), house, say)
    remember_house(folder, house)
    return house, time.monotonic() - started_s


_VERSION: Final[LiteralString] = """
SELECT 'PostgreSQL ' || current_setting('server_version')
       || coalesce((SELECT ' with TimescaleDB ' || extversion FROM pg_extension WHERE extname = 'timescaledb'), '')
"""


def _version(conn: Connection[TupleRow]) -> str:
    row = conn.execute(_VERSION).fetchone()
    return "" if row is None else str(row[0])


# Both as their users have them: the digests of what they send. An admin may look at every page.
_LET_IN: Final[LiteralString] = """
WITH person AS (
    INSERT INTO person (tenant_id, person_id, name, role, created_at)
    VALUES ('default', %(name)s, %(name)s, 'admin', now()) RETURNING person_id
), session AS (
    INSERT INTO person_session (tenant_id, digest, person_id, csrf, created_at, last_seen_at, expires_at)
    SELECT 'default', %(session)s, person_id, 'none', now(), now(), now() + interval '1 day' FROM person
)
INSERT INTO api_token (tenant_id, name, role, digest, created_at)
VALUES ('default', %(name)s, 'admin', %(token)s, now())
"""


@dataclass(frozen=True, slots=True)
class _Admission:
    """What a person's browser and an integration send along."""

    session: str
    token: str

    def headers(self, call: Call) -> dict[str, str]:
        if call.is_page:
            return {"Cookie": f"{COOKIE}={self.session}", "Accept-Language": "en"}
        return {"Authorization": f"Bearer {self.token}"}


def _let_in(conn: Connection[TupleRow]) -> _Admission:
    admission = _Admission(secrets.token_urlsafe(), secrets.token_urlsafe())
    digests = {"session": digest_of(admission.session), "token": digest_of(admission.token)}
    _ = conn.execute(_LET_IN, {"name": f"bench-{secrets.token_hex(4)}", **digests})
    return admission


class _Answer(NamedTuple):
    """What one took: in all, on the gateway's side of the processor; its bytes."""

    ms: float
    processor_ms: float
    size: int


class _Asker:
    """Asks a gateway over one connection that stays open, as a browser does."""

    def __init__(
        self, asked: Gateway, admission: _Admission, subjects: Subjects, house: House, plan: PagesPlan
    ) -> None:
        self.repeats = plan.repeats
        self._pid = asked.process.pid
        self.connection = http.client.HTTPConnection(urlsplit(asked.api_url).netloc, timeout=120)
        self._admission = admission
        self._subjects = subjects
        self._house = house
        self._dice = random.Random(plan.seed)  # noqa: S311 - which device is asked about is no secret

    def ask(self, call: Call) -> _Answer:
        """One answer. Raises Retryable where it is none."""
        path = draw_path(call, self._subjects, self._house, self._dice)
        busy_s, started_s = main_thread_s(self._pid), time.perf_counter()
        self.connection.request("GET", path, headers=self._admission.headers(call))
        answer = self.connection.getresponse()
        body = answer.read()
        took_ms = (time.perf_counter() - started_s) * 1000
        if answer.status not in {HTTPStatus.OK, HTTPStatus.SEE_OTHER}:
            raise Retryable("not_answered", f"{path}: {answer.status} {body[:300].decode(errors='replace')}")
        return _Answer(took_ms, (main_thread_s(self._pid) - busy_s) * 1000, len(body))


def _measure(asker: _Asker, calls: Sequence[Call], watcher: Watcher, say: Say) -> list[CallFigures]:
    """Every call once a round, so that whatever else the machine does is in all of them."""
    answers: dict[Call, list[_Answer]] = {call: [] for call in calls}
    first = min(_FIRST_ROUNDS, asker.repeats)
    for number in range(first + asker.repeats):
        say(f"asking: {max(number - first, 0)} of {asker.repeats} rounds")
        for call in calls:
            answer = asker.ask(call)
            if number >= first:
                answers[call].append(answer)
    found: list[CallFigures] = []
    with watcher.watching() as watch:
        for call in calls:
            say(f"looking at statements: {call.name}")
            looks = [watch(lambda call=call: _ask(asker, call)) for _ in range(min(_LOOKED_AT, asker.repeats))]
            middle = sorted(looks, key=lambda done: done.ms)[len(looks) // 2]
            found.append(_figures(call, answers[call], middle))
    return found


def _figures(call: Call, answers: Sequence[_Answer], done: Done) -> CallFigures:
    cuts = quantiles([answer.ms for answer in answers], n=20, method="inclusive")
    return CallFigures(
        name=call.name,
        path=call.path,
        is_page=call.is_page,
        p50_ms=cuts[9],
        p95_ms=cuts[18],
        processor_ms=median(answer.processor_ms for answer in answers),
        statements=done.statements,
        database_ms=done.ms,
        kilobytes=median(answer.size for answer in answers) / 1000,
        plans=done.plans[:MOST_PLANS] if cuts[18] > SLOW_MS else (),
    )


def _ask(asker: _Asker, call: Call) -> None:
    _ = asker.ask(call)


def show_pages(figures: PagesFigures, console: Console) -> None:
    """Print the figures of `careloop bench pages`."""
    house = figures.house
    console.print(
        f"\n{figures.database}: {house.readings:,} readings of {house.busy + house.quiet:,} devices, "
        f"{house.live_cases:,} cases that go on, {house.ended_cases:,} that ended\n"
    )
    for title, is_page in (("API", False), ("pages", True)):
        table = Table(
            title, "p50 ms", "p95 ms", "gateway ms", "statements", "database ms", "kB", box=None, pad_edge=False
        )
        for column in table.columns[1:]:
            column.justify = "right"
        for found in figures.calls:
            if found.is_page == is_page:
                times = (found.p50_ms, found.p95_ms, found.processor_ms)
                rest = (f"{found.statements}", f"{found.database_ms:,.1f}", f"{found.kilobytes:,.1f}")
                table.add_row(found.name, *(f"{each:,.1f}" for each in times), *rest)
        console.print(table, "")
    for found in figures.calls:
        for plan in found.plans:
            console.print(f"{found.name}: {plan.ms:,.1f} ms  {plan.statement}\n    {plan.nodes}", soft_wrap=True)
