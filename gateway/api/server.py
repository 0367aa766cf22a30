"""The API's HTTP server, inside the gateway's event loop."""

import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devices.errors import ConfigError, Fault
from gateway.api.waiting import build_waiting_api
from gateway.settings import ApiSettings


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals to the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _only_head(send: Send) -> Send:
    """Sends what a GET would be answered with, but for its body (RFC 9110, 9.3.2).

    It is over with its head: a stream may say its first word much later, and holds up the next request till then.
    """

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head


class ApiServer:
    """Answers from the first moment on: what is being waited for, until there is a whole application to serve."""

    def __init__(self, settings: ApiSettings) -> None:
        """Take the port. Raises ConfigError when it cannot be had."""
        self._host = settings.host
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((settings.host, settings.port))
        except OSError as error:
            self._socket.close()
            found = f"{settings.host}:{settings.port}, which cannot be had ({error.strerror})"
            raise ConfigError([Fault("api.port", found, "a free port, or 0 for any")]) from error
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)
        self._waits_for = "the database is being started"
        self._app: ASGIApp = build_waiting_api(lambda: self._waits_for)

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._socket.getsockname()[1]}"

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def wait_for(self, what: str) -> None:
        """Say, in words, what keeps the gateway from being ready."""
        self._waits_for = what

    def use(self, app: ASGIApp) -> None:
        """Serve this application from now on."""
        self._app = app

    def stop(self) -> None:
        """Take no more requests; those under way get two seconds."""
        self._server.should_exit = True

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, _only_head(send))
        else:
            await self._app(scope, receive, send)
