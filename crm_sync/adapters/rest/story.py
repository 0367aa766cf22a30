"""What people at the helpdesk read of a message: the contact to the owner in full, and what is to be done by whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote

from crm_sync.adapters.rest.template import Json, as_text
from crm_sync.model import LIVE
from crm_sync.wording.model import Words

_LIVE: Final = frozenset(map(str, LIVE))


@dataclass(frozen=True, slots=True)
class Story:
    """Tells of cases in the helpdesk's language."""

    words: Words
    case_link: str = ""  # where people open a case of ours, {case_id} standing for it

    def link(self, case_id: str) -> str:
        """Where a case is looked at; empty where that is not known."""
        return self.case_link.replace("{case_id}", quote(case_id, safe=""))

    def news(self, data: Mapping[str, Json]) -> str:
        """What a note says: a contact to the owner as it is to reach them, or else the brief and what is next."""
        outreach = _table(data, "outreach")
        if outreach:
            return self._contact(outreach)
        return "\n\n".join(part for part in (as_text(data.get("brief")), self._next(data)) if part)

    def todo(self, case_id: str, data: Mapping[str, Json]) -> str:
        """What is to be done next, who does it, until when, and where the case is looked at."""
        record = self.words.record
        told = (
            (record.team, {"team": as_text(data.get("team"))}),
            (record.due, {"moment": as_text(data.get("sla_due_at"))}),
        )
        whose = " ".join(pattern.format_map(filling) for pattern, filling in told if all(filling.values()))
        link = self.link(case_id)
        where = record.link.format(link=link) if link else ""
        return "\n".join(part for part in (self._next(data), whose, where) if part)

    def of_the_rest(self, case_id: str) -> str:
        """What stands at the end of a text that was cut."""
        link, record = self.link(case_id), self.words.record
        return record.shortened_at.format(link=link) if link else record.shortened.format(case=case_id)

    def _contact(self, outreach: Mapping[str, Json]) -> str:
        record = self.words.record
        channel, template = as_text(outreach.get("channel")), as_text(outreach.get("template"))
        head = record.to_owner_by.format(channel=channel, template=template) if template else ""
        link = as_text(outreach.get("link"))
        lines = (
            head or record.to_owner.format(channel=channel),
            as_text(outreach.get("text")),
            record.answers.format(link=link) if link else "",
        )
        return "\n".join(line for line in lines if line)

    def _next(self, data: Mapping[str, Json]) -> str:
        action = _table(data, "next_action")
        kind, what = as_text(action.get("kind")), as_text(action.get("what"))
        if as_text(data.get("state")) not in _LIVE or not kind:
            return ""
        named, record = self.words.actions.get(kind, kind.replace("_", " ")), self.words.record
        return record.next_with.format(action=named, what=what) if what else record.next.format(action=named)


def _table(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = data.get(name)
    return cast("Mapping[str, Json]", found) if isinstance(found, Mapping) else {}
