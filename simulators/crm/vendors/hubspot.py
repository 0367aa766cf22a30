"""HubSpot, as it describes itself.

Sources: developers.hubspot.com/docs/api-reference/latest/crm/objects/tickets (batch/upsert, search),
…/docs/api/usage-details, …/docs/api-reference/latest/error-handling, …/authentication/request-validation
"""

import base64
import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from simulators.crm.vendors.desk import (
    Asked,
    Book,
    HookRequest,
    Reply,
    Spoken,
    Ticket,
    bearer,
    forms_of,
    instant,
    without,
)

_FIRST = 90_001
_STAGES = ("1", "2", "3", "4")
CALLBACK_URL = "https://gateway.example.com/v1/callbacks/crm"


class Hubspot:
    """Tickets with a property whose values are unique, and batches that may be done in part."""

    name = "hubspot"

    def __init__(self, token: str) -> None:
        self.token = token
        self.book = Book()
        self.drops: set[str] = set()
        self.lacks: set[str] = set()
        self.contacts = {"owner-1": "301"}
        self.callback_url = CALLBACK_URL

    def refuse(self, asked: Asked) -> Reply | None:
        """A private app's token."""
        if bearer(asked) == self.token:
            return None
        return Reply(401, {"status": "error", "category": "INVALID_AUTHENTICATION", "message": "expired or invalid"})

    def kind(self, asked: Asked) -> str:
        """By path."""
        match (asked.method, *asked.parts[2:]):
            case ("GET", "properties" | "pipelines", *_):
                return "checks"
            case ("POST", "objects", "contacts" | "tickets" as what, "search"):
                return _search_for(what, asked.json)
            case ("POST", "associations", *_):
                return "people"
            case ("POST", "objects", "tickets", "batch", "upsert"):
                return "create"
            case ("POST", "objects", "tickets", "search"):
                return (
                    "poll" if asked.json["filterGroups"][0]["filters"][1]["operator"] == "HAS_PROPERTY" else "tickets"
                )
            case ("PUT" | "DELETE", "objects", "tickets", _, "associations", *to):
                return "parent" if "tickets" in to else "link"
            case ("GET", "objects", "tickets", _, "associations", *_):
                return "note.first"
            case ("POST", "objects", "notes", "batch", "read"):
                return "note.find"
            case _:
                return _on_ticket(asked)

    def work(self, asked: Asked) -> Reply:
        """Answer."""
        match self.kind(asked):
            case "checks":
                return _described(asked.parts[-1], self.lacks)
            case "contact":
                wanted = asked.json["filterGroups"][0]["filters"][0]["value"]
                return Reply(200, {"results": [{"id": self.contacts[wanted]}] if wanted in self.contacts else []})
            case "contacts":
                since_s = float(asked.json["filterGroups"][0]["filters"][0]["value"]) / 1000
                return Reply(200, {"results": [_last_contacted(e) for e in self.book.spoken if e.at_s >= since_s]})
            case "people":
                wanted = [self.book.tickets[each["id"]] for each in asked.json["inputs"]]
                told = [{"from": {"id": each.number}, "to": [{"toObjectId": each.contact}]} for each in wanted]
                return Reply(200, {"status": "COMPLETE", "results": told})
            case "create":
                return self._upsert(asked)
            case "find":
                found = self.book.of_key(asked.parts[4])
                return Reply(200, _shown(found[0])) if found else _missing()
            case "poll" | "tickets":
                return self._search(asked)
            case "note" | "attachment" | "attachment.attach" as kind:
                return self._upload(asked) if kind == "attachment" else self._note(asked)
            case "note.find":
                wanted = {each["id"] for each in asked.json["inputs"]}
                notes = [note for ticket in self.book.tickets.values() for note in ticket.notes]
                found = [
                    {"id": str(note.number), "properties": {"hs_note_body": note.text}}
                    for note in notes
                    if str(note.number) in wanted
                ]
                return Reply(200, {"status": "COMPLETE", "results": found})
            case _:
                return self._on_ticket(asked)

    def _upsert(self, asked: Asked) -> Reply:
        told = asked.json["inputs"][0]
        values = told["properties"]
        if values.get("hs_pipeline_stage", "1") not in _STAGES:
            error = {"status": "error", "category": "VALIDATION_ERROR", "message": "no such stage"}
            return Reply(207, {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [error]})
        found = self.book.of_key(told["id"])
        if found:
            self._change(found[0], values, asked.at_s)
            return Reply(200, {"status": "COMPLETE", "results": [{**_shown(found[0]), "new": False}]})
        ticket = Ticket(
            number=str(_FIRST + len(self.book.tickets)),
            key="" if "key" in self.drops else told["id"],
            title=values["subject"],
            text=values["content"],
            priority="LOW" if "priority" in self.drops else values["hs_ticket_priority"],
            status=values["hs_pipeline_stage"],
            changed_s=asked.at_s,
        )
        self.book.tickets[ticket.number] = ticket
        return Reply(201, {"status": "COMPLETE", "results": [{**_shown(ticket), "new": True}]})

    def _search(self, asked: Asked) -> Reply:
        told = asked.json
        since_s = float(told["filterGroups"][0]["filters"][0]["value"]) / 1000
        start, limit = int(told.get("after", 0)), int(told["limit"])
        ours = self.kind(asked) == "poll"
        found = [each for each in self.book.changed_since(since_s) if bool(each.key) is ours]
        following = start + limit
        paging = {"paging": {"next": {"after": str(following)}}} if following < len(found) else {}
        results = [_shown(each) for each in found[start:following]]
        return Reply(200, {"total": len(found), "results": results, **paging})

    def _note(self, asked: Asked) -> Reply:
        told = asked.json
        (link,) = told["associations"]
        ticket = self.book.tickets.get(link["to"]["id"])
        if ticket is None or ticket.removed or "hs_timestamp" not in told["properties"]:
            return Reply(400, {"status": "error", "category": "VALIDATION_ERROR", "message": "no such ticket"})
        note = self.book.note(ticket, told["properties"]["hs_note_body"], asked.at_s, is_public=False)
        if "hs_attachment_ids" in told["properties"]:
            ticket.files.append(self.book.uploads[told["properties"]["hs_attachment_ids"]])
        return Reply(201, {"id": str(note.number), "properties": told["properties"]})

    def _upload(self, asked: Asked) -> Reply:
        fields, file = forms_of(asked)
        if file is None or "access" not in json.loads(fields["options"]) or "folderPath" not in fields:
            return Reply(400, {"status": "error", "category": "VALIDATION_ERROR", "message": "no file"})
        number = str(len(self.book.uploads) + 1)
        self.book.uploads[number] = replace(file, name=fields["fileName"])
        return Reply(201, {"id": number, "name": fields["fileName"], "access": "PRIVATE"})

    def _on_ticket(self, asked: Asked) -> Reply:
        ticket = self.book.tickets.get(asked.parts[4])
        if ticket is not None and ticket.merged_into:
            ticket = self.book.tickets.get(ticket.merged_into)
        if ticket is None or ticket.removed:
            return _missing()
        match self.kind(asked):
            case "parent" if asked.parts[-1] not in self.book.tickets:
                return _missing()
            case "parent":
                ticket.parent = asked.parts[-1] if asked.method == "PUT" else ""
                return Reply(200 if asked.method == "PUT" else 204)
            case "link":
                ticket.contact = asked.parts[-1]
                return Reply(200, {"status": "COMPLETE", "results": []})
            case "note.first":
                return Reply(200, {"results": [{"toObjectId": note.number} for note in ticket.notes]})
            case "read":
                return Reply(200, _shown(ticket))
            case _:
                return self._patch(ticket, asked)

    def _patch(self, ticket: Ticket, asked: Asked) -> Reply:
        values = asked.json["properties"]
        if values.get("hs_pipeline_stage", "1") not in _STAGES:
            return Reply(400, {"status": "error", "category": "VALIDATION_ERROR", "message": "no such stage"})
        self._change(ticket, values, asked.at_s)
        return Reply(200, _shown(ticket))

    def _change(self, ticket: Ticket, values: dict[str, Any], at_s: float) -> None:
        if "priority" not in self.drops:
            ticket.priority = values.get("hs_ticket_priority", ticket.priority)
        if "key" not in self.drops:
            ticket.key = values.get("careloop_case", ticket.key)
        ticket.status = values.get("hs_pipeline_stage", ticket.status)
        ticket.changed_s = at_s

    def throttle(self) -> Reply:
        """Ten seconds' requests are used up; no Retry-After."""
        says = {"status": "error", "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}
        return Reply(
            429, says, {"x-hubspot-ratelimit-remaining": "0", "x-hubspot-ratelimit-interval-milliseconds": "10000"}
        )

    def forbid(self) -> Reply:
        """This record, to this app's user."""
        return Reply(403, {"status": "error", "message": "You do not have permission to edit this object"})

    def word(self, status: str) -> str:
        """The stages of the usual pipeline."""
        return {"open": "1", "waiting": "2", "closed": "4"}[status]

    def called(self, owner: str) -> str:
        """Owners are called by their contact's id."""
        return owner

    def hook(self, changed: Sequence[Ticket], at_s: float, secret: str) -> HookRequest:
        """A batch of property changes, signed with the address that is called."""
        events = [
            {
                "eventId": each.number,
                "subscriptionType": "ticket.propertyChange",
                "objectId": int(each.number),
                "propertyName": "hs_pipeline_stage",
                "propertyValue": each.status,
                "occurredAt": int(each.changed_s * 1000),
                "attemptNumber": 0,
            }
            for each in changed
        ]
        body, timestamp = json.dumps(events).encode(), str(int(at_s * 1000))
        signed = b"POST" + self.callback_url.encode() + body + timestamp.encode()
        signature = base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()
        headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": timestamp}
        return HookRequest(headers, {}, body)


def _shown(ticket: Ticket) -> dict[str, Any]:
    properties = {
        "careloop_case": ticket.key,
        "careloop_outcome": ticket.outcome or None,
        "subject": ticket.title,
        "hs_ticket_priority": ticket.priority,
        "hs_pipeline_stage": ticket.status,
        "hs_lastmodifieddate": instant(ticket.changed_s),
        "closed_date": instant(ticket.changed_s) if ticket.status == _STAGES[-1] else None,
    }
    return {"id": ticket.number, "properties": properties, "updatedAt": instant(ticket.changed_s), "archived": False}


def _on_ticket(asked: Asked) -> str:
    """What is done with one, or put beside it."""
    if asked.path == "/files/v3/files":
        return "attachment"
    if asked.method == "GET" and asked.parts[-1] in {"tickets", "notes"} and len(asked.parts) == 4:
        return "checks"
    if asked.parts[-1] == "notes":
        return "attachment.attach" if "hs_attachment_ids" in asked.json["properties"] else "note"
    if asked.method == "GET":
        return "find" if "idProperty" in asked.query else "read"
    return "status" if "hs_pipeline_stage" in asked.json.get("properties", {}) else "update"


def _search_for(what: str, told: dict[str, Any]) -> str:
    """What is sought."""
    if what == "contacts":
        return "contacts" if "notes_last_contacted" in told.get("properties", ()) else "contact"
    operators = [each["operator"] for each in told["filterGroups"][0]["filters"]]
    return "tickets" if "NOT_HAS_PROPERTY" in operators else "poll"


def _last_contacted(spoken: Spoken) -> dict[str, Any]:
    properties = {"hs_object_id": spoken.owner, "notes_last_contacted": instant(spoken.at_s)}
    return {"id": spoken.owner, "properties": properties}


def _missing() -> Reply:
    return Reply(404, {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Object not found"})


def _described(what: str, lacks: set[str]) -> Reply:
    """A property, or the pipeline; or the beginning of a list of records."""
    known: dict[str, dict[str, Any]] = {
        "careloop_case": {"hasUniqueValue": True},
        "careloop_outcome": {"options": [{"value": each} for each in ("true", "false", "unclear")]},
        "hs_object_id": {},
        "hs_ticket_priority": {"options": [{"value": each} for each in ("LOW", "MEDIUM", "HIGH", "URGENT")]},
        "0": {"stages": [{"id": each} for each in _STAGES]},
    }
    if what in {"tickets", "notes"}:
        return Reply(403, {"category": "MISSING_SCOPES"}) if what in lacks else Reply(200, {"results": []})
    if what in lacks or what not in known:
        return _missing()
    return Reply(200, {"name": what, **without(known[what], lacks)})
