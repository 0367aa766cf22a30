"""The made-up helpdesk of docs/crm/example-helpdesk.toml: no unique key, no idempotency, a filter, signed hooks."""

import hmac
import json
from collections.abc import Sequence
from typing import Any

from simulators.crm.vendors.desk import Asked, Book, HookRequest, Reply, Ticket, bearer, forms_of, instant

_FIRST = 100
_PAGE = 20
_STATUSES = ("open", "pending", "solved")


class Example:
    """What a helpdesk usually has."""

    name = "example"

    def __init__(self, token: str) -> None:
        self.token = token
        self.book = Book()
        self.drops: set[str] = set()
        self.lacks: set[str] = set()
        self.users = {"owner-1": 70}

    def refuse(self, asked: Asked) -> Reply | None:
        """A bearer's token."""
        return None if bearer(asked) == self.token else Reply(401, {"error": "who are you?"})

    def kind(self, asked: Asked) -> str:
        """By path."""
        match (asked.method, *asked.parts[1:]):
            case ("GET", "me" | "fields"):
                return "checks"
            case ("GET", "users"):
                return "contact"
            case ("POST", "tickets"):
                return "create"
            case ("GET", "tickets"):
                return "poll" if "updated_since" in asked.query else "find"
            case ("GET", "tickets", _):
                return "read"
            case ("GET", "tickets", _, "comments"):
                return "note.find"
            case (method, "tickets", _, "attachments"):
                return "attachment" if method == "POST" else "attachment.find"
            case ("POST", "tickets", _, "comments"):
                return "note"
            case _:
                told: dict[str, Any] = asked.json
                if "duplicate_of" in told.get("fields", ()):
                    return "duplicate"
                return "parent" if "parent_id" in told else "status" if "status" in told else "update"

    def work(self, asked: Asked) -> Reply:
        """Answer."""
        match self.kind(asked):
            case "checks":
                scopes, fields = ["tickets:read", "tickets:write"], [{"key": "careloop_case"}, {"key": "cause"}]
                return Reply(200, {"scopes": scopes} if asked.parts[-1] == "me" else {"fields": fields})
            case "contact":
                found = self.users.get(asked.query.get("external_id", ""))
                return Reply(200, {"users": [] if found is None else [{"id": found}]})
            case "create":
                return self._create(asked)
            case "find" | "poll":
                return self._list(asked)
            case _:
                return self._on_ticket(asked)

    def _create(self, asked: Asked) -> Reply:
        told = asked.json
        ticket = Ticket(
            number=str(_FIRST + len(self.book.tickets)),
            key="" if "key" in self.drops else told["fields"]["careloop_case"],
            title=told["subject"],
            text=told["description"],
            priority="" if "priority" in self.drops else told["priority"],
            status="open",
            changed_s=asked.at_s,
            contact=str(told["requester_id"]),
        )
        self.book.tickets[ticket.number] = ticket
        return Reply(201, {"ticket": _shown(ticket)})

    def _list(self, asked: Asked) -> Reply:
        key = asked.query.get("careloop_case")
        found = list(self.book.present()) if key is None else self.book.of_key(key)
        start = (int(asked.query.get("page", "1")) - 1) * _PAGE
        return Reply(200, {"tickets": [_shown(each) for each in found[start : start + _PAGE]]})

    def _on_ticket(self, asked: Asked) -> Reply:
        ticket = self.book.tickets.get(asked.parts[2])
        if ticket is None or ticket.removed:
            return Reply(404, {"error": "not found"})
        match self.kind(asked):
            case "read":
                return Reply(200, {"ticket": _shown(ticket)})
            case "note.find":
                return Reply(200, {"comments": [{"text": each.text} for each in ticket.notes]})
            case "attachment":
                _, file = forms_of(asked)
                ticket.files += [] if file is None else [file]
                return Reply(201 if file else 400, {})
            case "attachment.find":
                return Reply(200, {"attachments": [{"name": each.name} for each in ticket.files]})
            case "note":
                self.book.note(ticket, asked.json["text"], asked.at_s, is_public=asked.json.get("public", True))
                return Reply(201, {"comment": asked.json})
            case _:
                return self._change(ticket, asked)

    def _change(self, ticket: Ticket, asked: Asked) -> Reply:
        told = asked.json
        if told.get("status", "open") not in _STATUSES:
            return Reply(200, {"error": "this status is not allowed here"})
        if "parent_id" in told:
            ticket.parent = "" if told["parent_id"] is None else str(told["parent_id"])
        ticket.status = told.get("status", ticket.status)
        if "priority" not in self.drops:
            ticket.priority = told.get("priority", ticket.priority)
        if "key" not in self.drops and "fields" in told:
            ticket.key = told["fields"].get("careloop_case", ticket.key)
        ticket.merged_into = told.get("fields", {}).get("duplicate_of", ticket.merged_into)
        ticket.changed_s = asked.at_s
        return Reply(200, {"ticket": _shown(ticket)})

    def throttle(self) -> Reply:
        """403, which is a limit here."""
        return Reply(403, {"error": "rate limit exceeded"})

    def forbid(self) -> Reply:
        """An unknown queue."""
        return Reply(403, {"error": "queue is not available"})

    def word(self, status: str) -> str:
        """Its own words."""
        return {"open": "open", "waiting": "pending", "closed": "solved"}[status]

    def called(self, owner: str) -> str:
        """As everybody calls them."""
        return owner

    def hook(self, changed: Sequence[Ticket], at_s: float, secret: str) -> HookRequest:
        """One ticket, signed."""
        body, timestamp = json.dumps({"ticket": _shown(changed[-1])}).encode(), str(int(at_s))
        signature = hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()
        headers = {"X-Helpdesk-Signature": f"sha256={signature}", "X-Helpdesk-Timestamp": timestamp}
        return HookRequest(headers, {}, body)


def _shown(ticket: Ticket) -> dict[str, Any]:
    return {
        "id": int(ticket.number),
        "subject": ticket.title,
        "priority": ticket.priority,
        "status": ticket.status,
        "fields": {
            "careloop_case": ticket.key,
            "cause": ticket.outcome,
            "said": ticket.said,
            "duplicate_of": ticket.merged_into,
        },
        "updated_at": instant(ticket.changed_s),
    }
