"""An HTTP server in a thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Protocol, Self

import uvicorn
from starlette.types import Receive, Scope, Send


class App(Protocol):
    """An ASGI application; HTTP is all that it is asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ...


async def _rest() -> None:
    """Nothing to do beside answering."""


class AppServer:
    """Runs an application, and what works beside it, in a thread; use as a context manager."""

    def __init__(
        self, app: App, host: str = "127.0.0.1", port: int = 0, beside: Callable[[], Awaitable[None]] = _rest
    ) -> None:
        self.port = port
        self._app = app
        self._host = host
        self._beside = beside
        self._server: uvicorn.Server | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="crm-sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(timeout=5)

    @property
    def origin(self) -> str:
        """Where it is, without a path."""
        return f"http://{self._host}:{self.port}"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # handed to the thread that started this one
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        config = uvicorn.Config(
            self._app, host=self._host, port=self.port, log_config=None, log_level="critical", lifespan="off"
        )
        server = uvicorn.Server(config)
        self._server = server
        work = asyncio.ensure_future(self._beside())
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn offers no event
            await asyncio.sleep(0.01)
        if server.started:
            self.port = server.servers[0].sockets[0].getsockname()[1]
        self._started.set()
        await serving
        work.cancel()
