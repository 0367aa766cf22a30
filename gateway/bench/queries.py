"""SQL of the benchmarks: registries of any size, the peers' tables, and what has been stored."""

from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from devices.credentials import Hashed
from gateway.bench.rows import MODEL

CREATE_DATABASE: Final[LiteralString] = "CREATE DATABASE {}"


def create_database(conn: Connection[TupleRow], name: str) -> None:
    """Make a database; the connection is in autocommit mode."""
    _ = conn.execute(sql.SQL(CREATE_DATABASE).format(sql.Identifier(name)))


# Those that never send are numbered on; nobody knows their secret, but the gateway keeps one of each all the same.
REGISTER: Final[LiteralString] = """
WITH fleet AS (
    SELECT unnest(%(senders)s::text[]) AS device_id, unnest(%(partitions)s::smallint[]) AS partition
    UNION ALL
    SELECT 'EB-idle-' || lpad(number::text, 8, '0'), number %% 64 FROM generate_series(1, %(idle)s::integer) AS number
), made AS (
    INSERT INTO device (tenant_id, device_id, partition, model, source)
    SELECT 'default', device_id, partition, %(model)s, 'import' FROM fleet
    RETURNING device_id
)
INSERT INTO device_credential (tenant_id, device_id, scheme, salt, digest)
SELECT 'default', device_id, %(scheme)s, %(salt)s, %(digest)s FROM made
"""
ADD_ASSETS: Final[LiteralString] = """
INSERT INTO asset (tenant_id, asset_id, device_id, model) SELECT tenant_id, device_id, device_id, model FROM device
"""


def register(
    conn: Connection[TupleRow], senders: dict[str, int], idle: int, password: Hashed, *, with_assets: bool = False
) -> None:
    """Register the devices that send (their partitions by id), and more that never do."""
    values = {
        "senders": list(senders),
        "partitions": list(senders.values()),
        "idle": idle,
        "model": MODEL,
        "scheme": password.scheme,
        "salt": password.salt,
        "digest": password.digest,
    }
    _ = conn.execute(REGISTER, values)
    if with_assets:
        _ = conn.execute(ADD_ASSETS)


TIDY: Final[LiteralString] = "VACUUM ANALYZE"


def tidy(conn: Connection[TupleRow]) -> None:
    """Do what autovacuum would soon do in the middle of a round; the connection is in autocommit mode."""
    _ = conn.execute(TIDY)


STORED: Final[LiteralString] = "SELECT value FROM pipeline_counter WHERE name = 'stored'"


def stored(conn: Connection[TupleRow]) -> int:
    """Readings that the gateway counts as stored; the connection is in autocommit mode."""
    row = conn.execute(STORED).fetchone()
    return int(row[0]) if row else 0


COUNT_ROWS: Final[LiteralString] = "SELECT count(*) FROM {}"


def count_rows(conn: Connection[TupleRow], table: str) -> int:
    """Rows of a table."""
    row = conn.execute(sql.SQL(COUNT_ROWS).format(sql.Identifier(table))).fetchone()
    return int(row[0]) if row else 0


CREATE_LINES: Final[LiteralString] = "CREATE TABLE line (received_at double precision, topic text, payload text)"


def create_lines(conn: Connection[TupleRow]) -> None:
    """The table that mosquitto_sub is piped into: no key, no index, one row a message."""
    _ = conn.execute(CREATE_LINES)


CREATE_READINGS: Final[LiteralString] = """
CREATE TABLE {} (device_id text COLLATE "C" NOT NULL, ts timestamptz NOT NULL, {}, PRIMARY KEY (device_id, ts))
"""


def create_readings(conn: Connection[TupleRow], table: str, metrics: Sequence[str]) -> None:
    """A plain table of readings, a column per metric, without what careloop keeps beside them."""
    columns = sql.SQL(", ").join(sql.SQL("{} double precision").format(sql.Identifier(name)) for name in metrics)
    _ = conn.execute(sql.SQL(CREATE_READINGS).format(sql.Identifier(table), columns))


EMPTY_TABLE: Final[LiteralString] = "TRUNCATE {}"


def empty_table(conn: Connection[TupleRow], table: str) -> None:
    """Remove every row."""
    _ = conn.execute(sql.SQL(EMPTY_TABLE).format(sql.Identifier(table)))


CHECKPOINT: Final[LiteralString] = "CHECKPOINT"


def checkpoint(conn: Connection[TupleRow]) -> None:
    """Have the server write down what the last contestant left dirty; the connection is in autocommit mode."""
    _ = conn.execute(CHECKPOINT)


# A gateway that found all batches without a checkpoint would judge them all again; the newest one says how far it came.
FORGET_FILL: Final[Sequence[LiteralString]] = (
    "DROP TABLE bench_alarm, bench_case, bench_device",
    "DELETE FROM batch WHERE batch_seq < (SELECT max(batch_seq) FROM batch)",
)


def forget_fill(conn: Connection[TupleRow]) -> None:
    """Remove what only filling a house needed."""
    for statement in FORGET_FILL:
        _ = conn.execute(statement)
