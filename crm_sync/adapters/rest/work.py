"""One message to a helpdesk: which calls it takes, and whether they did what they said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

import msgspec

from crm_sync.adapters.contract import Audit, Delivery, Outcome, Result
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.classify import RECORD_GONE, CallFailed
from crm_sync.adapters.rest.spec import FACTS, Find, Note, Read, Spec, Status
from crm_sync.adapters.rest.template import Json, UnknownWord, Values, as_text, fill, is_same, look_up
from crm_sync.settings import MessageType
from devices.clock import to_datetime

_MOVES: Final = frozenset({"reopened", "waiting", "accepted", "in_progress"})
"""Changes of a live case that move its record."""

RECORD_CLOSED: Final = "record_closed"
"""The code of a rule of a file's: the record is closed for good, and moves no more."""


class Work:
    """The calls of one delivery. What is done again after a failure is what does no harm twice."""

    def __init__(self, spec: Spec, caller: Caller, delivery: Delivery, now_s: float = 0.0) -> None:
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
            "now": to_datetime(now_s).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
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
        if self.external_id is None or (self._spec.find is not None and self._spec.find.confirm):
            found = await self.find()
            if len(found) != 1 and (self.external_id is None or len(found) > 1):
                return Audit(len(found))
            self._facts["external_id"] = self.external_id or found[0]
        read = self._spec.read
        if read is None:
            return Audit(1, self.external_id)
        try:
            record = await self._read(read)
        except CallFailed as failed:
            if failed.outcome.code == RECORD_GONE:
                return Audit(0)
            raise
        wrong = [words for _, words in _differences(read.check, record, self.values)] if is_live else []
        return Audit(1, self.external_id, wrong, self._is_closed(record))

    def _is_closed(self, record: Json) -> bool | None:
        """Whether the record stands where a case that is over would put it; None where nobody says where that is."""
        move = self._spec.end or self._spec.status
        if move is None or not move.check:
            return None
        check = move.check
        ends = [replace(self.values, facts={**self._facts, "state": state}) for state in ("resolved", "retracted")]
        return any(not _differences(check, record, end) for end in ends)

    async def _open(self) -> Outcome:
        await self._find_contact()
        if self.external_id is None:
            await self._make()
            return Outcome(Result.OK, "created")
        await self._know_record()  # made by an attempt whose end was a failure, or was not heard of
        if self._spec.update is not None:
            await self._caller.call("update", self._spec.update, self.values)
        await self._link()
        await self._check_record()
        return Outcome(Result.OK, "updated")

    async def _make(self) -> None:
        """Make the record, and see that it is there as told, and alone."""
        answer = await self._caller.call("create", self._spec.create, self.values)
        self._facts["external_id"] = await self._name(answer)
        try:
            await self._link()
            await self._check_record()
        except CallFailed as failed:
            if failed.outcome.code != RECORD_GONE:
                raise
            self._facts["external_id"] = None  # a name that nothing bears
            raise CallFailed(Outcome(Result.UNKNOWN, "not_kept", failed.outcome.detail)) from None
        if self._spec.find is not None and self._spec.find.confirm:
            self._alone(await self.find())

    async def _update(self) -> Outcome:
        await self._know_record()
        if self._spec.update is not None:
            await self._caller.call("update", self._spec.update, self.values)
            await self._check_record()
        if self._facts["change"] in _MOVES:
            await self._move("status", self._spec.status)
        await self._add_note()
        return Outcome(Result.OK, "updated")

    async def _close(self) -> Outcome:
        """Move the record and say why; a record that is gone, or closed for good, has nothing left to close."""
        steps = [self._know_record, self._end, self._add_note]
        if self._spec.note is not None and self._spec.note.before_status:
            steps = [self._know_record, self._add_note, self._end]
        code = "closed"
        for step in steps:
            try:
                await step()
            except CallFailed as failed:
                code = failed.outcome.code
                if code == RECORD_GONE:
                    break
                if code != RECORD_CLOSED:
                    raise
        return Outcome(Result.OK, code)

    async def _end(self) -> None:
        if self._spec.end is not None:
            await self._move("end", self._spec.end)
        else:
            await self._move("status", self._spec.status)

    async def _link(self) -> None:
        if self._spec.link is not None and self._facts["contact_id"] is not None:
            await self._caller.call("link", self._spec.link, self.values)

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
        """Find the record, where its name is not known, and see that it has not become another's. Raises CallFailed."""
        if self.external_id is None:
            found = await self.find()
            if not found:
                raise CallFailed(Outcome(Result.PERMANENT, "no_record", "no record bears the case's id"))
            self._alone(found)
            self._facts["external_id"] = found[0]
        if self._spec.read is not None and self._spec.read.id is not None:
            await self._read(self._spec.read)

    def _alone(self, found: Sequence[str]) -> None:
        """Raises CallFailed where several records bear the case's id."""
        if len(found) > 1:
            raise CallFailed(Outcome(Result.CONFLICT, "several_records", f"{len(found)} records bear the case's id"))

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
        elif contact.otherwise:
            self._facts["contact_id"] = contact.otherwise
        elif contact.required:
            result = Result.CONFLICT if found else Result.PERMANENT
            raise CallFailed(Outcome(result, "no_contact", f"{len(found)} contacts have the owner's reference"))

    async def _move(self, name: str, move: Status | None) -> None:
        if move is not None:
            await self._caller.call(name, move, self.values)
            await self._check(move.check, "status_refused")

    async def _check_record(self) -> None:
        if self._spec.read is not None:
            await self._check(self._spec.read.check, "field_dropped")

    async def _check(self, wanted: Mapping[str, Json], code: str) -> None:
        """See that the record has what it was told: helpdesks drop what they do not like, and answer 200."""
        read = self._spec.read
        if read is None or not wanted:
            return
        record = await self._read(read)
        for path, words in _differences(wanted, record, self.values):
            raise CallFailed(Outcome(Result.PERMANENT, code, f"read: {words}"[:500], field=path))

    async def _read(self, read: Read) -> Json:
        """The record as it stands. Raises CallFailed where it is there no more."""
        record = look_up(read.item, await self._caller.call("read", read, self.values))
        called = as_text(look_up(read.id, record)) if read.id else self.external_id
        if called != self.external_id:
            raise CallFailed(Outcome(Result.PERMANENT, RECORD_GONE, f"read: it was merged into {called}"))
        return record

    async def _add_note(self) -> None:
        note = self._spec.note
        if note is None or await self._is_noted(note):
            return
        await self._caller.call("note", note, self.values)

    async def _is_noted(self, note: Note) -> bool:
        """Whether an earlier attempt has left the note."""
        if note.find is None or self._delivery.attempt == 1:
            return False
        if note.find.first is not None:
            self._facts["listed"] = await self._caller.items("note.first", note.find.first, self.values)
            if not self._facts["listed"]:
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
