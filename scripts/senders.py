#!/usr/bin/env python3
"""Makes environments for device libraries of other people, whose dependencies differ from ours and from each other's.

Each `tests/senders/NAME.lock` becomes an environment in the cache, beside the services; what is there already is used,
so that no clone downloads it twice. Every file is checked against the lock's hashes. What is released as source only,
without a compiled part, is built by the setuptools of `tests/senders/build.lock`.

    scripts/senders.py            make sure that all environments are there, and say where
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.database.provisioned import cache_folder

LOCKS = Path(__file__).resolve().parent.parent / "tests" / "senders"
BUILD = LOCKS / "build.lock"
FROM_SOURCE = ("paho-mqtt", "roundup")
"""What is released as source only: of the former its last version below 2, which pysparkplug asks for."""


def main() -> int:
    """Make the environments; say where they are, or why not."""
    try:
        for name in senders():
            print(f"{name}: {provide(name, cache_folder(os.environ))}")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"senders: {error}", file=sys.stderr)
        return 1
    return 0


def senders() -> list[str]:
    """The libraries that there are locks for."""
    return sorted(lock.stem for lock in LOCKS.glob("*.lock") if lock != BUILD)


def interpreter(name: str, cache: Path) -> Path:
    """The Python of a library's environment, whether it is there or not; another lock, or Python, is another one."""
    said = (LOCKS / f"{name}.lock").read_bytes() + BUILD.read_bytes() + platform.python_version().encode()
    return cache / "senders" / f"{name}-{hashlib.sha256(said).hexdigest()[:16]}" / "bin" / "python"


def provide(name: str, cache: Path) -> Path:
    """The Python of a library's environment, which is made first if need be; only one process does so at a time."""
    python = interpreter(name, cache)
    folder = python.parent.parent
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            print(f"making the environment of {name}, once", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            make(folder, LOCKS / f"{name}.lock")
            (folder / "complete").touch()
    return python


def make(folder: Path, lock: Path) -> None:
    """An environment with what a lock names, by uv where it is on PATH, else by venv and pip."""
    python = folder / "bin" / "python"
    if shutil.which("uv"):
        run("uv", "venv", "--quiet", "--python", sys.executable, folder)
        install = ["uv", "pip", "install", "--quiet", "--python", python]
    else:
        run(sys.executable, "-m", "venv", folder)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheels = ["--require-hashes", "--only-binary", ":all:"]
    run(*install, *wheels, "-r", BUILD)
    sources = [part for name in FROM_SOURCE for part in ("--no-binary", name)]
    run(*install, *wheels, *sources, "--no-build-isolation", "-r", lock)


def run(*command: str | Path) -> None:
    """Run a command to its end. Raises CalledProcessError."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
