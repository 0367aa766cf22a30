"""MQTT.js in the cache of services: put there from npm once, as its lock file says, and offline from then on."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from gateway.database.provisioned import cache_folder
from tests.clients.node import Node

SOURCE = Path(__file__).parent.parent / "clients" / "mqttjs"
LOCKED = ("package.json", "package-lock.json")
OLDEST_NODE = 18
NEEDED = (
    f"Node.js {OLDEST_NODE} or later with npm is needed, for a client of the listen door in another language: "
    "install the packages nodejs and npm (Debian, Ubuntu), or Node.js as https://nodejs.org says"
)


class NotThereError(Exception):
    """MQTT.js cannot be had; the text says why and what to do."""


def modules_folder(cache: Path) -> Path:
    """Where MQTT.js is, or is to be; another lock file has another folder."""
    digest = hashlib.sha256(b"\0".join((SOURCE / name).read_bytes() for name in LOCKED)).hexdigest()
    return cache / f"mqttjs-{digest[:16]}" / "node_modules"


def provision(cache: Path) -> Path:
    """Have npm put what the lock file names into the cache, unless it is there. Raises NotThereError."""
    modules = modules_folder(cache)
    find_node()
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (cache / "mqttjs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not modules.exists():
            _install(cache, modules)
    return modules


def find_node() -> Path:
    """Node.js. Raises NotThereError where there is none, or an old one."""
    node = shutil.which("node")
    if node is None:
        raise NotThereError(f"Node.js was not found. {NEEDED}")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    if found is None or int(found[1]) < OLDEST_NODE:
        raise NotThereError(f"{node} is {said.strip() or 'unusable'}. {NEEDED}")
    return Path(node)


def _install(cache: Path, modules: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotThereError(f"npm was not found. {NEEDED}")
    work = Path(mkdtemp(prefix="mqttjs-", dir=cache))
    try:
        work.chmod(0o755)
        for name in LOCKED:
            shutil.copy(SOURCE / name, work)
        # No scripts of packages are run; npm compares every package with the digest in the lock file.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotThereError(f"npm could not fetch MQTT.js:\n{done.stderr.strip()}")
        work.rename(modules.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """Node.js with MQTT.js."""
    try:
        node = Node(provision(cache_folder(os.environ)))
    except NotThereError as error:
        pytest.fail(f"MQTT.js could not be provisioned: {error}")
    yield node
    node.close()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"MQTT.js:     {provision(cache_folder(os.environ))}\n")
    except (NotThereError, OSError) as error:
        sys.stderr.write(f"clients: {error}\n")
        sys.exit(1)
