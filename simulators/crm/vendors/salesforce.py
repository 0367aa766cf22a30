"""Salesforce, as it describes itself.

Sources: developer.salesforce.com/docs/platform/api-rest/guide/dome-upsert.html, …/errorcodes.html,
…/sforce_api_om_outboundmessaging_notifications.htm, help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_jwt_flow
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

from simulators.crm.vendors.desk import Asked, Book, File, HookRequest, Reply, Spoken, Ticket, instant, without
from simulators.crm.vendors.granting import Granting

_API = "/services/data/v62.0"
_STATUSES = ("New", "On Hold", "Escalated", "Closed")
_PRIORITIES = ("Low", "Medium", "High")
_KEY = re.compile(r"Careloop_Case__c = '([^']*)'")
_LINKED = re.compile(r"LinkedEntityId = '([^']*)'")
_SINCE = re.compile(r"SystemModstamp >= (\S+)")
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
    "<OrganizationId>00D000000000001</OrganizationId>{}</notifications></soapenv:Body></soapenv:Envelope>"
)


class Salesforce:
    """Cases with an external id, over which creates are upserts."""

    name = "salesforce"

    def __init__(self, token: str, believes: Callable[[str, float], bool] | None = None) -> None:
        self.granting = Granting(token, believes, tells_life=False)
        self.book = Book()
        self.drops: set[str] = set()
        self.lacks: set[str] = set()
        self.contacts = {"owner-1": "003000000000301AAA"}

    def refuse(self, asked: Asked) -> Reply | None:
        """A session that was granted."""
        if asked.path == "/services/oauth2/token":
            return self.granting.grant(asked)
        if self.granting.knows(asked):
            return None
        return Reply(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])

    def kind(self, asked: Asked) -> str:
        """By path."""
        match (asked.method, *asked.parts[3:]):
            case ("GET", "sobjects", _, "describe"):
                return "checks"
            case ("GET", "sobjects", "Contact", _, _):
                return "contact"
            case ("GET", "query"):
                return _question(asked.query["q"])
            case ("PATCH", "sobjects", "Case", "Careloop_Case__c", _):
                return "create"
            case ("POST", "sobjects", "CaseComment" | "ContentVersion" as what):
                return "note" if what == "CaseComment" else "attachment"
            case ("GET", "sobjects", "Case", _, "CaseComments"):
                return "note.find"
            case ("GET", "sobjects", "Case", _):
                return "read"
            case _:
                told: dict[str, Any] = asked.json
                return "parent" if "ParentId" in told else "status" if "Status" in told else "update"

    def work(self, asked: Asked) -> Reply:
        """Answer."""
        match self.kind(asked):
            case "checks":
                described = (
                    _fields() if asked.parts[4] == "Case" else [{"name": "Careloop_Owner__c", "externalId": True}]
                )
                rights = {"createable": True, "updateable": True}
                return Reply(200, {**without({"fields": described}, self.lacks), **without(rights, self.lacks)})
            case "contact":
                found = self.contacts.get(asked.parts[6])
                return Reply(200, {"Id": found}) if found else _missing()
            case "find":
                return _records(self.book.of_key(_found(_KEY, asked.query["q"])))
            case "poll":
                since = _found(_SINCE, asked.query["q"])
                told = [each for each in self.book.present() if each.key and instant(each.changed_s) >= since]
                return _records(told)
            case "tickets":
                since = _found(_SINCE, asked.query["q"])
                told = [each for each in self.book.of_people() if instant(each.changed_s) >= since]
                return _records(told)
            case "contacts":
                since = _found(_SINCE, asked.query["q"])
                spoken = [_task(each) for each in self.book.spoken if instant(each.at_s) >= since]
                return Reply(200, {"totalSize": len(spoken), "done": True, "records": spoken})
            case "attachment.find":
                ticket = self.book.tickets[_found(_LINKED, asked.query["q"])]
                files = [{"ContentDocument": {"Title": each.name}} for each in ticket.files]
                return Reply(200, {"totalSize": len(files), "done": True, "records": files})
            case "create":
                return self._upsert(asked)
            case "note" | "attachment" as kind:
                return self._note(asked) if kind == "note" else self._attach(asked)
            case _:
                return self._on_case(asked)

    def _upsert(self, asked: Asked) -> Reply:
        told, key = asked.json, asked.parts[6]
        if "Careloop_Case__c" in told:
            return _error(400, "INVALID_FIELD", "the external id may not stand in the body")
        found = self.book.of_key(key)
        if len(found) > 1:
            return Reply(300, [f"{_API}/sobjects/Case/{each.number}" for each in found])
        if found:
            refused = self._change(found[0], told, asked.at_s)
            return refused or Reply(200, {"id": found[0].number, "success": True, "errors": [], "created": False})
        ticket = Ticket(
            number=f"500{len(self.book.tickets):012d}AAA",
            key="" if "key" in self.drops else key,
            title=told["Subject"],
            text=told["Description"],
            priority="Low" if "priority" in self.drops else told["Priority"],
            status=told["Status"],
            changed_s=asked.at_s,
            contact=told.get("ContactId"),
        )
        self.book.tickets[ticket.number] = ticket
        return Reply(201, {"id": ticket.number, "success": True, "errors": [], "created": True})

    def _note(self, asked: Asked) -> Reply:
        told = asked.json
        ticket = self.book.tickets.get(told["ParentId"])
        if ticket is None or ticket.removed:
            return _error(400, "ENTITY_IS_DELETED", "entity is deleted")
        note = self.book.note(ticket, told["CommentBody"], asked.at_s, is_public=told.get("IsPublished", False))
        return Reply(201, {"id": f"00a{note.number:012d}AAA", "success": True, "errors": []})

    def _attach(self, asked: Asked) -> Reply:
        told = asked.json
        ticket = self.book.tickets.get(told["FirstPublishLocationId"])
        if ticket is None or ticket.removed:
            return _error(400, "ENTITY_IS_DELETED", "entity is deleted")
        content = base64.b64decode(told["VersionData"], validate=True)
        ticket.files.append(File(told["Title"], told["PathOnClient"].rpartition(".")[2], len(content)))
        return Reply(201, {"id": f"068{len(ticket.files):012d}AAA", "success": True, "errors": []})

    def _on_case(self, asked: Asked) -> Reply:
        ticket = self.book.tickets.get(asked.parts[5])
        if ticket is None:
            return _missing()
        if ticket.removed:
            return _error(404, "ENTITY_IS_DELETED", "entity is deleted")
        match self.kind(asked):
            case "read":
                return Reply(200, _shown(ticket))
            case "note.find":
                comments = [{"CommentBody": each.text} for each in ticket.notes]
                return Reply(200, {"totalSize": len(comments), "done": True, "records": comments})
            case _:
                return self._change(ticket, asked.json, asked.at_s) or Reply(204)

    def _change(self, ticket: Ticket, told: dict[str, Any], at_s: float) -> Reply | None:
        if told.get("Status", "New") not in _STATUSES:
            return _error(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "bad value for restricted picklist field")
        if "priority" not in self.drops:
            ticket.priority = told.get("Priority", ticket.priority)
        if "key" not in self.drops:
            ticket.key = told.get("Careloop_Case__c", ticket.key)
        if "ParentId" in told:
            if told["ParentId"] and told["ParentId"] not in self.book.tickets:
                return _error(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
            ticket.parent = told["ParentId"] or ""
        ticket.status = told.get("Status", ticket.status)
        ticket.changed_s = at_s
        return None

    def throttle(self) -> Reply:
        """403: the day's requests are used up."""
        return _error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    def forbid(self) -> Reply:
        """This record, to this user."""
        return _error(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on cross-reference id")

    def word(self, status: str) -> str:
        """Its own words."""
        return {"open": "New", "waiting": "On Hold", "closed": "Closed"}[status]

    def called(self, owner: str) -> str:
        """Contacts bear the reference."""
        return owner

    def hook(self, changed: Sequence[Ticket], at_s: float, secret: str) -> HookRequest:
        """An outbound message, with a notification for each record."""
        del at_s
        told = "".join(
            f'<Notification><Id>04l{at:012d}AAA</Id><sObject xsi:type="sf:Case"'
            ' xmlns:sf="urn:sobject.enterprise.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f"<sf:Id>{escape(each.number)}</sf:Id><sf:Careloop_Case__c>{escape(each.key)}</sf:Careloop_Case__c>"
            f"<sf:Status>{escape(each.status)}</sf:Status>"
            f"<sf:SystemModstamp>{instant(each.changed_s)}</sf:SystemModstamp></sObject></Notification>"
            for at, each in enumerate(changed)
        )
        return HookRequest({"Content-Type": "text/xml"}, {"token": secret}, _ENVELOPE.format(told).encode())


def _found(pattern: re.Pattern[str], query: str) -> str:
    found = pattern.search(query)
    return found[1] if found else ""


def _shown(ticket: Ticket) -> dict[str, Any]:
    return {
        "Id": ticket.number,
        "Careloop_Case__c": ticket.key or None,
        "Careloop_Outcome__c": ticket.outcome or None,
        "Priority": ticket.priority,
        "Status": ticket.status,
        "IsClosed": ticket.status == _STATUSES[-1],
        "Contact": {"Careloop_Owner__c": ticket.contact} if ticket.contact else None,
        "SystemModstamp": instant(ticket.changed_s).replace("Z", "+0000"),
    }


def _task(spoken: Spoken) -> dict[str, Any]:
    return {
        "Id": f"00T{spoken.number:012d}AAA",
        "TaskSubtype": "Call",
        "CreatedDate": instant(spoken.at_s).replace("Z", "+0000"),
        "Who": {"attributes": {"type": "Contact"}, "Careloop_Owner__c": spoken.owner},
    }


def _question(query: str) -> str:
    """What a query is for."""
    if "ContentDocumentLink" in query:
        return "attachment.find"
    if "FROM Task" in query:
        return "contacts"
    if "Careloop_Case__c = null" in query:
        return "tickets"
    return "poll" if "SystemModstamp" in query else "find"


def _records(tickets: Sequence[Ticket]) -> Reply:
    return Reply(200, {"totalSize": len(tickets), "done": True, "records": [_shown(each) for each in tickets]})


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, [{"errorCode": code, "message": message}])


def _missing() -> Reply:
    return _error(404, "NOT_FOUND", "The requested resource does not exist")


def _fields() -> list[dict[str, Any]]:
    plain = [{"name": each, "updateable": True} for each in ("Subject", "Description", "ContactId", "ParentId")]
    return [
        *plain,
        {"name": "Careloop_Case__c", "externalId": True, "unique": True, "updateable": True},
        {"name": "Careloop_Outcome__c", "externalId": False, "unique": False},
        {"name": "Status", "updateable": True, "picklistValues": [{"value": each} for each in _STATUSES]},
        {"name": "Priority", "updateable": True, "picklistValues": [{"value": each} for each in _PRIORITIES]},
    ]
