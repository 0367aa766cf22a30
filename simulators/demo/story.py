"""One fault, told from its first reading to its closure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from devices.clock import to_datetime
from simulators.api_client import Json, epoch_s
from simulators.crm.records import Book
from simulators.fleet.faults import FaultKind, Label
from simulators.fleet.world import Device
from simulators.scorecard import SeenAlarm

_IN_WORDS: Final[Mapping[FaultKind, str]] = {
    FaultKind.ABANDONED: "its owner stopped using it",
    FaultKind.STUCK: "a sensor got stuck",
    FaultKind.DECLINE: "its owner used it less and less",
    FaultKind.BATTERY_DRAIN: "its battery began to fail",
    FaultKind.EVENT_STORM: "it began to flood us with events",
    FaultKind.SILENCE: "its radio module died",
    FaultKind.OVER_TEMPERATURE: "it began to run too hot",
    FaultKind.BAD_FIRMWARE: "a new firmware made it worse",
}
_CLOSED: Final = frozenset({"resolved", "retracted", "expired"})


@dataclass(frozen=True, slots=True)
class Thread:
    """A fault, the alarm that found it, the case that came of it."""

    label: Label
    device: Device
    alarm: Json
    case: Json

    @property
    def was_silent(self) -> bool:
        """Whether the product mended itself before anybody was told."""
        return self.case.get("resolution") == "fixed_silently"


@dataclass(frozen=True, slots=True)
class _Moment:
    at_s: float
    who: str
    text: str


def choose(
    devices: Sequence[Device],
    labels: Sequence[Label],
    found: Mapping[int, SeenAlarm],
    alarms: Sequence[Json],
    cases: Sequence[Json],
    *,
    silently: bool = False,
) -> Thread | None:
    """The fault whose story is the most complete: healed, with a case that telemetry closed, if there is one.

    `silently`: of those that were fixed before anybody was told; otherwise of the others.
    """
    by_id = {str(alarm["alarm_id"]): alarm for alarm in alarms}
    by_name = {device.device_id: device for device in devices}
    threads: list[Thread] = []
    for n, label in enumerate(labels):
        seen = found.get(n)
        case = case_of(seen.alarm_id, cases) if seen is not None else None
        if seen is not None and case is not None:
            threads.append(Thread(label, by_name[label.device_id], by_id[seen.alarm_id], case))
    wanted = [thread for thread in threads if thread.was_silent is silently]
    return max(wanted, key=_completeness, default=None)


def case_of(alarm_id: str, cases: Sequence[Json]) -> Json | None:
    """The case that an alarm is evidence of."""
    for case in cases:
        if any(str(alarm.get("alarm_id")) == alarm_id for alarm in _items(case, "alarms")):
            return case
    return None


def _completeness(thread: Thread) -> tuple[bool, bool, bool, bool, float]:
    return (
        str(thread.case["state"]) == "resolved" and thread.label.ends_at_s is not None,
        str(thread.case.get("resolution")) == "recovered_in_telemetry",
        thread.label.kind is FaultKind.OVER_TEMPERATURE,
        str(thread.case["state"]) in _CLOSED,
        -epoch_s(thread.alarm["raised_at"]),
    )


def tell(thread: Thread, book: Book, wait_s: float | None) -> RenderableType:
    """The story, as it is printed."""
    device = thread.device
    person = device.person
    which = (
        "And one that nobody had to be told of" if thread.was_silent else "One fault, from its first reading to its end"
    )
    title = Text(f"{which}: {device.device_id}", style="bold")
    intro = Text(
        f"It is {device.product.spoken} of {person.owner_ref} in {person.time_zone}. "
        f"The simulator's truth, which careloop never sees: on {_when(thread.label.starts_at_s)} "
        f"{_IN_WORDS[thread.label.kind]}"
        + (f"; on {_when(thread.label.ends_at_s)} that was over." if thread.label.ends_at_s else ".")
    )
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(style="cyan", no_wrap=True)
    lines.add_column(ratio=1)
    for moment in sorted(_moments(thread, book, wait_s), key=lambda moment: moment.at_s):
        lines.add_row(_when(moment.at_s), moment.who, moment.text)
    if thread.was_silent:
        return Group(title, Padding(intro, (0, 0, 1, 2)), Padding(lines, (0, 0, 0, 2)))
    brief = Padding(Text(_first_brief(thread, book), style="italic"), (0, 0, 0, 4))
    read = Text("  What the agent read when the case came in:")
    return Group(title, Padding(intro, (0, 0, 1, 2)), Padding(lines, (0, 0, 1, 2)), read, brief)


def _first_brief(thread: Thread, book: Book) -> str:
    for message in book.messages.values():
        if message.kind == "case.opened" and message.case_id == thread.case["case_id"]:
            return str(message.data.get("brief", "")).strip()
    return str(thread.case["brief"]).strip()


def _moments(thread: Thread, book: Book, wait_s: float | None) -> Iterator[_Moment]:
    label, alarm, case = thread.label, thread.alarm, thread.case
    first = _first_reading(thread)
    if first is not None:
        yield first
    if label.ends_at_s is not None:
        yield _Moment(label.ends_at_s, "(truth)", "the fault is gone")
    decided: dict[str, float] = {}  # what happened -> device time of the decision
    for event in _items(alarm, "events"):
        name, at_s = str(event["event"]), epoch_s(event["ts"])
        decided[name] = max(at_s, decided.get(name, at_s))
        if name != "updated":
            said = cast("Json", event.get("explanation") or alarm.get("explanation") or {})
            word = "" if name == "raised" else f" {name}"
            yield _Moment(at_s, "detection", f"{_named(alarm)}{word}: {said.get('text', '')}")
    yield from _moves(case, decided)
    opened_s = max(epoch_s(case["opened_at"]), decided.get("raised", 0.0))
    yield from _told_owner(case, opened_s)
    record = book.of_case(str(case["case_id"]))
    if record is not None:
        kinds = ", ".join(dict.fromkeys(kind for _, kind, _ in record.history))
        soon = "" if wait_s is None else f" {wait_s:.2f} s (real time) after the device sent the reading"
        yield _Moment(opened_s, "CRM", f"record {record.number}{soon}; heard {kinds}; now {record.state}")


def _moves(case: Json, decided: Mapping[str, float]) -> Iterator[_Moment]:
    """The case's moves, each told after its cause, and after the move before it, in the time of the device.

    The gateway's clock is held back until all devices have caught up, so a move that an alarm causes may be noted some
    hours before the reading that decided it, and what follows from that move, too.
    """
    at_s = 0.0
    for move in _items(case, "transitions"):
        by, state = str(move["actor"]), str(move["to_state"])
        cause = decided.get("cleared" if state == "resolved" else "raised", 0.0)
        if by not in {"telemetry", "policy"}:
            cause = 0.0
        reason = str(move["reason"]).replace("_", " ")
        at_s = max(at_s, epoch_s(move["at"]), cause)
        yield _Moment(at_s, "case", f"{state}: {reason}, by {by}")


def _told_owner(case: Json, opened_s: float) -> Iterator[_Moment]:
    """What the gates said to steps that the owner would see; the last word of each channel."""
    last: dict[str, Json] = {}
    for decision in _items(case, "decisions"):
        if decision.get("subject") == "step" or decision.get("outcome") != "allow":
            last[str(decision["recipient"])] = decision
    for recipient, decision in last.items():
        reason = str(decision.get("reason") or "").replace("_", " ")
        words = {"allow": "allowed", "hold": f"held: {reason}", "refuse": f"not contacted: {reason}"}
        said = words.get(str(decision["outcome"]), str(decision["outcome"]))
        yield _Moment(max(epoch_s(decision["decided_at"]), opened_s), "owner", f"{recipient}: {said}")


def _first_reading(thread: Thread) -> _Moment | None:
    """The first reading that the fault could show in."""
    encoder, label = thread.device.encoder, thread.label
    rows = (encoder.ts_ms / 1000 >= label.starts_at_s).nonzero()[0]
    metric = thread.alarm.get("metric")
    if not len(rows):
        return None
    values = encoder.life.metrics.get(str(metric))
    if metric is None or values is None:
        last = encoder.ts_ms[encoder.ts_ms / 1000 < label.starts_at_s]
        return _Moment(float(last[-1]) / 1000, "device", "its last reading before the fault") if len(last) else None
    row = next((int(row) for row in rows if values[row] == values[row]), None)  # not NaN
    if row is None:
        return None
    return _Moment(
        float(encoder.ts_ms[row]) / 1000, "device", f"first reading after it began: {metric} {values[row]:g}"
    )


def _named(alarm: Json) -> str:
    return f"{alarm['watch']} ({alarm['severity']})"


def _items(tree: Json, name: str) -> Sequence[Json]:
    return cast("Sequence[Json]", tree.get(name) or ())


def _when(moment_s: float) -> str:
    return f"{to_datetime(moment_s):%a %d %b %H:%M}"


def print_story(console: Console, thread: Thread | None, book: Book, waits_s: Mapping[str, float]) -> None:
    """Print the story, or why there is none."""
    if thread is None:
        console.print("No fault was found, became a case and can be told.", style="dim")
        return
    console.print(tell(thread, book, waits_s.get(str(thread.case["case_id"]))))
    console.print()
