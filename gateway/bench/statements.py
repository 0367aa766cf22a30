"""What a database does for one request: its statements with their times and plans, read from the server's own log."""

import json
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from devices.errors import Retryable
from gateway.bench.reads import nodes_of
from gateway.database.hold import APPLICATION
from gateway.database.postmaster import wait_until

_ENTRY: Final = re.compile(r"^(?P<who>[^|\n]*)\|LOG:  duration: (?P<ms>[0-9.]+) ms(?:  (?P<rest>.*))?$")
_HEARD_WITHIN_S: Final = 10.0
_MOST_WORDS: Final = 110


@dataclass(frozen=True, slots=True)
class Plan:
    """How the database went about a statement: its plan's nodes from the top in words."""

    ms: float
    statement: str
    nodes: str


@dataclass(frozen=True, slots=True)
class Done:
    """What the database did meanwhile for the API and the console."""

    statements: int
    ms: float
    plans: Sequence[Plan]


class Watcher:
    """Watches what the gateway's pool asks a server, one request at a time."""

    def __init__(self, conn: Connection[TupleRow], data: Path) -> None:
        """`conn` is a superuser's, in autocommit mode, open before the gateway; `data` is the server's folder."""
        self._conn = conn
        self._logs = data / "log"
        self._marks = 0
        self._has_plans = False
        with suppress(psycopg.Error):  # a server without its contributed modules tells times, and no plans
            _ = conn.execute("LOAD 'auto_explain'")
            self._has_plans = True

    def prepare(self, database: str) -> None:
        """Let sessions that begin from now on be asked for their plans."""
        if self._has_plans:
            statement = sql.SQL(_PRELOAD).format(sql.Identifier(database))
            _ = self._conn.execute(statement)

    @contextmanager
    def watching(self) -> Generator[Callable[[Callable[[], None]], Done]]:
        """Have everything logged inside the block; what it gives runs something and tells what was done meanwhile."""
        for name, value in _SETTINGS.items():
            if self._has_plans or not name.startswith("auto_explain"):
                _ = self._conn.execute(sql.SQL(_SET).format(sql.SQL(name), sql.Literal(value)))
        _ = self._conn.execute(_RELOAD)
        try:
            yield self._watch
        finally:
            _ = self._conn.execute(_RESET)
            _ = self._conn.execute(_RELOAD)

    def _watch(self, work: Callable[[], None]) -> Done:
        start = self._mark()
        work()
        end = self._mark()
        return _read(self._text().partition(start)[2].partition(end)[0])

    def _mark(self) -> str:
        """A word that stands in the log from now on."""
        self._marks += 1
        word = f"bench mark {time.time_ns()} {self._marks};"

        def is_told() -> bool:  # said again and again, for the server takes its time to hear that it is to log
            _ = self._conn.execute(sql.SQL("SELECT {}").format(sql.Literal(word)))
            return word in self._text()

        if not wait_until(is_told, _HEARD_WITHIN_S):
            raise Retryable("not_logged", f"the server's log in {self._logs} does not tell its statements")
        return word

    def _text(self) -> str:
        newest = max(self._logs.glob("*.log"), key=lambda path: path.stat().st_mtime)
        with newest.open("rb") as file:
            file.seek(max(newest.stat().st_size - 2_000_000, 0))
            return file.read().decode(errors="replace")


_PRELOAD: LiteralString = "ALTER DATABASE {} SET session_preload_libraries = 'auto_explain'"
_SET: LiteralString = "ALTER SYSTEM SET {} = {}"
_RESET: LiteralString = "ALTER SYSTEM RESET ALL"
_RELOAD: LiteralString = "SELECT pg_reload_conf()"
_SETTINGS: Final[dict[LiteralString, str]] = {
    "log_line_prefix": "%a|",
    "log_min_duration_statement": "0",
    "auto_explain.log_min_duration": "4ms",
    "auto_explain.log_format": "json",
}


def _read(text: str) -> Done:
    statements, ms = 0, 0.0
    plans: list[Plan] = []
    lines = iter(text.splitlines())
    for line in lines:
        found = _ENTRY.match(line)
        if found is None or found["who"] != APPLICATION:
            continue
        rest = found["rest"] or ""
        if rest.startswith("plan:"):
            plans.append(_plan(float(found["ms"]), lines))
            continue
        ms += float(found["ms"])
        statements += rest.startswith("execute") or (rest.startswith("statement: ") and len(rest) > len("statement: "))
    return Done(statements, ms, sorted(plans, key=lambda plan: -plan.ms))


def _plan(ms: float, lines: Iterator[str]) -> Plan:
    """The plan that begins with the next line and ends with its closing brace."""
    told: list[str] = []
    for line in lines:
        told.append(line.removeprefix("\t"))
        if told[-1] == "}":
            break
    plan = cast("dict[str, Any]", json.loads("\n".join(told)))
    statement = " ".join(str(plan["Query Text"]).split())
    return Plan(ms, statement[:_MOST_WORDS], " < ".join(nodes_of(plan["Plan"])))
