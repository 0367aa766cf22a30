"""A CRM that is nothing but a receiver of signed webhooks; the signatures are judged by a library that is not ours."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAA"


class Crm:
    """A receiver of signed webhooks, which hears a message once however often a slow answer has it sent again."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self._known: set[str] = set()
        crm = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server calls
                body = self.rfile.read(int(self.headers["content-length"]))
                Webhook(SECRET).verify(body, dict(self.headers.items()))
                if self.headers["webhook-id"] not in crm._known:
                    crm._known.add(self.headers["webhook-id"])
                    crm.heard.append(json.loads(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server uses
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def types(self) -> list[str]:
        """The types of what it heard, in order."""
        return [message["type"] for message in self.heard]

    def settings(self) -> str:
        """The gateway's settings that name it as an endpoint, with a short retry schedule."""
        return (
            f'[crm]\npoll_interval = 0.1\n[[crm.endpoints]]\nname = "helpdesk"\nurl = "http://127.0.0.1:{self.port}/hook"\n'
            f'secret = "{SECRET}"\nallow_http = true\nallow_networks = ["127.0.0.0/8"]\nports = [{self.port}]\n'
            "schedule = [0, 0.2, 0.5, 1, 1, 1]\n"
        )


@pytest.fixture
def crm() -> Iterator[Crm]:
    with closing(Crm()) as receiver:
        yield receiver
