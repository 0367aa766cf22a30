"""One message to a helpdesk: which calls it takes, and whether they did what they said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

import msgspec

from crm_sync.adapters.contract import Audit, Delivery, Outcome, Result
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.spec import FACTS, Find, Note, Spec
from crm_sync.adapters.rest.template import Json, UnknownWord, Values, as_text, fill, is_same, look_up
from crm_sync.settings import MessageType

_MOVES: Final = frozenset({"reopened", "waiting", "accepted", "in_progress"})
"""Changes of a live case that move its record."""


class Work:
    """The calls of one delivery. What is done again after a failure is what does no harm twice."""

    def __init__(self, spec: Spec, caller: Caller, delivery: Delivery) -> None:
        self._spec = spec
        self._caller = caller
        self._delivery = delivery
        data = msgspec.json.decode(delivery.body, type=dict[str, object]).get("data", {})
        self._facts: dict[str, Json] = {
            **dict.fromkeys(FACTS),
            **cast("dict[str, Json]", data),
            "case_id": delivery.key,
            "message_id": delivery.message_id,
            "external_id": delivery.external_id,
        }

    @property
    def external_id(self) -> str | None:
        """What the helpdesk calls the record, as far as it is known by now."""
        return cast("str | None", self._facts["external_id"])

    @property
    def values(self) -> Values:
        """What places stand for by now."""
        return Values(self._facts, self._spec.maps)

    async def do(self) -> Outcome:
        """Make the calls that the message asks for. Raises CallFailed."""
        match self._delivery.type:
            case MessageType.CASE_OPENED:
                return await self._open()
            case MessageType.CASE_UPDATED:
                return await self._update()
            case _:
                return await self._close()

    async def find(self) -> Sequence[str]:
        """Every record that bears the case's id. Raises CallFailed."""
        find = self._spec.find
        if find is None:
            return ()
        items = await self._caller.items("find", find, self.values)
        ours = [as_text(look_up(find.id, item)) for item in items if _is_ours(find, item, self._delivery.key)]
        return tuple(dict.fromkeys(called for called in ours if called))

    async def audit(self, *, is_live: bool) -> Audit:
        """Hold the record against what the message says. Raises CallFailed."""
        if self.external_id is None:
            found = await self.find()
            if len(found) != 1:
                return Audit(len(found))
            self._facts["external_id"] = found[0]
        read = self._spec.read
        if read is None:
            return Audit(1, self.external_id)
        try:
            record = look_up(read.item, await self._caller.call("read", read, self.values))
        except CallFailed as failed:
            if failed.outcome.code == "record_gone":
                return Audit(0)
            raise
        wrong = [words for _, words in _differences(read.check, record, self.values)] if is_live else []
        return Audit(1, self.external_id, wrong, self._is_closed(record))

    def _is_closed(self, record: Json) -> bool | None:
        """Whether the record stands where a case that is over would put it; None where nobody says where that is."""
        if self._spec.status is None or not self._spec.status.check:
            return None
        check = self._spec.status.check
        ends = [replace(self.values, facts={**self._facts, "state": state}) for state in ("resolved", "retracted")]
        return any(not _differences(check, record, end) for end in ends)

    async def _open(self) -> Outcome:
        is_new = self.external_id is None
        if is_new:
            await self._find_contact()
            answer = await self._caller.call("create", self._spec.create, self.values)
            self._facts["external_id"] = await self._name(answer)
        elif self._spec.update is not None:  # made by an attempt whose end was a failure
            await self._caller.call("update", self._spec.update, self.values)
        await self._check_record()
        return Outcome(Result.OK, "created" if is_new else "updated")

    async def _update(self) -> Outcome:
        await self._know_record()
        if self._spec.update is not None:
            await self._caller.call("update", self._spec.update, self.values)
            await self._check_record()
        if self._facts["change"] in _MOVES:
            await self._move()
        await self._add_note()
        return Outcome(Result.OK, "updated")

    async def _close(self) -> Outcome:
        try:
            await self._know_record()
            if self._spec.note is not None and self._spec.note.before_status:
                await self._add_note()
                await self._move()
            else:
                await self._move()
                await self._add_note()
        except CallFailed as failed:
            if failed.outcome.code == "record_gone":  # somebody removed it: there is nothing left to close
                return Outcome(Result.OK, "record_gone", failed.outcome.detail)
            raise
        return Outcome(Result.OK, "closed")

    async def _name(self, answer: Json) -> str:
        """What a record that was just made is called. Raises CallFailed."""
        create = self._spec.create
        called = as_text(look_up(create.id, answer)) if create.id else ""
        if called:
            return called
        if create.id and self._spec.find is None:
            raise CallFailed(Outcome(Result.PERMANENT, "no_id", f"create: the answer has no {create.id}"))
        found = await self.find()
        if len(found) != 1:  # not there yet, perhaps: it is looked up before it is made again
            raise CallFailed(Outcome(Result.UNKNOWN, "no_id", f"create: {len(found)} records bear the case's id"))
        return found[0]

    async def _know_record(self) -> None:
        if self.external_id is not None:
            return
        found = await self.find()
        if not found:
            raise CallFailed(Outcome(Result.PERMANENT, "no_record", "no record bears the case's id"))
        if len(found) > 1:
            raise CallFailed(Outcome(Result.CONFLICT, "several_records", f"{len(found)} records bear the case's id"))
        self._facts["external_id"] = found[0]

    async def _find_contact(self) -> None:
        contact = self._spec.contact
        if contact is None:
            return
        found: list[Json] = []
        if self._facts["owner_ref"] is not None:
            items = await self._caller.items("contact", contact, self.values)
            found = [called for item in items if (called := look_up(contact.id, item)) is not None]
        if len(found) == 1:  # with several, any choice could be somebody else's
            self._facts["contact_id"] = found[0]
        elif contact.required:
            result = Result.CONFLICT if found else Result.PERMANENT
            raise CallFailed(Outcome(result, "no_contact", f"{len(found)} contacts have the owner's reference"))

    async def _move(self) -> None:
        status = self._spec.status
        if status is not None:
            await self._caller.call("status", status, self.values)
            await self._check(status.check, "status_refused")

    async def _check_record(self) -> None:
        if self._spec.read is not None:
            await self._check(self._spec.read.check, "field_dropped")

    async def _check(self, wanted: Mapping[str, Json], code: str) -> None:
        """See that the record has what it was told: helpdesks drop what they do not like, and answer 200."""
        read = self._spec.read
        if read is None or not wanted:
            return
        record = look_up(read.item, await self._caller.call("read", read, self.values))
        for path, words in _differences(wanted, record, self.values):
            raise CallFailed(Outcome(Result.PERMANENT, code, f"read: {words}"[:500], field=path))

    async def _add_note(self) -> None:
        note = self._spec.note
        if note is None or await self._is_noted(note):
            return
        await self._caller.call("note", note, self.values)

    async def _is_noted(self, note: Note) -> bool:
        """Whether an earlier attempt has left the note."""
        if note.find is None or self._delivery.attempt == 1:
            return False
        items = await self._caller.items("note.find", note.find, self.values)
        return any(self._delivery.message_id in as_text(look_up(note.find.text, item)) for item in items)


def _is_ours(find: Find, item: Json, case_id: str) -> bool:
    return find.key is None or as_text(look_up(find.key, item)) == case_id


def _differences(wanted: Mapping[str, Json], record: Json, values: Values) -> list[tuple[str, str]]:
    """Where a record is not as it should be, and how. Raises CallFailed."""
    found: list[tuple[str, str]] = []
    for path, template in wanted.items():
        there, should = look_up(path, record), _filled(template, values)
        if not is_same(there, should):
            found.append((path, f"{path} is {as_text(there)!r}, not {as_text(should)!r}"))
    return found


def _filled(template: Json, values: Values) -> Json:
    try:
        return fill(template, values)
    except UnknownWord as error:
        raise CallFailed(Outcome(Result.PERMANENT, "unmapped_word", str(error))) from None
