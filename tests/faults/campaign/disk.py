"""A disk that can be filled: a small tmpfs where it may be mounted, or else a limit on the server's files."""

import errno
import os
import subprocess
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SIZE_MB = 900
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Disk:
    """Where the database lies; `is_small` when that is a file system of its own."""

    folder: Path
    is_small: bool

    @classmethod
    @contextmanager
    def made(cls, folder: Path, *, is_small: bool) -> Generator["Disk"]:
        """A folder; on a small file system of its own, if that is wanted and may be."""
        folder.mkdir(mode=0o711)
        mounted = is_small and _runs("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=711", "careloop", folder)
        try:
            yield cls(folder, mounted)
        finally:
            if mounted and not _runs("umount", folder):
                _runs("umount", "-l", folder)

    @contextmanager
    def full(self) -> Generator[None]:
        """No byte more fits for the length of a `with`."""
        assert self.is_small, "only a file system of its own may be filled"
        ballast = self.folder / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                for size in (PIECE, 4096, 1):
                    _write_until_full(file.write, b"\0" * size)
            yield
        finally:
            ballast.unlink(missing_ok=True)


def _write_until_full(write: Callable[[bytes], object], piece: bytes) -> None:
    while True:
        try:
            write(piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return


@contextmanager
def limited(pids: Callable[[], Sequence[int]]) -> Generator[None]:
    """Let no file of these processes be written beyond its first 8 KiB, as a quota would; needs no root.

    Children inherit it from the first process, the postmaster.
    """
    seen = pids()
    _limit(seen, "8192")
    try:
        yield
    finally:
        _limit({*seen, *pids()}, "unlimited")


def _limit(pids: Collection[int], size: str) -> None:
    """Set the soft limit, as the account that owns the process: root alone may not, where it is root of a container."""
    for pid in pids:
        with suppress(FileNotFoundError):
            owner = Path(f"/proc/{pid}").stat()
            user, group = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else (None, None)
            command = ["prlimit", "--pid", str(pid), f"--fsize={size}:"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, user=user, group=group)
            if done.returncode != 0 and Path(f"/proc/{pid}").exists():
                message = f"the limit on files cannot be set: {done.stderr}"
                raise RuntimeError(message)


def _runs(*command: str | Path) -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
