"""An imitated CRM behind HTTP, and what goes wrong with it on command.

``POST /sandbox/faults`` with ``{"on": "create", "fault": "fail_after", "times": 2}`` commands faults of the next
requests of a kind, ``POST /sandbox/status`` with ``{"number": …, "status": "closed"}`` lets somebody work on a record,
``POST /sandbox/tickets`` and ``POST /sandbox/contacts`` with ``{"owner": …}`` let somebody open a ticket for an owner,
or speak with them, ``GET /sandbox/records`` shows what is kept: for whoever tests from another process.
"""

import copy
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import numpy as np
from starlette.types import Receive, Scope, Send

from simulators.crm.misbehave import Misbehaviour, Whim
from simulators.crm.vendors.desk import Asked, Reply, Vendor
from simulators.crm.wire import body_of, cut, send_bytes


class Fault(StrEnum):
    """What becomes of a request."""

    FAIL_AFTER = "fail_after"  # done, and answered 500
    CUT_AFTER = "cut_after"  # done, and the connection cut in the middle of the answer
    HANG_AFTER = "hang_after"  # done, and never answered
    FAIL_BEFORE = "fail_before"  # 500, nothing done
    PAGE = "page"  # 200 with a proxy's page, nothing done
    IGNORE = "ignore"  # answered as if it were done
    DROP = "drop"  # done, but the priority is forgotten without a word
    FORBID = "forbid"  # 403 that is not about who asks
    THROTTLE = "throttle"  # its own sign of too many requests
    UNAVAILABLE = "unavailable"  # 503
    RACE = "race"  # the same arrives twice at the same moment


_WHIMS = {
    Whim.THROTTLE: Fault.THROTTLE,
    Whim.UNAVAILABLE: Fault.UNAVAILABLE,
    Whim.FAIL_AFTER: Fault.FAIL_AFTER,
    Whim.CUT_AFTER: Fault.CUT_AFTER,
    Whim.TWICE: Fault.RACE,
}


@dataclass(slots=True)
class VendorSandbox:
    """The ASGI application of one imitated CRM."""

    vendor: Vendor
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour.none)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    now_s: Callable[[], float] = time.time
    watch: Callable[[str, int, str], None] = lambda _kind, _status, _fault: None
    callback_url: str | None = None  # where hooks go to
    hook_secret: str = ""
    asked: list[tuple[str, Asked]] = field(default_factory=list[tuple[str, Asked]])
    most_in_flight: int = 0
    _faults: dict[str, deque[Fault]] = field(default_factory=dict[str, deque[Fault]])
    _in_flight: int = 0

    def command(self, on: str, *faults: Fault) -> None:
        """These, of the next requests of a kind."""
        self._faults.setdefault(on, deque()).extend(faults)

    def forget(self) -> None:
        """No fault that was commanded is to come any more."""
        self._faults.clear()

    def count(self, kind: str) -> int:
        """How often something was asked."""
        return sum(1 for each, _ in self.asked if each == kind)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        asked = Asked(
            scope["method"],
            unquote(scope["raw_path"].decode("latin-1").partition("?")[0]),
            dict(parse_qsl(scope["query_string"].decode("latin-1"))),
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            await body_of(receive),
            self.now_s(),
        )
        if asked.path.startswith("/sandbox/"):
            await self._reply(send, await self._control(asked))
            return
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await self._answer(asked, receive, send)
        finally:
            self._in_flight -= 1

    async def _answer(self, asked: Asked, receive: Receive, send: Send) -> None:
        refusal = self.vendor.refuse(asked)
        if refusal is not None:
            self.watch("token", refusal.status, "")
            await self._reply(send, refusal)
            return
        kind = self.vendor.kind(asked)
        self.asked.append((kind, asked))
        waiting = self._faults.get(kind)
        fault = waiting.popleft() if waiting else _WHIMS.get(self.misbehaviour.draw(self.rng))
        reply = self._work(asked, fault)
        self.watch(kind, reply.status, fault or "")
        if fault is Fault.HANG_AFTER:
            while (await receive())["type"] != "http.disconnect":
                pass
        elif fault is Fault.CUT_AFTER:
            await cut(send)
        else:
            await self._reply(send, reply)

    def _work(self, asked: Asked, fault: Fault | None) -> Reply:
        """What is done, and what is answered."""
        vendor = self.vendor
        match fault:
            case Fault.FAIL_BEFORE:
                return Reply(500, raw=b"Internal Server Error")
            case Fault.UNAVAILABLE:
                return Reply(503, raw=b"<html>back soon</html>")
            case Fault.PAGE:
                return Reply(200, raw=b"<html>welcome</html>", headers={"content-type": "text/html"})
            case Fault.FORBID:
                return vendor.forbid()
            case Fault.THROTTLE:
                return vendor.throttle()
            case Fault.FAIL_AFTER:
                vendor.work(asked)
                return Reply(500, raw=b"Internal Server Error")
            case Fault.IGNORE:
                before = copy.deepcopy(vendor.book)
                reply = vendor.work(asked)
                vendor.book = before
                return reply
            case Fault.DROP:
                vendor.drops.add("priority")
                reply = vendor.work(asked)
                vendor.drops.clear()
                return reply
            case Fault.RACE:
                vendor.work(asked)
                return vendor.work(asked)
            case _:
                return vendor.work(asked)

    async def _control(self, asked: Asked) -> Reply:
        match (asked.method, asked.path):
            case ("POST", "/sandbox/faults"):
                told: dict[str, Any] = asked.json
                try:
                    self.command(str(told["on"]), *[Fault(told["fault"])] * int(told.get("times", 1)))
                except (KeyError, ValueError, TypeError) as error:
                    return Reply(400, {"error": str(error), "faults": [each.value for each in Fault]})
                return Reply(204)
            case ("POST", "/sandbox/status"):
                return await self._move(asked)
            case ("POST", "/sandbox/tickets" | "/sandbox/contacts"):
                return self._serve(asked)
            case ("GET", "/sandbox/records"):
                return Reply(200, {"records": [asdict(each) for each in self.vendor.book.tickets.values()]})
            case _:
                posts = ("faults", "status", "tickets", "contacts")
                known = ", ".join(f"POST /sandbox/{each}" for each in posts)
                return Reply(404, {"error": f"{known}, GET /sandbox/records"})

    def _serve(self, asked: Asked) -> Reply:
        """Somebody opens a ticket for an owner, or speaks with them, without careloop."""
        told: dict[str, Any] = asked.json
        vendor = self.vendor
        try:
            owner = vendor.called(str(told["owner"]))
        except KeyError as error:
            return Reply(400, {"error": f"there is no {error}"})
        if asked.path == "/sandbox/contacts":
            vendor.book.speak(owner, asked.at_s)
            return Reply(204)
        ticket = vendor.book.open_by_people(owner, vendor.word("open"), asked.at_s)
        return Reply(201, {"number": ticket.number})

    async def _move(self, asked: Asked) -> Reply:
        """Somebody works on a record; a hook tells of it, unless it is to be found by asking."""
        told: dict[str, Any] = asked.json
        try:
            ticket = self.vendor.book.tickets[str(told["number"])]
            ticket.status, ticket.changed_s = self.vendor.word(str(told["status"])), asked.at_s
        except KeyError as error:
            return Reply(400, {"error": f"there is no {error}", "statuses": ["open", "waiting", "closed"]})
        if told.get("silent") or self.callback_url is None:
            return Reply(204)
        hook = self.vendor.hook([ticket], asked.at_s, self.hook_secret)
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
            answer = await http.post(
                self.callback_url, content=hook.body, headers=dict(hook.headers), params=dict(hook.query) or None
            )
        return Reply(200, {"hook": answer.status_code, "answer": answer.text})

    async def _reply(self, send: Send, reply: Reply) -> None:
        headers = {"content-type": "application/json", **reply.headers}
        await send_bytes(send, reply.status, reply.content, headers)
