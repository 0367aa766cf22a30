"""The sandbox CRM: takes signed messages, keeps a book of records, and misbehaves."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, cast

import numpy as np
from starlette.types import Receive, Scope, Send

from simulators.crm.agent import Agent
from simulators.crm.misbehave import Misbehaviour, Whim
from simulators.crm.records import Book, Message
from simulators.crm.server import AppServer
from simulators.crm.signature import fault_in
from simulators.crm.wire import body_of, cut, send_bytes

RECORDS: Final = "/sandbox/records"
"""Where whoever tests from another process sees what is kept."""


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
        if (scope["method"], scope["path"]) == ("GET", RECORDS):
            await _send(send, 200, {"records": [asdict(each) for each in self.book.records]})
            return
        now_s = time.time()
        self.requests += 1
        body = await body_of(receive)
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
            await cut(send)
            return
        retry = {"retry-after": str(self.misbehaviour.retry_after_s)} if status == 429 else {}
        await _send(send, status, {"id": number} if status == 200 else {"error": whim.value}, retry)

    def _handle(self, message: Message, now_s: float) -> None:
        before = len(self.book.records)
        record = self.book.take(message, now_s)
        if record is not None and len(self.book.records) > before and self.agent is not None:
            self.agent.consider(record)

    async def _refuse(self, send: Send, status: int, remark: str) -> None:
        self.watch(Handled(None, status, None, remark))
        await _send(send, status, {"error": remark})

    async def work(self) -> None:
        """Let the agent work, if there is one."""
        if self.agent is not None:
            await self.agent.work(self.state_of)

    def state_of(self, case_id: str) -> str:
        """The state of a case's record."""
        record = self.book.of_case(case_id)
        return "unknown" if record is None else record.state


async def _send(send: Send, status: int, answer: dict[str, object], headers: Mapping[str, str] | None = None) -> None:
    await send_bytes(send, status, json.dumps(answer).encode(), {"content-type": "application/json", **(headers or {})})


class SandboxServer(AppServer):
    """Runs a sandbox, and its agent, in a thread; use as a context manager."""

    def __init__(self, sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(sandbox, host, port, sandbox.work)
        self.sandbox = sandbox

    @property
    def url(self) -> str:
        """Where messages go to."""
        return f"{self.origin}/messages"
