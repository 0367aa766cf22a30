"""A process of Node.js with MQTT.js in it, which several tests share: starting one takes longer than a test."""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).parent / "mqttjs" / "device.cjs"

Hear = Callable[[dict[str, Any]], None]


class Node:
    """Takes messages for its clients, and passes on what they say, each in the event loop of its test."""

    def __init__(self, modules: Path) -> None:
        """`modules` is the folder that MQTT.js lies in."""
        self._process = subprocess.Popen(
            ["node", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(modules)},
        )
        self._clients: list[tuple[asyncio.AbstractEventLoop, Hear]] = []
        self._thread = threading.Thread(target=self._listen, name="node", daemon=True)
        self._thread.start()

    def new_client(self, hear: Hear) -> int:
        """The number of a client whose words go to `hear`."""
        self._clients.append((asyncio.get_running_loop(), hear))
        return len(self._clients) - 1

    def tell(self, message: dict[str, Any]) -> None:
        """Have a client do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told: dict[str, Any] = json.loads(line)
            number = int(told.pop("client"))
            loop, hear = self._clients[number]
            with suppress(RuntimeError):  # the test has ended
                loop.call_soon_threadsafe(hear, told)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with self._process:
            self._thread.join()
