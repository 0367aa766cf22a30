"""Zendesk Support, as it describes itself.

Sources: developer.zendesk.com/api-reference/ticketing/introduction, …/ticketing/tickets/tickets,
…/ticketing/ticket-management/incremental_exports, …/webhooks/event-types/ticket-events,
developer.zendesk.com/documentation/webhooks/verifying
"""

import base64
import hmac
import json
from collections.abc import Sequence
from typing import Any

from simulators.crm.vendors.desk import Asked, Book, File, HookRequest, Reply, Ticket, instant, without

_FIRST = 5001
_EDGE_S = 60.0  # what changed in the last minute is left out of an export


class Zendesk:
    """Tickets with an external id that is not unique, and creates that are safe for two hours under a key."""

    name = "zendesk"
    statuses = ("new", "open", "pending", "hold", "solved", "closed")

    def __init__(self, token: str) -> None:
        self.token = token
        self.book = Book()
        self.drops: set[str] = set()
        self.lacks: set[str] = set()
        self.users = {"owner-1": 70}
        self.leaves_out_s = 0.0
        self.problems: set[str] = set()  # tickets of the type problem
        self.merges: list[tuple[float, str, str, dict[str, Any]]] = []  # asked for when; which one into which; as told

    def refuse(self, asked: Asked) -> Reply | None:
        """OAuth's bearer, or agent/token and an API token."""
        pair = base64.b64encode(f"agent@example.com/token:{self.token}".encode()).decode()
        if asked.headers.get("authorization") in {f"Bearer {self.token}", f"Basic {pair}"}:
            return None
        return Reply(401, {"error": "Couldn't authenticate you"})

    def kind(self, asked: Asked) -> str:
        """By path, and for changes by what is changed."""
        ticket: dict[str, Any] = asked.json.get("ticket", {}) if asked.method == "PUT" else {}
        match (asked.method, *asked.parts[2:]):
            case ("GET", "users", "me.json") | ("GET", "ticket_fields.json"):
                return "checks"
            case ("GET", "users", "search.json"):
                return "contact"
            case ("GET", "users", "show_many.json"):
                return "people"
            case ("POST", "tickets.json" | "uploads.json" as what):
                return "create" if what == "tickets.json" else "attachment"
            case ("GET", "tickets.json"):
                return "find"
            case ("GET", "incremental", *_):
                return "poll"
            case ("GET", "tickets", _, "comments.json"):
                return "note.find"
            case ("POST", "tickets", _, "merge.json"):
                return "duplicate"
            case ("GET", "tickets", _):
                return "read"
            case _:
                return _change_of(ticket)

    def work(self, asked: Asked) -> Reply:
        """Answer."""
        self._merge_what_is_due(asked.at_s)
        match self.kind(asked):
            case "checks":
                if asked.parts[-1] == "ticket_fields.json":
                    return Reply(200, without(_fields(self.statuses), self.lacks))
                return Reply(200, {"user": {"id": 1, "role": "end-user" if "agent" in self.lacks else "agent"}})
            case "contact":
                found = self.users.get(asked.query.get("external_id", ""))
                return Reply(200, {"users": [] if found is None else [{"id": found}]})
            case "people":
                wanted = asked.query["ids"].split(",")
                people = [{"id": number, "external_id": ref} for ref, number in self.users.items()]
                return Reply(200, {"users": [each for each in people if str(each["id"]) in wanted]})
            case "create":
                return self._create(asked)
            case "attachment":
                token, name = f"upload-{len(self.book.uploads)}", asked.query["filename"]
                self.book.uploads[token] = File(name, asked.headers["content-type"], len(asked.body))
                return Reply(201, {"upload": {"token": token, "attachments": [{"file_name": name}]}})
            case "find":
                found = self.book.of_key(asked.query.get("external_id", ""))
                return Reply(200, {"tickets": [_shown(each) for each in found], "next_page": None})
            case "poll":
                since_s = float(asked.query.get("start_time", "0"))
                if since_s > asked.at_s - _EDGE_S:
                    return Reply(422, {"error": "InvalidValue", "description": "start_time is too recent"})
                found = self.book.changed_since(since_s)
                told = [_shown(each) for each in found if each.changed_s <= asked.at_s - self.leaves_out_s]
                return Reply(200, {"tickets": told, "after_url": None, "end_of_stream": True})
            case _:
                return self._on_ticket(asked)

    def _create(self, asked: Asked) -> Reply:
        key = asked.headers.get("idempotency-key")
        before = self.book.idempotent.get(key) if key else None
        if before is not None:
            if before[0] != asked.body:
                return Reply(400, {"error": "IdempotentRequestError", "description": "the request has changed"})
            return Reply(before[1].status, before[1].body, {"x-idempotency-lookup": "hit"})
        told = asked.json["ticket"]
        ticket = Ticket(
            number=str(_FIRST + len(self.book.tickets)),
            key="" if "key" in self.drops else told.get("external_id") or "",
            title=told["subject"],
            text=told["comment"]["body"],
            priority="normal" if "priority" in self.drops else told.get("priority", "normal"),
            status="new",
            changed_s=asked.at_s,
            contact=str(told.get("requester_id", "")) or None,
        )
        self.book.tickets[ticket.number] = ticket
        if told.get("type") == "problem":
            self.problems.add(ticket.number)
        self.book.note(ticket, ticket.text, asked.at_s, is_public=told["comment"].get("public", True))
        reply = Reply(201, {"ticket": _shown(ticket)}, {"x-idempotency-lookup": "miss"})
        if key:
            self.book.idempotent[key] = (asked.body, reply)
        return reply

    def _merge_what_is_due(self, now_s: float) -> None:
        """Jobs in the background; one that may not be done fails where nobody sees it."""
        for at_s, source, target, told in [each for each in self.merges if each[0] < now_s]:
            self.merges.remove((at_s, source, target, told))
            one, into = self.book.tickets.get(source), self.book.tickets[target]
            if one is None or "closed" in {one.status, into.status}:
                continue
            self.book.note(into, told["target_comment"], now_s, is_public=told["target_comment_is_public"])
            self.book.note(one, told["source_comment"], now_s, is_public=told["source_comment_is_public"])
            one.status, one.merged_into = "closed", target

    def _on_ticket(self, asked: Asked) -> Reply:
        ticket = self.book.tickets.get(asked.parts[3].removesuffix(".json"))
        if ticket is None or ticket.removed:
            return Reply(404, {"error": "RecordNotFound", "description": "Not found"})
        if asked.method == "GET" and asked.parts[-1] == "comments.json":
            files = [{"file_name": each.name} for each in ticket.files]
            comments: list[dict[str, Any]] = [
                {"id": each.number, "body": each.text, "public": each.is_public} for each in ticket.notes
            ]
            comments[-1]["attachments"] = files  # none of ours asks on which of them they hang
            return Reply(200, {"comments": comments, "next_page": None})
        if asked.method == "GET":
            return Reply(200, {"ticket": _shown(ticket)})
        if asked.parts[-1] == "merge.json":
            told = asked.json
            if not all(isinstance(each, int) for each in told["ids"]):
                return Reply(400, {"error": "InvalidValue", "description": "ids are numbers"})
            self.merges += [(asked.at_s, str(each), ticket.number, told) for each in told["ids"]]
            return Reply(200, {"job_status": {"id": f"job-{len(self.merges)}", "status": "queued"}})
        if ticket.status == "closed":
            says = {"base": [{"description": "Status: closed prevents ticket update"}]}
            return Reply(422, {"error": "RecordInvalid", "details": says})
        return self._change(ticket, asked.json["ticket"], asked.at_s)

    def _change(self, ticket: Ticket, told: dict[str, Any], at_s: float) -> Reply:
        if told.get("status", "open") not in self.statuses:
            return Reply(422, {"error": "RecordInvalid", "details": {"status": [{"description": "is not valid"}]}})
        problem = told.get("problem_id")
        if problem is not None and str(problem) not in self.problems:
            return Reply(422, {"error": "RecordInvalid", "details": {"problem": [{"description": "is no problem"}]}})
        if "problem_id" in told:
            ticket.parent = "" if problem is None else str(problem)
        if "external_id" in told and "key" not in self.drops:
            ticket.key = told["external_id"]
        if "priority" in told and "priority" not in self.drops:
            ticket.priority = told["priority"]
        if "comment" in told:
            is_public = told["comment"].get("public", True)
            self.book.note(ticket, told["comment"]["body"], at_s, is_public=is_public)
            ticket.files += [self.book.uploads[token] for token in told["comment"].get("uploads", ())]
        ticket.status = told.get("status", ticket.status)
        ticket.changed_s = at_s
        if ticket.status == "solved":  # whoever solves a problem solves its incidents
            for each in self.book.present():
                if each.parent == ticket.number and each.status != "closed":
                    each.status, each.changed_s = "solved", at_s
        return Reply(200, {"ticket": _shown(ticket)})

    def throttle(self) -> Reply:
        """429 with Retry-After, and a page that is no JSON."""
        return Reply(429, headers={"retry-after": "30", "content-type": "text/html"}, raw=b"<html>Too many</html>")

    def forbid(self) -> Reply:
        """The ticket lies where this agent does not see it."""
        return Reply(403, {"error": {"title": "Forbidden", "message": "You do not have access to this ticket"}})

    def word(self, status: str) -> str:
        """Its own words."""
        return {"open": "open", "waiting": "pending", "closed": "solved"}[status]

    def called(self, owner: str) -> str:
        """A user's number."""
        return str(self.users[owner])

    def hook(self, changed: Sequence[Ticket], at_s: float, secret: str) -> HookRequest:
        """A ticket event."""
        ticket = changed[-1]
        detail = {**_shown(ticket), "status": ticket.status.upper(), "id": ticket.number}
        body = json.dumps({"type": "zen:event-type:ticket.status_changed", "detail": detail}).encode()
        timestamp = instant(at_s)
        signature = base64.b64encode(hmac.digest(secret.encode(), timestamp.encode() + body, "sha256")).decode()
        headers = {
            "X-Zendesk-Webhook-Signature": signature,
            "X-Zendesk-Webhook-Signature-Timestamp": timestamp,
            "X-Zendesk-Webhook-Invocation-Id": f"inv-{ticket.number}-{ticket.changed_s}",
        }
        return HookRequest(headers, {}, body)


def _fields(statuses: Sequence[str]) -> dict[str, Any]:
    options = {
        "priority": ("low", "normal", "high", "urgent"),
        "status": statuses,
        "tickettype": ("question", "incident", "problem", "task"),
    }
    fields = [
        {"id": at, "type": kind, "system_field_options": [{"name": each.title(), "value": each} for each in values]}
        for at, (kind, values) in enumerate(options.items())
    ]
    return {"ticket_fields": [{"id": 9, "type": "subject"}, *fields]}


def _change_of(told: dict[str, Any]) -> str:
    if "problem_id" in told:
        return "parent"
    if "uploads" in told.get("comment", ()):
        return "attachment.attach"
    return "note" if "comment" in told else "status" if "status" in told else "update"


def _shown(ticket: Ticket) -> dict[str, Any]:
    return {
        "id": int(ticket.number),
        "external_id": ticket.key or None,
        "subject": ticket.title,
        "priority": ticket.priority,
        "status": ticket.status,
        "requester_id": ticket.contact,
        "tags": [
            "careloop",
            *([f"careloop_{ticket.outcome}"] if ticket.outcome else []),
            *(["closed_by_merge"] if ticket.merged_into else []),
        ],
        "via": {"channel": "web"},
        "updated_at": instant(ticket.changed_s),
    }
