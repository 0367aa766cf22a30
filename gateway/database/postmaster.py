"""What a PostgreSQL data folder says about the server that runs, or ran, on it; and how to stop that server."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

POLL_S = 0.01

FAST_SHUTDOWN = signal.SIGINT
"""Roll back what is open, disconnect everybody, write a checkpoint, end."""

IMMEDIATE_SHUTDOWN = signal.SIGQUIT
"""End now; the next start recovers from the write-ahead log."""


@dataclass(frozen=True, slots=True)
class PidFile:
    """The lines of `postmaster.pid` that matter here; status is empty until the server has got that far."""

    pid: int
    status: str

    @property
    def ready(self) -> bool:
        """Whether the server has finished recovery and accepts connections."""
        return self.status == "ready"


def read_pid_file(data: Path) -> PidFile | None:
    """What the data folder says about its server; None when it says nothing, or nothing legible."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return PidFile(int(lines[0]), lines[7].strip() if len(lines) > 7 else "")  # noqa: PLR2004 - the eighth line
    except (FileNotFoundError, IndexError, ValueError):
        return None


def cluster_name(data: Path) -> str:
    """A name made from the data folder, which its server and all its children carry in their command lines.

    It tells our server from a stranger that was given the same process id after a crash or a reboot.
    """
    return f"careloop-{sha256(os.fsencode(data.resolve())).hexdigest()[:12]}"


def running_server(data: Path) -> int | None:
    """The process id of the server that runs on the data folder; None when the pid file is absent or stale."""
    pid_file = read_pid_file(data)
    if pid_file is None or cluster_name(data).encode() not in _command_line(pid_file.pid):
        return None
    return pid_file.pid


def orphans(data: Path) -> list[int]:
    """Children that outlived a killed server; a new one cannot start before they are gone."""
    title = f"postgres: {cluster_name(data)}".encode()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if _command_line(pid).startswith(title)]


def _command_line(pid: int) -> bytes:
    """The command line of a process; empty when it is gone, or dead and not yet reaped."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def stop_server(data: Path, timeout_s: float) -> None:
    """Stop the server of the data folder: fast, then at once; and see off the children of a killed one."""
    pid = running_server(data)
    if pid is not None:
        _signal(pid, FAST_SHUTDOWN)
        if not wait_until(lambda: running_server(data) is None, timeout_s):
            _signal(pid, IMMEDIATE_SHUTDOWN)
            wait_until(lambda: running_server(data) is None, timeout_s)
    end_orphans(data, timeout_s)


def end_orphans(data: Path, timeout_s: float) -> None:
    """Wait for the children of a killed server, which end by themselves as soon as they notice; insist at the end."""
    if not wait_until(lambda: not orphans(data), timeout_s=min(timeout_s, 2.0)):
        for pid in orphans(data):
            _signal(pid, signal.SIGKILL)
        wait_until(lambda: not orphans(data), timeout_s)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
