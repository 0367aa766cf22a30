"""The proof: what the book says was acknowledged, against what the database holds, by SQL of its own."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from tests.ledger.book import Key, State, Told, first_times
from tests.ledger.plan import keys_in

Page = Sequence[tuple[Told, State]]
Connection = psycopg.Connection[tuple[Any, ...]]
NOBODY: AbstractSet[Key] = frozenset()


class Row(NamedTuple):
    """A stored reading."""

    key: Key
    ts_ms: int
    metrics: Mapping[str, float]
    batch: tuple[int, int]  # batch_seq, batch_row: when it arrived


@dataclass(slots=True)
class Findings:
    """What the comparison found; the first six must be empty."""

    lost: list[Key] = field(default_factory=list)  # acknowledged, and nowhere
    doubled: list[Key] = field(default_factory=list)  # stored more than once
    wrong: list[Key] = field(default_factory=list)  # stored with other values, or where it should be in quarantine
    strange: list[Key] = field(default_factory=list)  # stored, and never published
    disordered: list[Key] = field(default_factory=list)  # arrived after a later reading of the same device
    open: list[Key] = field(default_factory=list)  # still not answered
    lost_by_broker: list[Key] = field(default_factory=list)  # acknowledged by a broker that died with it
    published: int = 0
    acknowledged: int = 0
    stored: int = 0
    quarantined: int = 0
    given_up: int = 0
    given_up_stored: int = 0

    @property
    def faults(self) -> dict[str, list[Key]]:
        """What must not be, by name."""
        every = {
            "lost": self.lost,
            "doubled": self.doubled,
            "wrong": self.wrong,
            "never published": self.strange,
            "out of order": self.disordered,
            "not answered": self.open,
        }
        return {name: keys for name, keys in every.items() if keys}


def audit(conn: Connection, page: Page, *, excused: Collection[Key] = NOBODY) -> Findings:
    """Compare a page of the book with the database.

    `excused` are readings that a broker acknowledged and careloop has never acknowledged to the broker: if they are
    nowhere although the broker was killed, it is the broker that has lost them.
    """
    firsts = first_times(page)
    rows = [row for table in find_tables(conn) for row in read_rows(conn, table, firsts)]
    return compare(page, rows, read_quarantine(conn, firsts), excused)


def compare(page: Page, rows: Sequence[Row], quarantined: Collection[Key], excused: Collection[Key]) -> Findings:
    """What is wrong between the book's page, the stored rows of its devices, and the quarantine."""
    found = Findings(published=len(page))
    told_of = {told.key: told for told, _ in page}
    stored = _judge_rows(found, told_of, rows)
    for told, state in page:
        key = told.key
        is_in = key in stored, key in quarantined
        found.quarantined += is_in[1]
        found.acknowledged += state is State.ACKNOWLEDGED
        if state is State.GIVEN_UP:
            found.given_up += 1
            found.given_up_stored += any(is_in)
        elif state is State.PUBLISHED:
            found.open.append(key)
        elif not any(is_in):
            (found.lost_by_broker if key in excused else found.lost).append(key)
        if is_in == (True, True) or (is_in[1] and not told.is_bad):
            found.wrong.append(key)
    return found


def _judge_rows(found: Findings, told_of: Mapping[Key, Told], rows: Sequence[Row]) -> set[Key]:
    """Look at every stored row; which readings they are."""
    stored: set[Key] = set()
    last: dict[str, tuple[tuple[int, int], int]] = {}
    for row in sorted(rows, key=lambda row: row.batch):
        told = told_of.get(row.key)
        if told is None:
            found.strange.append(row.key)
            continue
        if row.key in stored:
            found.doubled.append(row.key)
        stored.add(row.key)
        if told.is_bad or row.ts_ms != told.ts_ms or dict(row.metrics) != dict(told.metrics):
            found.wrong.append(row.key)
        before = last.get(row.key.device_id)
        if before is not None and (row.ts_ms <= before[1] or row.batch == before[0]):
            found.disordered.append(row.key)
        last[row.key.device_id] = row.batch, row.ts_ms
    found.stored = len(stored)
    return stored


class Table(NamedTuple):
    """A product model's table, as `reading_table` describes it."""

    name: str
    columns: Sequence[tuple[str, str]]  # metric, column


TABLES: LiteralString = "SELECT table_name, columns FROM reading_table ORDER BY table_name"


def find_tables(conn: Connection) -> list[Table]:
    """The reading tables."""
    return [Table(name, [(metric, column) for metric, column in columns]) for name, columns in conn.execute(TABLES)]


ROWS: LiteralString = """
SELECT device_id, seq, round(extract(epoch FROM ts) * 1000)::bigint, batch_seq, batch_row, extra, {columns}
FROM {table} JOIN unnest(%s::text[], %s::bigint[]) AS wanted (device_id, first_ms) USING (device_id)
WHERE ts >= to_timestamp(first_ms / 1000.0)
"""


def read_rows(conn: Connection, table: Table, firsts: Mapping[str, int]) -> Iterator[Row]:
    """Everything that is stored of some devices, from a time on for each."""
    columns = sql.SQL(", ").join([sql.Identifier(column) for _, column in table.columns] or [sql.SQL("NULL")])
    query = sql.SQL(ROWS).format(columns=columns, table=sql.Identifier(table.name))
    names = [metric for metric, _ in table.columns]
    for device_id, seq, ts_ms, batch_seq, batch_row, extra, *values in conn.execute(
        query, [list(firsts), list(firsts.values())]
    ):
        metrics = {name: value for name, value in zip(names, values, strict=False) if value is not None}
        yield Row(Key(device_id, seq), ts_ms, {**metrics, **(extra or {})}, (batch_seq, batch_row))


QUARANTINE: LiteralString = "SELECT device_id, raw FROM quarantine WHERE device_id = ANY(%s)"


def read_quarantine(conn: Connection, devices: Iterable[str]) -> set[Key]:
    """The readings that are in quarantine, by the number in their bytes."""
    found: set[Key] = set()
    for device_id, raw in conn.execute(QUARANTINE, [list(devices)]):
        found.update(keys_in(str(device_id), bytes(raw)))
    return found
