"""The baselines: the broker's own client, alone and piped into the database, and the database's own bulk loading."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, LiteralString

from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from devices.errors import Retryable
from gateway.bench.contest import Meter, Result, Round
from gateway.bench.load import Senders
from gateway.bench.ours import Bench
from gateway.bench.processor_time import own_s
from gateway.bench.queries import count_rows
from gateway.bench.services import Broker, running, wait_for
from gateway.store.binary_copy import FIXED_COLUMNS
from gateway.store.readings import COPY_READINGS
from gateway.store.rows import ReadingTable

_TIMEOUT_S: Final = 120.0
_LOOK_S: Final = 0.002
_COPY_LINES: Final = "COPY line (received_at, topic, payload) FROM STDIN"
_LINE: Final = r"%U\t%t\t%p"


@dataclass(frozen=True, slots=True)
class NullSink:
    """Acknowledges and does nothing: what the load generator could do at most."""

    bench: Bench
    process: "subprocess.Popen[bytes]"
    port: int
    name: str = "null_sink"

    def take(self, given: Round) -> Result:
        """Send a round to nobody."""
        with Senders("127.0.0.1", self.port, given.streams) as senders:
            meter = Meter({"client": lambda: own_s(self.process.pid)})
            senders.run(self.bench.window, wakes_after=given.wakes_after)
            return meter.result(len(given))


@contextmanager
def null_sink(folder: Path, bench: Bench) -> Generator[NullSink]:
    """A sink that runs."""
    log = folder / "sink.log"
    with running([sys.executable, "-m", "gateway.bench.sink"], log) as process:
        wait_for(lambda: log.read_text().endswith("\n"), process, log)
        yield NullSink(bench, process, int(log.read_text()))


@dataclass(frozen=True, slots=True)
class MosquittoSub:
    """Mosquitto's own client; it receives and throws away."""

    bench: Bench
    program: Path
    broker: Broker
    name: str = "mosquitto_sub"
    protocol: Sequence[str] = ()  # what it is told of it; by itself it speaks MQTT 3.1.1

    def take(self, given: Round) -> Result:
        """Publish a round, and wait until the client has received it."""
        with _subscriber([self.program, *self.protocol], self.broker, len(given), subprocess.DEVNULL) as client:
            return _publish(self.bench, self.broker, given, [client])


@dataclass(frozen=True, slots=True)
class MosquittoSubCopy:
    """Mosquitto's own client, piped into one COPY into a table without a key; validates and judges nothing."""

    bench: Bench
    program: Path
    broker: Broker
    database: Connection[TupleRow]
    url: str
    name: str = "mosquitto_sub_copy"

    def take(self, given: Round) -> Result:
        """Publish a round, and wait until the pipe has committed it."""
        before = count_rows(self.database, "line")
        with _subscriber([self.program], self.broker, len(given), subprocess.PIPE) as client:
            environment = {**os.environ, **_libpq(self.url)}
            with _started(_pipe_into_copy(), stdin=client.stdout, env=environment) as pipe:
                assert client.stdout is not None
                client.stdout.close()  # the pipe has it now
                result = _publish(self.bench, self.broker, given, [client, pipe])
        if count_rows(self.database, "line") - before != len(given):
            raise Retryable("not_stored", "mosquitto_sub piped into COPY lost readings")
        return result


@dataclass(frozen=True, slots=True)
class RawCopy:
    """COPY of buffers prepared beforehand into a table like the gateway's, a commit for each batch."""

    bench: Bench
    database: Connection[TupleRow]
    table: ReadingTable
    name: str = "raw_copy"

    def take(self, given: Round) -> Result:
        """Copy a round."""
        names = (*FIXED_COLUMNS, *self.table.columns, "extra")
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        statement = sql.SQL(COPY_READINGS).format(table=sql.Identifier(self.table.name), columns=columns)
        meter = Meter({"database": self.bench.database_s})
        for buffer in given.copies:
            with self.database.transaction(), self.database.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(buffer)
        return meter.result(len(given))


def speaking_mqtt5(receive_maximum: int) -> Sequence[str]:
    """What makes mosquitto_sub speak MQTT 5 with a window of this size; by itself it has one of 20."""
    return ["-V", "5", "-D", "CONNECT", "receive-maximum", str(receive_maximum)]


def _pipe_into_copy() -> Sequence[str]:
    """psql, which is the faster one, or where there is none a pipe of our own."""
    psql = shutil.which("psql")
    if psql is None:
        return [sys.executable, "-m", "gateway.bench.pipe"]
    return [psql, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", _COPY_LINES]


def _publish(bench: Bench, broker: Broker, given: Round, clients: Sequence["subprocess.Popen[bytes]"]) -> Result:
    """Publish a round, and wait until the clients have ended, which they do when they have all of it."""
    with Senders("127.0.0.1", broker.port, given.streams) as senders:
        meter = Meter({"broker": lambda: own_s(broker.process.pid), "database": bench.database_s})
        senders.run(bench.window, wakes_after=given.wakes_after)
        used_s = sum(_wait(client) for client in clients)
        result = meter.result(len(given), {"client": used_s})
    broker.rest()
    return result


def _subscriber(program: Sequence[str | Path], broker: Broker, count: int, output: int) -> "subprocess.Popen[bytes]":
    """mosquitto_sub, subscribed, that ends after `count` messages."""
    before = broker.subscriptions
    command = [*program, "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-t", "devices/+/telemetry"]
    client = _started([*command, "-C", str(count), "-F", _LINE], stdout=output)
    try:
        broker.wait_for_subscription(before + 1)
    except BaseException:
        client.kill()
        raise
    return client


class _Peer(subprocess.Popen[bytes]):
    """A peer's process, which does not outlive its block."""

    def __exit__(self, *exception: object) -> None:
        if self.poll() is None:
            self.kill()
        super().__exit__(None, None, None)


def _started(
    command: Sequence[str | Path],
    *,
    stdin: IO[bytes] | int | None = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    env: dict[str, str] | None = None,
) -> _Peer:
    return _Peer(command, stdin=stdin, stdout=stdout, env=env)


def _wait(process: "subprocess.Popen[bytes]") -> float:
    """Wait for a process's end; the processor time that it used. Raises Retryable when it fails, or does not end."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline_s:
            raise Retryable("peer_failed", f"{process.args!r} does not end: messages were lost on their way to it")
        time.sleep(_LOOK_S)
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Retryable("peer_failed", f"{process.args!r} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _libpq(url: str) -> dict[str, str]:
    """A connection string as libpq's environment variables, so that no password is in a command line."""
    variables: dict[str, LiteralString] = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    return {variables[name]: str(value) for name, value in conninfo_to_dict(url).items() if name in variables}
