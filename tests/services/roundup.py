"""A real open issue tracker, run by its own Python: see tests/senders."""

import subprocess
import time
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

PROGRAM: Final = Path(__file__).resolve().parents[1] / "senders" / "roundup_server.py"
USER: Final = "careloop"
PASSWORD: Final = "pass-of-careloop"
START_S: Final = PATIENCE_S


class Roundup:
    """One tracker without issues."""

    def __init__(self, folder: Path) -> None:
        self.origin = f"http://127.0.0.1:{(port := find_free_port())}"
        self.url = f"{self.origin}/t"
        self._log = folder / "roundup.log"
        python = provide("roundup", cache_folder(environ))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([python, PROGRAM, folder, str(port)], stdout=log, stderr=log)
        deadline_s = time.monotonic() + START_S
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(self._log.read_text())
            time.sleep(0.05)

    def issues(self) -> list[dict[str, Any]]:
        """Every issue, as its API tells."""
        listed = self._get("/issue")["collection"]
        return [self._get(f"/issue/{each['id']}")["attributes"] for each in listed]

    def message(self, number: str) -> str:
        """What a message says."""
        return str(self._get(f"/msg/{number}/content")["data"])

    def change(self, issue: str, **fields: str) -> None:
        """An agent changes an issue."""
        etag = self._get(f"/issue/{issue}")["@etag"]
        headers = {"if-match": etag, "origin": self.origin, "x-requested-with": "test"}
        url = f"{self.url}/rest/data/issue/{issue}"
        httpx.put(
            url, json=fields, auth=(USER, PASSWORD), headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S
        ).raise_for_status()

    def stop(self) -> None:
        """Leave nothing running."""
        self._process.kill()
        self._process.wait()

    def _get(self, path: str) -> dict[str, Any]:
        answer = httpx.get(
            f"{self.url}/rest/data{path}",
            params={"@verbose": "2"},
            auth=(USER, PASSWORD),
            verify=IN_THE_CLEAR,
            timeout=PATIENCE_S,
        )
        found: dict[str, Any] = answer.raise_for_status().json()["data"]
        return found

    def _serves(self) -> bool:
        try:
            return httpx.get(
                f"{self.url}/rest/data/status", auth=(USER, PASSWORD), verify=IN_THE_CLEAR, timeout=PATIENCE_S
            ).is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def new_roundup(service_folder: Path) -> Iterator[Callable[[], Roundup]]:
    """Starts trackers that are gone after the test."""
    started: list[Roundup] = []

    def start() -> Roundup:
        started.append(Roundup(Path(mkdtemp(prefix="roundup-", dir=service_folder))))
        return started[-1]

    yield start
    for each in started:
        each.stop()
