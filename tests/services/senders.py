"""Device libraries of other people, each run in an environment of its own: see tests/senders."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from os import environ
from pathlib import Path
from typing import Any

import pytest

from gateway.database.provisioned import cache_folder
from scripts.senders import provide
from tests.services.patience import PATIENCE_S

PROGRAMS = Path(__file__).resolve().parents[1] / "senders"


class Sender:
    """A program that is told things by lines of JSON, and says things the same way."""

    def __init__(self, library: str, program: str, folder: Path) -> None:
        python = provide(library, cache_folder(environ))
        self._log = (folder / f"{program}.log").open("ab")
        self._process = subprocess.Popen(
            [python, PROGRAMS / program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        self.heard: list[dict[str, Any]] = []
        self._unasked: list[dict[str, Any]] = []  # what it said while somebody waited for something else
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def tell(self, do: str, **told: Any) -> None:
        """Have it do something, and wait until it says that it is done."""
        self.say(do, **told)
        self.until(lambda said: said.get("done") == do)

    def say(self, do: str, **told: Any) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **told}).encode() + b"\n")
        self._process.stdin.flush()

    def until(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next thing that it says of which this holds; it may have said it by now."""
        for at, said in enumerate(self._unasked):
            if is_it(said):
                return self._unasked.pop(at)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                said = json.loads(self._lines.get(timeout=max(deadline_s - time.monotonic(), 0.01)))
            except queue.Empty:
                pytest.fail(f"the sender has not said it; heard: {self.heard[-20:]}")
            self.heard.append(said)
            if is_it(said):
                return said
            self._unasked.append(said)

    def end(self) -> None:
        """End it without a word to anybody."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


@pytest.fixture
def new_sender(tmp_path: Path) -> Iterator[Callable[[str, str], Sender]]:
    """Makes senders of a library, by a program; they are gone after the test."""
    made: list[Sender] = []

    def make(library: str, program: str) -> Sender:
        made.append(Sender(library, program, tmp_path))
        return made[-1]

    yield make
    for sender in made:
        sender.end()
