"""One message to a helpdesk: which calls it takes, and whether they did what they said."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, cast

import msgspec

from crm_sync.adapters.contract import PARENT_UNKNOWN, Audit, Delivery, Outcome, Result
from crm_sync.adapters.rest.caller import Caller, Reply
from crm_sync.adapters.rest.calls import Attachment, FindNote, Note, Read, Status, Write
from crm_sync.adapters.rest.classify import RECORD_CLOSED, RECORD_GONE, CallFailed
from crm_sync.adapters.rest.duplicates import put_duplicates_away, several
from crm_sync.adapters.rest.own_moves import MOVES
from crm_sync.adapters.rest.picture import name_of_picture
from crm_sync.adapters.rest.record import called_in, differences, is_closed
from crm_sync.adapters.rest.request import weight_of
from crm_sync.adapters.rest.search import find_records
from crm_sync.adapters.rest.shorten import MOST_BYTES, shorter, unbroken
from crm_sync.adapters.rest.spec import FACTS, Spec
from crm_sync.adapters.rest.story import Story
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up
from crm_sync.settings import MessageType
from devices.clock import to_datetime

_WAITS_FOR_PARENT: Final = 3  # attempts; then the case goes on without the tie
_TRIES_OF_PICTURE: Final = 3
_PASSING: Final = frozenset({Result.UNKNOWN, Result.RETRYABLE, Result.RATE_LIMITED})

Step = Callable[[], Awaitable[None]]


class Work:
    """The calls of one delivery. What is done again after a failure is what does no harm twice."""

    def __init__(self, spec: Spec, caller: Caller, delivery: Delivery, story: Story, now_s: float = 0.0) -> None:
        self._spec = spec
        self._caller = caller
        self._delivery = delivery
        self._says_cut = story.of_the_rest(delivery.key)
        told = cast("dict[str, Json]", msgspec.json.decode(delivery.body, type=dict[str, object]).get("data", {}))
        data = unbroken(told, self._says_cut)
        self._facts: dict[str, Json] = {
            **dict.fromkeys(FACTS),
            **data,
            "news": story.news(data),
            "todo": story.todo(delivery.key, data),
            "case_link": story.link(delivery.key) or None,
            "case_id": delivery.key,
            "message_id": delivery.message_id,
            "external_id": delivery.external_id,
            "parent_record": delivery.parent_id,
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

    def _values_of(self, call: Write) -> Values:
        """What places stand for in a call: the one that tells what is new, and would tell the brief, tells the news."""
        spec = self._spec
        if call is not (spec.note or spec.update) or call.bears("news") or call.bears("outreach"):
            return self.values
        news = as_text(self._facts["news"])
        if call is spec.update:  # a field: it keeps the brief, and what `read` holds against it stays as it is
            if not self._facts["outreach"] or (spec.read is not None and spec.read.bears("brief")):
                return self.values
            news = f"{news}\n\n{as_text(self._facts['brief'])}"
        return replace(self.values, facts={**self._facts, "brief": news})

    async def do(self) -> Outcome:
        """Make the calls that the message asks for. Raises CallFailed."""
        if self._delivery.overtaken:  # what is newer stays as it is
            await self._know_record()
            if self._delivery.type is not MessageType.CASE_OPENED:
                await self._add_note()
            return Outcome(Result.OK, "overtaken")
        match self._delivery.type:
            case MessageType.CASE_OPENED:
                return await self._open()
            case MessageType.CASE_UPDATED:
                return await self._update()
            case _:
                return await self._close()

    async def find(self) -> Sequence[str]:
        """Every record that bears the case's id. Raises CallFailed."""
        return await find_records(self._spec, self._caller, self.values)

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
        wrong = [words for _, words in differences(read.check, record, self.values)] if is_live else []
        return Audit(1, self.external_id, wrong, is_closed(self._spec.end or self._spec.status, record, self.values))

    async def _open(self) -> Outcome:
        await self._find_contact()
        if self.external_id is None:
            await self._make()
            return Outcome(Result.OK, "created", await self._besides())
        await self._know_record()  # made by an attempt whose end was a failure, or was not heard of
        await self._unite()
        if self._spec.update is not None:
            await self._tell("update", self._spec.update)
        await self._link()
        await self._check_record()
        return Outcome(Result.OK, "updated", await self._besides())

    async def _make(self) -> None:
        """Make the record, and see that it is there as told, and alone."""
        reply = await self._tell("create", self._spec.create)
        self._facts["external_id"] = await self._name(reply)
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
        await self._unite()
        if self._spec.update is not None:
            await self._tell("update", self._spec.update)
            await self._check_record()
        moves = self._facts["change"] in MOVES
        for step in self._in_order(self._move_on if moves else None):
            await step()
        return Outcome(Result.OK, "updated", await self._besides())

    async def _close(self) -> Outcome:
        """Move the record and say why; a record that is gone, or closed for good, has nothing left to close."""
        code, beside = "closed", None
        for step in (self._know_record, self._unite, *self._in_order(self._end)):
            try:
                await step()
            except CallFailed as failed:
                if step == self._unite:
                    beside = failed  # a duplicate that stays does not keep the record open
                    continue
                code = failed.outcome.code
                if code == RECORD_GONE:
                    break
                if code != RECORD_CLOSED:
                    raise
        if beside is not None:
            raise beside
        return Outcome(Result.OK, code)

    def _in_order(self, move: Step | None) -> Sequence[Step]:
        """Move and note; in some helpdesks a note moves the record by itself, so that it is moved again after it."""
        note = self._spec.note
        if note is None or move is None:
            return [self._add_note] if move is None else [move]
        if note.before_status:
            return [self._add_note, move]
        return [move, self._add_note, partial(self._unless_it_stands, move)]

    async def _unless_it_stands(self, move: Step) -> None:
        """Make a move again if the record does not stand where it was put. Raises CallFailed."""
        over = (self._spec.end if move == self._end else None) or self._spec.status
        if over is None:
            return
        try:
            await self._check(over.check, "status_refused")
        except CallFailed as failed:
            if failed.outcome.code != "status_refused":
                raise
            await move()

    async def _end(self) -> None:
        if self._spec.end is not None:
            await self._move("end", self._spec.end)
        else:
            await self._move_on()

    async def _move_on(self) -> None:
        await self._move("status", self._spec.status)

    async def _link(self) -> None:
        if self._spec.link is not None and self._facts["contact_id"] is not None:
            await self._tell("link", self._spec.link)

    async def _besides(self) -> str:
        """What comes last and stops no case: the tie to a major one, and the picture; gives what hindered them."""
        try:
            await self._tie()
            untied = ""
        except CallFailed as failed:
            if failed.outcome.result in _PASSING and self._delivery.attempt <= _WAITS_FOR_PARENT:
                raise
            untied = f"not tied to the record of its major case: {failed.outcome.code} {failed.outcome.detail}"[:500]
        return "; ".join(part for part in (untied, await self._show()) if part)

    async def _tie(self) -> None:
        """Tie the record to that of its major case, or untie it. Raises CallFailed."""
        call, is_leaving = self._spec.parent, self._facts.get("left") is not None
        if call is None or not (is_leaving or self._facts.get("parent")):
            return
        leave = call.leave if is_leaving else None
        if is_leaving and leave is None:
            self._facts["parent_record"] = None
        elif self._facts["parent_record"] is None and is_leaving:
            return
        elif self._facts["parent_record"] is None:  # not there yet, or never will be
            raise CallFailed(Outcome(Result.RETRYABLE, PARENT_UNKNOWN, "parent: the major case has no record"))
        await self._tell("parent", call) if leave is None else await self._tell("parent.leave", leave)

    async def _tell(self, name: str, call: Write) -> Reply:
        """Make a call that changes something. One that bears the record's etag is made to the record as it stands now.

        Somebody may change the record in between: it is then looked at once more, and again on the schedule.
        """
        read = self._spec.read
        self._keep_small(name, call)
        if read is None or not call.bears("etag"):
            return await self._caller.call(name, call, self._values_of(call))
        for is_last in (False, True):
            await self._read(read)
            try:
                return await self._caller.call(name, call, self._values_of(call))
            except CallFailed as failed:
                if failed.outcome.result is not Result.CONFLICT:
                    raise
                if is_last:
                    raise CallFailed(replace(failed.outcome, result=Result.RETRYABLE)) from None
        raise AssertionError  # the second pass is the last

    def _keep_small(self, name: str, call: Write) -> None:
        """Cut texts until a call is small enough; what is read back is then held against what was sent."""
        if weight_of(call, self._values_of(call)) <= MOST_BYTES:
            return
        for facts in shorter(self._facts, self._says_cut):
            self._facts = facts
            if weight_of(call, self._values_of(call)) <= MOST_BYTES:
                return
        size = weight_of(call, self._values_of(call))
        raise CallFailed(Outcome(Result.PERMANENT, "oversized", f"{name}: {size} bytes without any text are too many"))

    async def _name(self, reply: Reply) -> str:
        """What a record that was just made is called. Raises CallFailed."""
        create = self._spec.create
        called = called_in(create, reply)
        if called:
            return called
        where = create.id or create.id_header
        if where and self._spec.find is None:
            raise CallFailed(Outcome(Result.PERMANENT, "no_id", f"create: the answer has no {where}"))
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

    async def _unite(self) -> None:
        await put_duplicates_away(self._spec, self._caller, self.values, self._delivery)

    def _alone(self, found: Sequence[str]) -> None:
        """Raises CallFailed where several records bear the case's id; of them the oldest is kept, if one can be."""
        if len(found) > 1:
            if self._spec.duplicate is not None:
                self._facts["external_id"] = found[0]
            raise CallFailed(several(self._spec, len(found)))

    async def _find_contact(self) -> None:
        contact = self._spec.contact
        if contact is None:
            return
        items = [] if self._facts["owner_ref"] is None else await self._caller.items("contact", contact, self.values)
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
            await self._tell(name, move)
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
        for path, words in differences(wanted, record, self.values):
            raise CallFailed(Outcome(Result.PERMANENT, code, f"read: {words}"[:500], field=path))

    async def _read(self, read: Read) -> Json:
        """The record as it stands. Raises CallFailed where it is there no more."""
        reply = await self._caller.call("read", read, self.values)
        record = look_up(read.item, reply.body)
        self._facts["etag"] = look_up(read.etag, reply.body) if read.etag else reply.headers.get("etag")
        called = as_text(look_up(read.id, record)) if read.id else self.external_id
        if called != self.external_id:
            where = "it is there no more" if called in {"", "false"} else f"it was merged into {called}"
            raise CallFailed(Outcome(Result.PERMANENT, RECORD_GONE, f"read: {where}"))
        return record

    async def _add_note(self) -> None:
        """Leave the note, unless an earlier attempt has; tying it to the record twice does no harm."""
        note = self._spec.note
        if note is None:
            return
        there = await self._noted(note)
        if there is None:
            self._facts["note_id"] = called_in(note, await self._tell("note", note))
        elif note.find is not None and note.find.id is not None:
            self._facts["note_id"] = look_up(note.find.id, there)
        if note.attach is not None:
            if not self._facts["note_id"] and note.attach.bears("note_id"):
                result = Result.PERMANENT if note.find is None else Result.UNKNOWN  # else it is found, and then tied
                raise CallFailed(Outcome(result, "no_id", "note: the answer does not say what it is called"))
            await self._tell("note.attach", note.attach)

    async def _noted(self, note: Note) -> Json:
        """The note that an earlier attempt left; None where there is none."""
        if note.find is None or self._delivery.attempt == 1:
            return None
        return await self._found("note", note.find, self._delivery.message_id)

    async def _found(self, name: str, find: FindNote, mark: str) -> Json:
        """What is in the record already and bears a mark; None where there is none."""
        if find.first is not None:
            self._facts["listed"] = await self._caller.items(f"{name}.first", find.first, self.values)
            if not self._facts["listed"]:
                return None
        items = await self._caller.items(f"{name}.find", find, self.values)
        return next((item for item in items if mark in as_text(look_up(find.text, item))), None)

    async def _show(self) -> str:
        """Put the picture into the record, once; gives what hindered it. No case waits for a picture for long."""
        attachment, attempt = self._spec.attachment, self._delivery.attempt
        picture = name_of_picture(self._facts, self._delivery.message_id)
        if attachment is None or picture is None or (attachment.find is None and attempt > 1):
            return ""
        self._facts["attachment_name"] = picture
        try:
            await self._put_picture(attachment, picture)
        except CallFailed as failed:
            if attachment.find is not None and attempt < _TRIES_OF_PICTURE and failed.outcome.result in _PASSING:
                raise
            return f"the picture was not attached: {failed.outcome.code} {failed.outcome.detail}"[:500]
        return ""

    async def _put_picture(self, attachment: Attachment, picture: str) -> None:
        find = attachment.find
        if find and self._delivery.attempt > 1 and await self._found("attachment", find, picture) is not None:
            return
        reply = await self._caller.call("attachment", attachment, self.values)
        if attachment.attach is not None:
            self._facts["attachment_id"] = called_in(attachment, reply)
            await self._tell("attachment.attach", attachment.attach)
