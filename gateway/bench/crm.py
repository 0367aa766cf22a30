"""A CRM that notes when it hears of which device's case, and says yes to everything."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_OPENED: Final = "case.opened"


class Crm(ThreadingHTTPServer):
    """The receiver; `heard_s` says for a device when its case was first told, on the machine's clock."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard_s: dict[str, float] = {}
        self.more = threading.Condition()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def hear(self, body: bytes, at_s: float) -> None:
        """Note a message."""
        message = json.loads(body)
        if message["type"] == _OPENED:
            with self.more:
                self.heard_s.setdefault(str(message["data"]["device_id"]), at_s)
                self.more.notify_all()

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Whether so many devices' cases were told in time."""
        with self.more:
            return self.more.wait_for(lambda: len(self.heard_s) >= count, timeout_s)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """A message from the gateway."""
        at_s = time.time()
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        assert isinstance(self.server, Crm)
        self.server.hear(body, at_s)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server calls it
        """Say nothing."""


@contextmanager
def crm() -> Generator[Crm]:
    """A CRM that listens."""
    server = Crm()
    thread = threading.Thread(target=server.serve_forever, name="crm", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
