"""The embedded PostgreSQL: what it promises after crashes, and to whom it opens its door."""

import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest

from devices.errors import ConfigError, Retryable
from gateway.database import embedded
from gateway.database.connection_file import Connection, claim, read_connection, write_connection
from gateway.database.embedded import EmbeddedPostgres, read_url
from gateway.database.postmaster import orphans, running_server, wait_until
from tests.services.folders import find_free_port
from tests.services.patience import PATIENCE_S

RUN_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from gateway.database.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPostgres]:
    """One whose port no connection of another test is given while it does not run."""
    free_port = embedded._free_port  # pyright: ignore[reportPrivateUsage]

    def unasked(preferred: int) -> int:
        return free_port(preferred or find_free_port())

    monkeypatch.setattr(embedded, "_free_port", unasked)
    server = EmbeddedPostgres(tmp_path / "database")
    yield server
    server.remove()


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def query(url: str, text: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


def test_first_start_makes_a_durable_database(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    assert query(url, "SHOW fsync") == "on"
    assert query(url, "SHOW data_checksums") == "on"
    assert query(url, "SHOW server_encoding") == "UTF8"
    assert query(url, "SHOW listen_addresses") == "127.0.0.1"
    assert query(url, "SELECT current_database()") == "careloop"


def test_only_the_password_opens_it(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    password = url.split(":")[2].partition("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(url.replace(password, "wrong"), "SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        query(url.replace(f":{password}", ""), "SELECT 1")
    assert query(url, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == 0


def test_only_the_owner_can_read_the_password(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert stat.S_IMODE((postgres.folder / "connection.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700


def test_never_runs_as_root(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0


def test_other_commands_find_it_while_it_runs(postgres: EmbeddedPostgres) -> None:
    assert read_url(postgres.folder) is None
    url = postgres.start()
    assert read_url(postgres.folder) == url
    postgres.stop()
    assert read_url(postgres.folder) is None


def test_data_and_address_outlive_a_restart(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    assert postgres.pid is None
    assert postgres.start() == url
    assert query(url, "SELECT answer FROM kept") == 42


def test_recovers_when_the_server_is_killed(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    kill(postgres.pid)
    assert wait_until(lambda: postgres.pid is None, PATIENCE_S)
    assert postgres.start() == url
    assert query(url, "SELECT answer FROM kept") == 42


def test_waits_for_a_busy_child_of_a_killed_server(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    busy = psycopg.connect(url, autocommit=True)
    child = busy.info.backend_pid
    os.kill(child, signal.SIGSTOP)  # it cannot notice that its server has died
    kill(postgres.pid)
    assert wait_until(lambda: postgres.pid is None, PATIENCE_S)
    assert child in orphans(postgres.data)
    assert query(postgres.start(), "SELECT 1") == 1
    assert orphans(postgres.data) != [child]
    busy.close()


@pytest.mark.parametrize("server_too", [False, True], ids=["gateway killed", "gateway and server killed"])
def test_takes_over_from_a_killed_gateway(postgres: EmbeddedPostgres, *, server_too: bool) -> None:
    gateway = subprocess.Popen(
        [sys.executable, "-c", RUN_UNTIL_KILLED, postgres.folder], stdout=subprocess.PIPE, text=True
    )
    assert gateway.stdout is not None
    with gateway.stdout:
        left_behind = int(gateway.stdout.readline())
    query(read_url(postgres.folder) or "", "CREATE TABLE kept AS SELECT 42 AS answer")
    kill(gateway.pid)
    gateway.wait()
    if server_too:
        kill(left_behind)
    url = postgres.start()
    assert postgres.pid != left_behind
    assert running_server(postgres.data) == postgres.pid
    assert query(url, "SELECT answer FROM kept") == 42


def test_a_stale_pid_file_that_names_a_living_stranger(postgres: EmbeddedPostgres) -> None:
    """After a reboot the process id in the file may belong to anybody: that one is neither a server nor stopped."""
    postgres.start()
    pid_file = postgres.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    owner = pid_file.stat()
    postgres.stop()
    stranger = subprocess.Popen(
        ["/bin/sleep", "600"],
        user=owner.st_uid if os.geteuid() == 0 else None,
    )
    pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    os.chown(pid_file, owner.st_uid, owner.st_gid)
    try:
        assert read_url(postgres.folder) is None
        assert query(postgres.start(), "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_second_gateway_on_the_folder_is_refused_with_words(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    with pytest.raises(ConfigError, match=rf"run by another careloop \(process {os.getpid()}\)"):
        EmbeddedPostgres(postgres.folder).start()
    assert query(postgres.url, "SELECT 1") == 1


def test_moves_to_another_port_when_its_own_is_taken(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    port = json.loads((postgres.folder / "connection.json").read_text())["port"]
    postgres.stop()
    with socket.create_server(("127.0.0.1", port)):
        moved = postgres.start()
        assert moved != url
        assert read_url(postgres.folder) == moved
        assert query(moved, "SELECT 1") == 1


def test_stays_at_its_port_where_others_know_it(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    port = json.loads((postgres.folder / "connection.json").read_text())["port"]
    postgres.stop()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Retryable, match=f"its port {port}"):
        postgres.start(at_its_port=True)
    assert postgres.start(at_its_port=True) == url


def test_tries_another_port_when_somebody_was_faster(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        ports = iter([int(somebody.getsockname()[1]), find_free_port()])

        def next_port(preferred: int) -> int:
            return next(ports, preferred)

        monkeypatch.setattr("gateway.database.embedded._free_port", next_port)
        assert query(postgres.start(), "SELECT 1") == 1


def test_an_interrupted_first_start_leaves_nothing_in_the_way(postgres: EmbeddedPostgres) -> None:
    unfinished = postgres.data.with_name(f"{postgres.data.name}.new.1")
    (unfinished / "cluster").mkdir(parents=True)
    (unfinished / "cluster" / "PG_VERSION").write_text("18\n")
    assert query(postgres.start(), "SELECT 1") == 1
    assert not unfinished.exists()


def test_killed_before_the_first_start_was_complete(postgres: EmbeddedPostgres) -> None:
    """The password is written before the data appears: whatever the instant, the next start knows what to do."""
    postgres.start()
    data = postgres.data
    postgres.stop()
    connection = postgres.folder / "connection.json"
    connection.write_text(json.dumps({**json.loads(connection.read_text()), "port": 0}))
    assert query(postgres.start(), "SELECT 1") == 1
    postgres.stop()
    connection.write_text(json.dumps({**json.loads(connection.read_text()), "port": 0}))
    shutil.rmtree(data)
    assert query(postgres.start(), "SELECT 1") == 1


def test_data_that_is_gone_is_not_replaced_by_an_empty_database(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    data = postgres.data
    postgres.stop()
    shutil.rmtree(data)
    with pytest.raises(ConfigError, match=f"whose database {data} is gone"):
        postgres.start()


def test_data_without_its_password_is_not_overwritten(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    data = postgres.data
    postgres.stop()
    (postgres.folder / "connection.json").rename(postgres.folder / "elsewhere")
    with pytest.raises(ConfigError, match="which holds its password"):
        postgres.start()
    (postgres.folder / "elsewhere").rename(postgres.folder / "connection.json")
    assert data.exists()
    assert query(postgres.start(), "SELECT 1") == 1


def test_data_of_another_major_version_is_refused_with_words(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop()
    version = postgres.data / "PG_VERSION"
    present = version.read_text()
    version.write_text("9\n")
    with pytest.raises(ConfigError, match="made by PostgreSQL 9"):
        postgres.start()
    version.write_text(present)


def test_a_server_that_gives_up_says_why(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "database", settings={"shared_buffers": "lots"})
    with pytest.raises(Retryable, match="invalid value for parameter"):
        server.start()
    assert server.pid is None
    server.remove()


def test_a_folder_that_cannot_be_made_is_a_setting_to_correct(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state\.folder"):
        EmbeddedPostgres(tmp_path / "file" / "database").start()


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "database")
    server.start()
    data = server.data
    server.remove()
    assert not data.exists()
    assert not server.folder.exists()


def test_a_stop_during_a_start_leaves_nothing_running(postgres: EmbeddedPostgres) -> None:
    """As when a gateway is told to end while its database is still starting, in a thread that nobody can cancel."""
    starting = threading.Thread(target=postgres.start)
    starting.start()
    assert wait_until((postgres.folder / "connection.json").exists, PATIENCE_S)
    postgres.stop()
    starting.join(PATIENCE_S)
    assert not starting.is_alive()
    assert running_server(postgres.data) is None


def test_a_terminals_interrupt_does_not_reach_the_server(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert postgres.pid is not None
    assert os.getsid(postgres.pid) != os.getsid(0)


def test_a_folder_that_was_copied_with_its_data_is_a_database_of_its_own(service_folder: Path) -> None:
    folder = Path(mkdtemp(prefix="copied-", dir=service_folder))
    folder.chmod(0o711)  # so that the data lies within, whoever runs this
    original, copy = EmbeddedPostgres(folder / "original"), EmbeddedPostgres(folder / "copy")
    try:
        query(original.start(), "CREATE TABLE whose AS SELECT 'both' AS name")
        original.stop()
        assert original.data == original.folder / "data"
        subprocess.run(["/bin/cp", "-a", original.folder, copy.folder], check=True, timeout=PATIENCE_S)
        query(copy.start(), "UPDATE whose SET name = 'copy'")
        assert read_url(original.folder) is None, "it does not run"
        assert query(original.start(), "SELECT name FROM whose") == "both"
        assert query(copy.url, "SELECT name FROM whose") == "copy"
    finally:
        copy.remove()
        original.remove()


def test_a_copy_without_the_data_does_not_open_the_original(tmp_path: Path) -> None:
    original, copied, data = tmp_path / "original", tmp_path / "copy", tmp_path / "elsewhere"
    for folder in (original, copied, data):
        folder.mkdir()
    write_connection(original, Connection(str(data), 5432, "secret"))
    claim(data, original)
    shutil.copy(original / "connection.json", copied)
    assert read_connection(original) == Connection(str(data), 5432, "secret")
    for look in (lambda: read_url(copied), EmbeddedPostgres(copied).start):
        with pytest.raises(ConfigError, match=f"a copy of {original} without its data"):
            look()
    shutil.rmtree(original)  # so that the folder was moved
    assert read_connection(copied) == Connection(str(data), 5432, "secret")


def test_a_copy_of_the_file_alone_does_not_open_the_original_either(tmp_path: Path) -> None:
    (tmp_path / "original" / "data").mkdir(parents=True)
    (tmp_path / "copy").mkdir()
    write_connection(tmp_path / "original", Connection(str(tmp_path / "original" / "data"), 5432, "secret"))
    shutil.copy(tmp_path / "original" / "connection.json", tmp_path / "copy")
    with pytest.raises(ConfigError, match="a copy of"):
        read_connection(tmp_path / "copy")


def test_data_behind_a_closed_door_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ended with a traceback, a PermissionError; root passes any door, so that it is closed by hand."""
    folder, closed = tmp_path / "folder", tmp_path / "closed"
    folder.mkdir()
    write_connection(folder, Connection(str(closed / "data"), 5432, "secret"))
    look = Path.stat

    def refused(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.is_relative_to(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(ConfigError, match="folders that careloop's user may enter"):
        read_connection(folder)
