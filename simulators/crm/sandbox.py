"""The sandbox CRM's HTTP server, in a thread of its own."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, cast

import numpy as np
import uvicorn
from starlette.types import Receive, Scope, Send

from simulators.crm.agent import Agent
from simulators.crm.misbehave import Misbehaviour, Whim
from simulators.crm.records import Book, Message
from simulators.crm.signature import fault_in


@dataclass(frozen=True, slots=True)
class Handled:
    """One request and what became of it, for the log."""

    whim: Whim | None  # None: refused
    status: int
    message: Message | None
    remark: str = ""


@dataclass(slots=True)
class Sandbox:
    """Receives signed messages, keeps a book of records, and misbehaves as its settings say."""

    secret: str
    misbehaviour: Misbehaviour
    rng: np.random.Generator
    agent: Agent | None = None
    watch: Callable[[Handled], None] = lambda _handled: None
    book: Book = field(default_factory=Book)
    requests: int = 0
    bad_signatures: int = 0
    whims: dict[Whim, int] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application; uvicorn's lifespan messages are not its business."""
        if scope["type"] != "http":
            return
        now_s = time.time()
        self.requests += 1
        body = await _body_of(receive)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        fault = fault_in(self.secret, headers, body, now_s)
        if fault is not None:
            self.bad_signatures += 1
            await self._refuse(send, 401, fault)
            return
        try:
            message = Message.read(headers["webhook-id"], cast("dict[str, object]", json.loads(body)))
        except (ValueError, AttributeError, TypeError):
            await self._refuse(send, 400, "the body is not the JSON of a message")
            return
        self.book.hear(message, now_s)
        await self._answer(message, now_s, send)

    async def _answer(self, message: Message, now_s: float, send: Send) -> None:
        whim = self.misbehaviour.draw(self.rng)
        self.whims[whim] = self.whims.get(whim, 0) + 1
        status = {Whim.THROTTLE: 429, Whim.UNAVAILABLE: 503, Whim.FAIL_AFTER: 500}.get(whim, 200)
        number = None
        if whim not in {Whim.THROTTLE, Whim.UNAVAILABLE}:
            for _ in range(2 if whim is Whim.TWICE else 1):
                self._handle(message, now_s)
            record = self.book.of_case(message.case_id) if message.case_id else None
            number = record.number if record else None
        self.watch(Handled(whim, status, message))
        if whim is Whim.LATE:
            await asyncio.sleep(self.misbehaviour.late_s * float(self.rng.random()))
        if whim is Whim.CUT_AFTER:
            await _cut(send)
            return
        retry = [(b"retry-after", str(self.misbehaviour.retry_after_s).encode())] if status == 429 else []
        await _send(send, status, {"id": number} if status == 200 else {"error": whim.value}, retry)

    def _handle(self, message: Message, now_s: float) -> None:
        before = len(self.book.records)
        record = self.book.take(message, now_s)
        if record is not None and len(self.book.records) > before and self.agent is not None:
            self.agent.consider(record)

    async def _refuse(self, send: Send, status: int, remark: str) -> None:
        self.watch(Handled(None, status, None, remark))
        await _send(send, status, {"error": remark})

    def state_of(self, case_id: str) -> str:
        """The state of a case's record."""
        record = self.book.of_case(case_id)
        return "unknown" if record is None else record.state


async def _body_of(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _send(
    send: Send, status: int, answer: dict[str, object], headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps(answer).encode()
    lengths = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": lengths + (headers or [])})
    await send({"type": "http.response.body", "body": body})


async def _cut(send: Send) -> None:
    """Promise more than is sent: the server then closes the connection, and the sender never knows."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})


class SandboxServer:
    """Runs a sandbox, and its agent, in a thread; use as a context manager."""

    def __init__(self, sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> None:
        self.sandbox = sandbox
        self.port = port
        self._host = host
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
    def url(self) -> str:
        """Where messages go to."""
        return f"http://{self._host}:{self.port}/messages"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # handed to the thread that started this one
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        config = uvicorn.Config(
            self.sandbox, host=self._host, port=self.port, log_config=None, log_level="critical", lifespan="off"
        )
        server = uvicorn.Server(config)
        self._server = server
        agent = self.sandbox.agent
        work = asyncio.create_task(agent.work(self.sandbox.state_of)) if agent is not None else None
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn offers no event
            await asyncio.sleep(0.01)
        if server.started:
            self.port = server.servers[0].sockets[0].getsockname()[1]
        self._started.set()
        await serving
        if work is not None:
            work.cancel()
