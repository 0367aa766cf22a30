"""A receiver of careloop's own messages, as docs/webhooks.md asks for it: Standard Webhooks both ways."""

import json
from collections.abc import Sequence
from typing import Any

from simulators.crm.signature import fault_in, sign
from simulators.crm.vendors.desk import Asked, Book, HookRequest, Reply, Ticket, instant

_FIRST = 7001
_KINDS = {"case.opened": "create", "case.updated": "note", "case.resolved": "status", "case.retracted": "status"}


class Standard:
    """Takes each message once, and makes its ticket under the case's id."""

    name = "standard"

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.book = Book()
        self.drops: set[str] = set()
        self.lacks: set[str] = set()
        self.taken: set[str] = set()

    def refuse(self, asked: Asked) -> Reply | None:
        """What is not signed, or not now."""
        fault = fault_in(self.secret, asked.headers, asked.body, asked.at_s)
        return None if fault is None else Reply(401, {"error": fault})

    def kind(self, asked: Asked) -> str:
        """By the message's type."""
        return _KINDS.get(asked.json.get("type", ""), "other")

    def work(self, asked: Asked) -> Reply:
        """Take a message that is new."""
        told: dict[str, Any] = asked.json["data"]
        number = self._take(asked, told) if asked.headers["webhook-id"] not in self.taken else None
        found = self.book.of_key(str(told.get("case_id", "")))
        number = found[0].number if found else number
        self.taken.add(asked.headers["webhook-id"])
        return Reply(200, {"external_id": number} if number else {})

    def _take(self, asked: Asked, told: dict[str, Any]) -> str | None:
        kind, key = self.kind(asked), str(told.get("case_id", ""))
        found = self.book.of_key(key)
        if kind == "create" and not found:
            number = str(_FIRST + len(self.book.tickets))
            title, text, priority = (str(told.get(name, "")) for name in ("title", "brief", "severity"))
            self.book.tickets[number] = Ticket(number, key, title, text, priority, "open", asked.at_s)
            return number
        if found and kind == "note":
            self.book.note(
                found[0], f"{told.get('brief')} [{asked.headers['webhook-id']}]", asked.at_s, is_public=False
            )
        if found and kind == "status":
            found[0].status, found[0].changed_s = "resolved", asked.at_s
        return None

    def throttle(self) -> Reply:
        """429 with Retry-After."""
        return Reply(429, {"error": "slow down"}, {"retry-after": "20"})

    def forbid(self) -> Reply:
        """A firewall's page."""
        return Reply(403, raw=b"<html>blocked</html>")

    def word(self, status: str) -> str:
        """Its own words."""
        return {"open": "open", "waiting": "waiting", "closed": "resolved"}[status]

    def called(self, owner: str) -> str:
        """As everybody calls them."""
        return owner

    def hook(self, changed: Sequence[Ticket], at_s: float, secret: str) -> HookRequest:
        """A callback, with a version that rises with each change."""
        ticket = changed[-1]
        data = {
            "case": ticket.key,
            "status": ticket.status,
            "external_id": ticket.number,
            "version": int(ticket.changed_s) % 2**31,
        }
        body = json.dumps({"type": "case.status", "timestamp": instant(at_s), "data": data}).encode()
        return HookRequest(sign(secret, f"msg_{ticket.number}_{int(ticket.changed_s)}", at_s, body), {}, body)
