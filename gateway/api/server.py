"""The API's HTTP server, inside the gateway's event loop."""

import contextlib
import socket
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

from devices.errors import ConfigError, Fault
from gateway.settings import ApiSettings


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals to the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class ApiServer:
    """Serves an application until it is stopped."""

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
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._socket.getsockname()[1]}"

    async def run(self, app: FastAPI) -> None:
        """Serve until `stop`."""
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        self._server = _Server(config)
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Take no more requests; those under way get two seconds."""
        if self._server is not None:
            self._server.should_exit = True
