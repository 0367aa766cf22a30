"""A real open helpdesk, run by its own Python: see tests/senders."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from os import environ
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import httpx
import pytest

from gateway.database.provisioned import cache_folder
from scripts.senders import provide
from tests.services.folders import find_free_port
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S

PROGRAM: Final = Path(__file__).resolve().parents[1] / "senders" / "helpdesk_server.py"
USER: Final = "careloop"
PASSWORD: Final = "pass-of-careloop"
DATABASE: Final = "helpdesk.sqlite3"


class DjangoHelpdesk:
    """One django-helpdesk with an empty queue."""

    def __init__(self, folder: Path, hook: str = "") -> None:
        """`hook` is told of new and changed tickets, inside the request that makes or changes them."""
        self.url = f"http://127.0.0.1:{(port := find_free_port())}"
        self._log = (folder / "helpdesk.log").open("wb")
        python = provide("helpdesk", cache_folder(environ))
        command = [python, PROGRAM, folder, str(port), hook]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            pytest.fail((folder / "helpdesk.log").read_text())

    def tickets(self) -> list[dict[str, Any]]:
        """Every ticket, as its API tells."""
        answer = httpx.get(
            f"{self.url}/api/tickets/",
            params={"page_size": "100"},
            auth=(USER, PASSWORD),
            verify=IN_THE_CLEAR,
            timeout=PATIENCE_S,
        )
        found: list[dict[str, Any]] = answer.raise_for_status().json()["results"]
        return found

    def change(self, ticket: int, **fields: object) -> None:
        """An agent changes a ticket by the API, which fires no hook."""
        url = f"{self.url}/api/tickets/{ticket}/"
        httpx.patch(url, json=fields, auth=(USER, PASSWORD), verify=IN_THE_CLEAR, timeout=PATIENCE_S).raise_for_status()

    def stop(self) -> None:
        """Leave nothing running."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


@pytest.fixture
def new_django_helpdesk(service_folder: Path) -> Iterator[Callable[[str], DjangoHelpdesk]]:
    """Starts helpdesks that are gone after the test."""
    started: list[DjangoHelpdesk] = []
    unused = service_folder / DATABASE  # as the first one has made it, before anybody has asked it for anything

    def start(hook: str = "") -> DjangoHelpdesk:
        folder = Path(mkdtemp(prefix="helpdesk-", dir=service_folder))
        if unused.exists():
            shutil.copy(unused, folder)
        started.append(DjangoHelpdesk(folder, hook))
        if not unused.exists():
            shutil.copy(folder / DATABASE, unused)
        return started[-1]

    yield start
    for each in started:
        each.stop()
