"""Dynamics 365, as it describes itself.

Sources: learn.microsoft.com/power-apps/developer/data-platform/api-limits, …/register-web-hook, …/use-webhooks,
…/webapi/update-delete-entities-using-web-api, learn.microsoft.com/dynamics365/developer/reference/entities/incident
"""

import base64
import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

from simulators.crm.vendors.desk import Asked, Book, File, HookRequest, Reply, Spoken, Ticket, instant, without
from simulators.crm.vendors.granting import Granting

_SPACE = uuid.UUID("6d1c1c3e-8f0b-4b7a-9f38-9f2f6c2f7a10")
_COLUMNS = (
    *("title", "description", "prioritycode", "statuscode", "parentcaseid"),
    *("new_careloopcase", "new_careloopoutcome"),
)
_ENDED = {5: 1, 1000: 1, 6: 2, 2000: 2}  # statuscode -> statecode
_BY_KEY = re.compile(r"incidents\(new_careloopcase='([^']*)'\)")
_BY_ID = re.compile(r"(?:incidents|contacts)\(([^)=]+)\)")
_KINDS = {
    ("GET", "EntityDefinitions"): "checks",
    ("GET", "contacts"): "contact",
    ("POST", "CloseIncident"): "end",
    ("POST", "annotations"): "note",
    ("GET", "annotations"): "note.find",
    ("GET", "emails"): "contacts",
    ("GET", "phonecalls"): "contacts",
}
_PARENT = "parentcaseid@odata.bind"
_FILTER = re.compile(r"new_careloopcase eq '([^']*)'")
_SINCE = re.compile(r"modifiedon ge (\S+)")


class Dynamics:
    """Cases with an alternate key, over which PATCH is an upsert; they are resolved by an action of their own."""

    name = "dynamics365"

    def __init__(self, token: str) -> None:
        self.granting = Granting(token)
        self.book = Book()
        self.drops: set[str] = set()
        self.lacks: set[str] = set()
        self.contacts = {"owner-1"}

    def refuse(self, asked: Asked) -> Reply | None:
        """A token that Entra granted."""
        if asked.path.endswith("/oauth2/v2.0/token"):
            return self.granting.grant(asked)
        return None if self.granting.knows(asked) else Reply(401, {"error": {"code": "0x80072560", "message": "no"}})

    def kind(self, asked: Asked) -> str:
        """By path."""
        what = asked.path.removeprefix("/api/data/v9.2/")
        told = asked.query.get("$filter", "")
        match (asked.method, what.partition("(")[0]):
            case ("POST", "annotations") if "documentbody" in asked.json:
                return "attachment"
            case (method, entity) if (method, entity) in _KINDS:
                return _KINDS[method, entity]
            case ("GET", "incidents") if "(" in what:
                return "read"
            case ("GET", "incidents") if "modifiedon" in told:
                return "tickets" if "new_careloopcase eq null" in told else "poll"
            case ("GET", "incidents"):
                return "checks" if "$top" in asked.query else "find"
            case _ if _BY_KEY.search(what):
                return "create"
            case _:
                told_now: dict[str, Any] = asked.json
                return "parent" if _PARENT in told_now else "status" if "statuscode" in told_now else "update"

    def work(self, asked: Asked) -> Reply:
        """Answer."""
        match self.kind(asked):
            case "checks":
                return Reply(200, without(_described(asked.path), self.lacks))
            case "contact":
                called = _found(_BY_ID, asked.path)
                return Reply(200, {"contactid": called}) if called in self.contacts else _missing()
            case "find":
                found = self.book.of_key(_found(_FILTER, asked.query["$filter"]))
                return Reply(200, {"value": [_shown(each) for each in found]})
            case "poll" | "tickets" | "contacts" as kind:
                return Reply(200, {"value": self._since(kind, asked)})
            case "create":
                return self._upsert(asked)
            case "end":
                return self._close(asked)
            case "note" | "attachment":
                return self._note(asked)
            case "note.find":
                ticket = self.book.tickets.get(asked.query.get("$filter", "").rpartition(" ")[2])
                notes = [] if ticket is None else [{"notetext": each.text} for each in ticket.notes]
                files = [] if ticket is None else [{"filename": each.name} for each in ticket.files]
                return Reply(200, {"value": [*notes, *files]})
            case _:
                return self._on_case(asked)

    def _since(self, kind: str, asked: Asked) -> list[dict[str, Any]]:
        """What has happened since a moment."""
        since = _found(_SINCE, asked.query["$filter"])
        if kind == "contacts":
            spoken = self.book.spoken if asked.path.endswith("phonecalls") else []
            return [_call(each) for each in spoken if instant(each.at_s) >= since]
        is_ours = kind == "poll"
        found = (each for each in self.book.present() if bool(each.key) is is_ours)
        return [_shown(each) for each in found if instant(each.changed_s) >= since]

    def _upsert(self, asked: Asked) -> Reply:
        told, key = asked.json, _found(_BY_KEY, asked.path)
        found = self.book.of_key(key)
        if found:
            self._change(found[0], told, asked.at_s)
            return Reply(200, _shown(found[0]))
        if "customerid_contact@odata.bind" not in told:
            return _error(400, "0x80040203", "You should specify a parent contact or account.")
        ticket = Ticket(
            number=str(uuid.uuid5(_SPACE, str(len(self.book.tickets)))),
            key="" if "key" in self.drops else key,
            title=told["title"],
            text=told["description"],
            priority="3" if "priority" in self.drops else str(told["prioritycode"]),
            status="1",
            changed_s=asked.at_s,
            contact=told["customerid_contact@odata.bind"],
        )
        self.book.tickets[ticket.number] = ticket
        return Reply(201, _shown(ticket))

    def _close(self, asked: Asked) -> Reply:
        told = asked.json
        ticket = self.book.tickets.get(_found(_BY_ID, told["IncidentResolution"]["incidentid@odata.bind"]))
        if ticket is None or ticket.removed:
            return _missing()
        if int(ticket.status) in _ENDED:
            return _error(400, "0x80040217", "This case has already been resolved.")
        if _ENDED.get(told["Status"]) != 1:
            return _error(400, "0x80048408", "is not a valid status code for state code Resolved")
        ticket.status, ticket.changed_s = str(told["Status"]), asked.at_s
        return Reply(204)

    def _note(self, asked: Asked) -> Reply:
        ticket = self.book.tickets.get(_found(_BY_ID, asked.json["objectid_incident@odata.bind"]))
        if ticket is None or ticket.removed:
            return _missing()
        told = asked.json
        if "documentbody" in told:
            content = base64.b64decode(told["documentbody"], validate=True)
            ticket.files.append(File(told["filename"], told["mimetype"], len(content)))
        else:
            self.book.note(ticket, told["notetext"], asked.at_s, is_public=False)
        return Reply(204)

    def _on_case(self, asked: Asked) -> Reply:
        ticket = self.book.tickets.get(_found(_BY_ID, asked.path))
        if ticket is None or ticket.removed:
            return _missing()
        if asked.method == "GET":
            return Reply(200, _shown(ticket))
        if asked.headers.get("if-match") != "*":
            return _error(400, "0x80060888", "this would make a record that was removed once more")
        if asked.json.get(_PARENT) and _found(_BY_ID, asked.json[_PARENT]) not in self.book.tickets:
            return _missing()
        self._change(ticket, asked.json, asked.at_s)
        return Reply(204)

    def _change(self, ticket: Ticket, told: dict[str, Any], at_s: float) -> None:
        if "priority" not in self.drops:
            ticket.priority = str(told.get("prioritycode", ticket.priority))
        if "key" not in self.drops:
            ticket.key = told.get("new_careloopcase", ticket.key)
        if _PARENT in told:
            ticket.parent = _found(_BY_ID, told[_PARENT] or "")
        ticket.status = str(told.get("statuscode", ticket.status))
        ticket.changed_s = at_s

    def throttle(self) -> Reply:
        """429: 6,000 requests in five minutes."""
        says = {"error": {"code": "0x80072322", "message": "Number of requests exceeded the limit of 6000"}}
        return Reply(429, says, {"retry-after": "35"})

    def forbid(self) -> Reply:
        """This record, to this application."""
        return _error(403, "0x80040220", "SecLib::AccessCheckEx failed")

    def word(self, status: str) -> str:
        """Its status codes."""
        return {"open": "1", "waiting": "2", "closed": "5"}[status]

    def called(self, owner: str) -> str:
        """Owners are called by their contact's id."""
        return owner

    def hook(self, changed: Sequence[Ticket], at_s: float, secret: str) -> HookRequest:
        """The execution context of one update, with the key in its address."""
        ticket = changed[-1]
        target = {
            "__type": "Entity:http://schemas.microsoft.com/xrm/2011/Contracts",
            "LogicalName": "incident",
            "Id": ticket.number,
            "Attributes": [
                {"key": "statecode", "value": {"Value": _ENDED.get(int(ticket.status), 0)}},
                {"key": "statuscode", "value": {"Value": int(ticket.status)}},
                {"key": "modifiedon", "value": f"/Date({int(ticket.changed_s * 1000)})/"},
            ],
        }
        context = {
            "MessageName": "Update",
            "PrimaryEntityName": "incident",
            "PrimaryEntityId": ticket.number,
            "OperationCreatedOn": f"/Date({int(ticket.changed_s * 1000)})/",
            "InputParameters": [{"key": "Target", "value": target}],
        }
        headers = {"x-request-id": f"request-{at_s}", "x-ms-dynamics-entity-name": "incident"}
        return HookRequest(headers, {"code": secret}, json.dumps(context).encode())


def _described(path: str) -> dict[str, Any]:
    """A part of the table's definition."""
    if path.endswith("/Keys"):
        return {"value": [{"KeyAttributes": ["new_careloopcase"], "EntityKeyIndexStatus": "Active"}]}
    if path.endswith("/Attributes"):
        return {"value": [{"LogicalName": each} for each in _COLUMNS]}
    codes = {"prioritycode": (1, 2, 3), "statuscode": (1, 2, 3, 4, *_ENDED)}
    options = next((each for name, each in codes.items() if f"'{name}'" in path), None)
    return {"value": []} if options is None else {"OptionSet": {"Options": [{"Value": each} for each in options]}}


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _shown(ticket: Ticket) -> dict[str, Any]:
    return {
        "@odata.etag": f'W/"{int(ticket.changed_s * 1000)}"',
        "incidentid": ticket.number,
        "title": ticket.title,
        "new_careloopcase": ticket.key or None,
        "new_careloopoutcome": ticket.outcome or None,
        "prioritycode": int(ticket.priority),
        "statuscode": int(ticket.status),
        "statecode": _ENDED.get(int(ticket.status), 0),
        "_customerid_value": ticket.contact,
        "modifiedon": instant(ticket.changed_s),
    }


def _call(spoken: Spoken) -> dict[str, Any]:
    """A call by phone: who made it, and whom they called."""
    parties = [
        {"participationtypemask": 1, "_partyid_value": "an agent"},
        {"participationtypemask": 2, "_partyid_value": spoken.owner},
    ]
    return {
        "activityid": f"call-{spoken.number}",
        "actualend": instant(spoken.at_s),
        "phonecall_activity_parties": parties,
    }


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"error": {"code": code, "message": message}})


def _missing() -> Reply:
    return _error(404, "0x80040217", "incident With Id Does Not Exist")
