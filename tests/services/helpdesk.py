"""A helpdesk with an API of its own, which does to its callers what helpdesks do."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from tests.services.http_by_hand import HttpByHand, Request

TOKEN: Final = "t0ken-of-the-helpdesk"
PAGE: Final = 2
STATUSES: Final = frozenset({"open", "pending", "solved"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: Any

    @property
    def line(self) -> str:
        """What it was, without the query."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw: bytes | None = None


Trick = Callable[["Helpdesk", Asked], Answer | None]
"""Answers in place of the helpdesk; None breaks the connection."""


def commits_then(answer: Answer | None) -> Trick:
    """The work is done, and something else is answered."""

    def trick(desk: "Helpdesk", asked: Asked) -> Answer | None:
        desk.work(asked)
        return answer

    return trick


def refuses(status: int, body: Any = None, **headers: str) -> Trick:
    """Nothing is done."""
    return lambda _desk, _asked: Answer(status, body, {key.replace("_", "-"): text for key, text in headers.items()})


class Helpdesk(HttpByHand):
    """Tickets, comments and users, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.tickets: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.users: list[dict[str, Any]] = [{"id": 70, "external_id": "owner-1"}]
        self.asked: list[Asked] = []
        self.tricks: dict[str, deque[Trick]] = {}  # by "POST /api/tickets"; each is played once
        self.tokens = {TOKEN}
        self.granted = 0
        self.fields = ["careloop_case", "colour"]
        self.drops: set[str] = set()  # fields that are forgotten without a word
        self.ignores_filters = False
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def url(self) -> str:
        """Where its API begins."""
        return f"http://127.0.0.1:{self.port}"

    def trick(self, line: str, *tricks: Trick) -> None:
        """Play these on the next requests of a kind."""
        self.tricks.setdefault(line, deque()).extend(tricks)

    def lines(self) -> list[str]:
        """What was asked, in order."""
        return [each.line for each in self.asked]

    def work(self, asked: Asked) -> Answer:
        """What an honest helpdesk does."""
        parts = asked.path.strip("/").split("/")[1:]
        match (asked.method, parts):
            case ("GET", ["me"]):
                return Answer(200, {"scopes": ["tickets:read", "tickets:write"]})
            case ("GET", ["fields"]):
                return Answer(200, {"fields": [{"key": key} for key in self.fields]})
            case ("GET", ["users"]):
                wanted = asked.query.get("external_id")
                return Answer(200, {"users": [user for user in self.users if user["external_id"] == wanted]})
            case ("POST", ["tickets"]):
                return self._create(asked.body)
            case ("GET", ["tickets"]):
                return self._list(asked.query)
            case (_, ["tickets", number, *rest]) if int(number) in self.tickets:
                return self._ticket(asked, int(number), rest)
            case _:
                return Answer(404, {"error": "not found"})

    def _create(self, body: dict[str, Any]) -> Answer:
        number = 100 + len(self.tickets)
        self.tickets[number] = {"id": number, "status": "open", **self._kept(body)}
        self.comments[number] = []
        return Answer(201, {"ticket": self.tickets[number]})

    def _kept(self, body: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in body.items() if key not in self.drops}
        if isinstance(kept.get("fields"), dict):
            fields = cast("dict[str, Any]", kept["fields"])
            kept["fields"] = {key: value for key, value in fields.items() if key in self.fields}
        return kept

    def _list(self, query: Mapping[str, str]) -> Answer:
        found = list(self.tickets.values())
        if "careloop_case" in query and not self.ignores_filters:
            wanted = query["careloop_case"]
            found = [ticket for ticket in found if ticket.get("fields", {}).get("careloop_case") == wanted]
        start = (int(query.get("page", "1")) - 1) * PAGE
        return Answer(200, {"tickets": found[start : start + PAGE]})

    def _ticket(self, asked: Asked, number: int, rest: list[str]) -> Answer:
        ticket = self.tickets[number]
        match (asked.method, rest):
            case ("GET", []):
                return Answer(200, {"ticket": ticket})
            case ("PUT", []):
                if asked.body.get("status", "open") not in STATUSES:
                    return Answer(200, {"error": "this status is not allowed here"})
                ticket.update(self._kept(asked.body))
                return Answer(200, {"ticket": ticket})
            case ("POST", ["comments"]):
                self.comments[number].append(asked.body)
                return Answer(201, {"comment": asked.body})
            case ("GET", ["comments"]):
                return Answer(200, {"comments": self.comments[number]})
            case _:
                return Answer(405)

    def _answer(self, asked: Asked) -> Answer | None:
        self.asked.append(asked)
        if asked.line == "POST /oauth/token":
            self.granted += 1
            self.tokens = {f"granted-{self.granted}"}
            return Answer(200, {"access_token": f"granted-{self.granted}", "expires_in": 3600})
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return Answer(401, {"error": "who are you?"})
        waiting = self.tricks.get(asked.line)
        return waiting.popleft()(self, asked) if waiting else self.work(asked)

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer as a helpdesk, or with a trick."""
        url = urlsplit(request.target)
        is_json = request.headers.get("content-type", "").startswith("application/json")
        body = json.loads(request.body) if is_json and request.body else request.body.decode()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        answer = self._answer(Asked(request.method, url.path, dict(parse_qsl(url.query)), request.headers, body))
        self.in_flight -= 1
        if answer is None:
            cast("asyncio.Transport", writer.transport).abort()
            return False
        content = (
            answer.raw if answer.raw is not None else b"" if answer.body is None else json.dumps(answer.body).encode()
        )
        lines = [f"HTTP/1.1 {answer.status} Whatever", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        await writer.drain()
        return True
