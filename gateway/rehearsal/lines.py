"""The lines that `careloop rehearse` reads and writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from crm_sync.model import CaseAlarm
from crm_sync.queries import CaseView
from devices.clock import to_datetime
from gateway.alarms import alarm_id_of
from gateway.detect.lines import BadLine
from gateway.detect.model import AlarmChange


class Happened(msgspec.Struct, frozen=True):
    """An event of a device."""

    ts: float  # epoch milliseconds, device time
    code: str


class Word(msgspec.Struct, frozen=True):
    """What somebody of the service team says about a case."""

    case: str
    outcome: Literal["true", "false", "unclear"]
    at: float  # epoch seconds


class Line(msgspec.Struct, frozen=True):
    """One of three: what a device sent, a word on a case, or that the clock has come to a moment."""

    device: str | None = None
    received: float = 0.0  # epoch seconds
    ts: Sequence[float] = ()  # of each reading, epoch milliseconds, device time
    metrics: dict[str, list[float | None]] = {}
    events: Sequence[Happened] = ()
    word: Word | None = None
    until: float | None = None  # epoch seconds


_decoder: Final = msgspec.json.Decoder(Line)
_encoder: Final = msgspec.json.Encoder()


def parse_line(raw: bytes) -> Line:
    """A line as it was given. Raises BadLine."""
    try:
        line = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(str(error)) from error
    if (line.device is None) + (line.word is None) + (line.until is None) != 2:  # noqa: PLR2004 - of three
        raise BadLine("neither `device` nor `word` nor `until`, or more than one")
    if any(len(column) != len(line.ts) for column in line.metrics.values()):
        raise BadLine("a metric has not as many values as there are times in `ts`")
    return line


def say(what: dict[str, object]) -> bytes:
    """A line of what came of it."""
    return _encoder.encode(what) + b"\n"


def say_alarm(first: AlarmChange, state: str, raised_at_s: float) -> dict[str, object]:
    """An alarm, in the words of the API: as it was raised, and what it came to."""
    return {
        "alarm_id": alarm_id_of(first.device_id, first.watch, first.started_at_s),
        "device_id": first.device_id,
        "watch": first.watch,
        "kind": str(first.kind),
        "metric": first.metric,
        "severity": str(first.severity),
        "state": state,
        "started_at": to_datetime(first.started_at_s),
        "raised_at": to_datetime(raised_at_s),
        "events": [{"event": "raised", "ts": to_datetime(first.ts_s)}],
    }


def say_case(view: CaseView) -> dict[str, object]:
    """A case, in the words of the API."""
    case = view.case
    return {
        "case_id": case.case_id,
        "device_id": case.device_id,
        "problem": case.problem,
        "state": str(case.state),
        "opened_at": _instant(case.opened_at_s),
        "closed_at": _instant(case.closed_at_s),
        "resolution": case.resolution,
        "outcome": case.outcome,
        "alarms": [_of_case(alarm) for alarm in view.alarms],
        "transitions": [{"to_state": str(move.to_state), "at": move.at} for move in view.transitions],
    }


def _of_case(alarm: CaseAlarm) -> dict[str, Any]:
    return {
        "alarm_id": alarm.alarm_id,
        "watch": alarm.watch,
        "metric": alarm.metric,
        "started_at": _instant(alarm.started_at_s),
        "decided_ts": _instant(alarm.decided_ts_s),
        "text": alarm.text,
    }


def _instant(at_s: float | None) -> datetime | None:
    return None if at_s is None else to_datetime(at_s)
