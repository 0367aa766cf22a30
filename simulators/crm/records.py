"""What the sandbox CRM keeps: a record per case that it was told to open, and every message as it came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast


@dataclass(frozen=True, slots=True)
class Message:
    """One signed message from the gateway."""

    message_id: str
    kind: str  # case.opened, case.updated...
    case_id: str | None
    version: int | None
    alarm_ids: tuple[str, ...]
    data: Mapping[str, object]

    @classmethod
    def read(cls, message_id: str, body: Mapping[str, object]) -> "Message":
        """Read a message's body; what is absent stays None."""
        data = cast("Mapping[str, object]", body.get("data") or {})
        alarms = cast("Sequence[Mapping[str, object]]", data.get("alarms") or ())
        own = data.get("alarm_id")
        ids = [str(alarm["alarm_id"]) for alarm in alarms if "alarm_id" in alarm] + ([str(own)] if own else [])
        case_id, version = data.get("case_id"), data.get("version")
        return cls(
            message_id=message_id,
            kind=str(body.get("type")),
            case_id=None if case_id is None else str(case_id),
            version=version if isinstance(version, int) else None,
            alarm_ids=tuple(ids),
            data=data,
        )


@dataclass(slots=True)
class Record:
    """A case as the CRM sees it."""

    number: str  # the CRM's own
    case_id: str
    opened_at: float  # machine time of the request that made it
    state: str = "open"
    version: int = 0
    title: str = ""
    history: list[tuple[float, str, int]] = field(default_factory=list)  # machine time, kind, version


@dataclass(slots=True)
class Book:
    """All records; a naive CRM: a new `case.opened` makes a new record, unless its message id was seen."""

    records: list[Record] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)
    seen_again: int = 0
    out_of_order: int = 0
    orphans: int = 0  # messages about a case that was never opened
    suppressed: int = 0
    first_heard: dict[str, float] = field(default_factory=dict)  # alarm or case id -> machine time of its first request

    def hear(self, message: Message, now_s: float) -> None:
        """Note the first request that names a case or an alarm, whatever is then answered."""
        for name in (message.case_id, *message.alarm_ids):
            if name is not None:
                self.first_heard.setdefault(name, now_s)

    def take(self, message: Message, now_s: float) -> Record | None:
        """Apply a message once; the record that it made or changed."""
        if message.message_id in self.messages:
            self.seen_again += 1
            return None
        self.messages[message.message_id] = message
        if message.kind == "outreach.suppressed":
            self.suppressed += 1
        if message.case_id is None or not message.kind.startswith("case."):
            return None
        record = self._open(message, now_s) if message.kind == "case.opened" else self.of_case(message.case_id)
        if record is None:
            self.orphans += 1
            return None
        version = record.version + 1 if message.version is None else message.version
        if version <= record.version:
            self.out_of_order += 1
        record.version = max(record.version, version)
        record.state = str(message.data.get("state", record.state))
        record.history.append((now_s, message.kind, version))
        return record

    def _open(self, message: Message, now_s: float) -> Record:
        record = Record(f"CRM-{len(self.records) + 1001}", str(message.case_id), now_s)
        record.title = str(message.data.get("title", ""))
        self.records.append(record)
        return record

    def of_case(self, case_id: str) -> Record | None:
        """The first record of a case."""
        return next((record for record in self.records if record.case_id == case_id), None)

    @property
    def case_ids(self) -> set[str]:
        """The cases that have a record."""
        return {record.case_id for record in self.records}

    @property
    def duplicate_records(self) -> int:
        """Records beyond the first of their case."""
        return len(self.records) - len(self.case_ids)
