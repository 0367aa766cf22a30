"""Who is meant by a helpdesk's own names of people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.hearing import Contacts, People, Tickets
from crm_sync.adapters.rest.spec import FACTS, Spec
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up

_LASTS_S: Final = 86_400.0  # then everybody is asked about again: references are given to people later, too
_MOST: Final = 10_000


@dataclass(slots=True)
class Directory:
    """Remembers who is who, so that one who is often spoken of is asked about once a day."""

    _known: dict[str, str] = field(default_factory=dict[str, str])
    _since_s: float = 0.0

    async def owners(
        self, caller: Caller, spec: Spec, listing: Contacts | Tickets, items: Sequence[Json], now_s: float
    ) -> Sequence[str]:
        """The owner of each item as the registry knows them; nothing where nobody knows. Raises CallFailed.

        What was learnt before a call fails is kept: the next question goes on from there.
        """
        named = [as_text(look_up(listing.owner, item)) if listing.owner else "" for item in items]
        if listing.people is None:
            return named
        if now_s - self._since_s > _LASTS_S or len(self._known) > _MOST:
            self._known.clear()
            self._since_s = now_s
        unknown = iter(dict.fromkeys(name for name in named if name and name not in self._known))
        while some := list(islice(unknown, listing.people.at_once)):
            await self._learn(caller, spec, listing.people, some)
        return [self._known.get(name, "") for name in named]

    async def _learn(self, caller: Caller, spec: Spec, people: People, names: Sequence[str]) -> None:
        asked = {"people": [{"id": name} for name in names], "people_ids": ",".join(names)}
        await caller.admit(can_wait=True)
        found = await caller.items("people", people, Values({**dict.fromkeys(FACTS), **asked}, spec.maps))
        self._known |= dict.fromkeys(names, "")
        self._known |= {as_text(look_up(people.id, item)): as_text(look_up(people.owner, item)) for item in found}
