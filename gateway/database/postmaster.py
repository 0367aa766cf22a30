"""What a PostgreSQL data folder says about the server that runs, or ran, on it; and how to stop that server."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

POLL_S = 0.01
ORPHANS_NOTICE_S = 2.0
PROC = Path("/proc")

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


class ServerLog:
    """What a server says from now on: first on its standard error, then in the log folder it keeps itself."""

    def __init__(self, start: Path, folder: Path) -> None:
        """Remember how much has been said before."""
        self.start = start
        self._folder = folder
        self._before = {path: path.stat().st_size for path in folder.glob("*.log")}

    def news(self) -> str:
        """The last lines since."""
        said = self.start.read_bytes()
        for path in sorted(self._folder.glob("*.log")):
            said += path.read_bytes()[self._before.get(path, 0) :]
        return last_words(said)


def last_words(said: bytes) -> str:
    """The end of a log, on one line."""
    return " | ".join(said.decode(errors="replace").splitlines()[-6:]) or "it said nothing"


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
    """Children that outlived a killed server; a new one must not start before they are gone."""
    title = f"postgres: {cluster_name(data)}".encode()
    return [pid for pid in _process_ids() if _command_line(pid).startswith(title)]


def is_deserted(data: Path) -> bool:
    """Whether no process of a server on the data folder is left, not even one that has not taken its title yet."""
    return not any(cluster_name(data).encode() in _command_line(pid) for pid in _process_ids())


def forget_stranger(data: Path) -> None:
    """Remove a stale pid file whose process id is in use, by a stranger or by an unreaped corpse.

    PostgreSQL takes either for a running server. Any other stale pid file stays: PostgreSQL looks through it for
    what else may be left of the old server.
    """
    pid_file = read_pid_file(data)
    if pid_file is not None and running_server(data) is None and _exists(pid_file.pid):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _process_ids() -> list[int]:
    if PROC.exists():
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [int(word) for word in _ps("-axo", "pid=").split()]


def _command_line(pid: int) -> bytes:
    """The command line of a process; empty when it is gone, or dead and not yet reaped."""
    if not PROC.exists():
        return _ps("-o", "command=", "-p", str(pid))
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _ps(*arguments: str) -> bytes:
    """What ps says, on systems without /proc."""
    return subprocess.run(["/bin/ps", *arguments], capture_output=True, check=False).stdout


def stop_server(data: Path, timeout_s: float) -> bool:
    """Stop the server of the data folder: fast, then at once; and see off the children of a killed one.

    False when something of it is still there: then no other server may be started on the folder.
    """
    pid = running_server(data)
    for shutdown in (FAST_SHUTDOWN, IMMEDIATE_SHUTDOWN):
        if pid is not None:
            _signal(pid, shutdown)
            if wait_until(lambda: running_server(data) is None, timeout_s):
                break
    return running_server(data) is None and _end_orphans(data, timeout_s)


def _end_orphans(data: Path, timeout_s: float) -> bool:
    """Wait for the children of a killed server, which end by themselves when they notice; insist at the end."""
    if wait_until(lambda: not orphans(data), min(timeout_s, ORPHANS_NOTICE_S)):
        return True
    for pid in orphans(data):
        _signal(pid, signal.SIGKILL)
    return wait_until(lambda: not orphans(data), timeout_s)


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
