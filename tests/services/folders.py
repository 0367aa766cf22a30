"""Folders and ports for services, and tidying up after runs that were killed."""

import os
import random
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from gateway.database.embedded import EmbeddedPostgres

LOWEST_PORT = 15_000
MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it has a name of its own, which only we may write to
MEMORY_BYTES = 4 << 30  # for the servers of all workers, whose databases are dropped test by test
OURS = Path("/sys/fs/cgroup")  # where a container has its own bounds; a machine that is nobody's has none there


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder that services running under another account can pass through, unlike pytest's own."""
    with _folder_of_this_run(Path(tempfile.gettempdir())) as folder:
        yield folder


@pytest.fixture(scope="session")
def memory_folder(service_folder: Path) -> Iterator[Path]:
    """A folder like it that is kept in memory, where the machine has such a one with room.

    A database is nearly a thousand files, and each test makes and removes one. On a disk that is most of what such a
    test costs: some file systems look through all that was removed of late for each file that they make.
    """
    if not _has_room(MEMORY):
        yield service_folder
        return
    with _folder_of_this_run(MEMORY) as folder:
        yield folder


def _has_room(memory: Path) -> bool:
    """Whether it is there and large: containers give 64 MB, which are for other uses.

    It may also be as large as a memory that others need, and be counted as ours: then as much again must be left.
    """
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        return False
    return shutil.disk_usage(memory).free >= MEMORY_BYTES and spare_bytes(OURS) >= 2 * MEMORY_BYTES


def spare_bytes(group: Path) -> int:
    """How much memory may still be taken, by the machine and by the control group of this folder."""
    spare = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # there is none, or "max"
        spare = min(spare, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return spare


@contextmanager
def _folder_of_this_run(parent: Path) -> Generator[Path]:
    root = parent / f"careloop-tests-{os.geteuid()}"
    root.mkdir(mode=0o711, exist_ok=True)
    folder = root / str(os.getpid())
    for abandoned in root.iterdir():  # ours, too: process ids come again
        if abandoned == folder or not Path(f"/proc/{abandoned.name}").exists():
            _clear(abandoned)
    folder.mkdir(mode=0o711)
    yield folder
    _clear(folder)


def _clear(folder: Path) -> None:
    """Remove the folder of a run, and any server that the run has left behind."""
    for connection in folder.glob("*/connection.json"):
        EmbeddedPostgres(connection.parent).remove()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on."""
    return find_free_port()


def find_free_port() -> int:
    """A TCP port on the loopback address that nobody listens on.

    It is not one of those that the system gives to connections and to whoever asks for any port: between now and its
    use, or while a broker is away, nobody comes by it unasked.
    """
    while True:
        port = random.SystemRandom().randrange(LOWEST_PORT, max(_lowest_given_out(), 2 * LOWEST_PORT))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _lowest_given_out() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32768
