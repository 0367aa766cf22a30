"""What people at the helpdesk read of a message: the contact to the owner in full, and what is to be done by whom."""

from collections.abc import Mapping
from typing import Final, cast

from crm_sync.adapters.rest.template import Json, as_text
from crm_sync.model import LIVE

_LIVE: Final = frozenset(map(str, LIVE))


def write_news(data: Mapping[str, Json]) -> str:
    """What a note says: a contact to the owner as it is to reach them, or else the brief and what is next."""
    outreach = _table(data, "outreach")
    if outreach:
        return _contact(outreach)
    return "\n\n".join(part for part in (as_text(data.get("brief")), _next(data)) if part)


def write_todo(data: Mapping[str, Json], case_link: str = "") -> str:
    """What is to be done next, who does it, until when, and where the case is looked at."""
    named = (("Team", as_text(data.get("team"))), ("due", as_text(data.get("sla_due_at"))))
    whose = ", ".join(f"{name} {value}" for name, value in named if value)
    whose = f"{whose[:1].upper()}{whose[1:]}." if whose else ""
    where = f"The case with its charts: {case_link}" if case_link else ""
    return "\n".join(part for part in (_next(data), whose, where) if part)


def _contact(outreach: Mapping[str, Json]) -> str:
    channel, template = as_text(outreach.get("channel")), as_text(outreach.get("template"))
    head = f"To the owner by {channel}" + (f", template {template}" if template else "")
    link = as_text(outreach.get("link"))
    lines = (f"{head}:", as_text(outreach.get("text")), f"The owner answers at {link}" if link else "")
    return "\n".join(line for line in lines if line)


def _next(data: Mapping[str, Json]) -> str:
    action = _table(data, "next_action")
    kind, what = as_text(action.get("kind")), as_text(action.get("what"))
    if as_text(data.get("state")) not in _LIVE or not kind:
        return ""
    return f"Next: {kind.replace('_', ' ')}" + (f", {what}." if what else ".")


def _table(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = data.get(name)
    return cast("Mapping[str, Json]", found) if isinstance(found, Mapping) else {}
