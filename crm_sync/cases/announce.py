"""What CRMs are told: the messages of a case, each with the case's next version, and those of bare alarms."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from crm_sync.brief import spread
from crm_sync.cases import hearers, queries
from crm_sync.cases.cohort_data import cohort_data
from crm_sync.cases.hearers import Announcement
from crm_sync.cases.queries import Connection
from crm_sync.chart import attach_chart
from crm_sync.inbox import AlarmNotice
from crm_sync.model import Case, CaseAlarm, CaseState, Subject
from crm_sync.outbox import OutboxMessage, enqueue_all
from crm_sync.playbooks.queries import people_are_told
from crm_sync.policy.model import GateAnswer
from crm_sync.settings import CrmSettings, MessageType
from crm_sync.together import together
from devices.clock import to_datetime

MAX_ALARMS: Final = 10
MAX_EVIDENCE: Final = 24
_SHOWN: Final = frozenset({"opened", "reopened", "alarm_attached", "alarm_corrected", "severity_raised"})
"""Changes that come with a picture, for there is something new to see."""

LEFT_MAJOR_CASE: Final = "left_major_case"
"""The change of a child that goes on by itself, for its incident is over."""

_FAREWELLS: Final = frozenset({MessageType.CASE_RESOLVED, MessageType.CASE_RETRACTED})


@dataclass(frozen=True, slots=True)
class News:
    """What there is to tell of a case, and who is to hear it."""

    type: MessageType
    change: str  # a closed word: opened, reopened, alarm_attached, severity_raised, silent, heard_again, …
    outreach: Mapping[str, str | None] | None = None  # a step that the owner sees
    owner_answer: str | None = None  # solved, not_solved, wrong
    only: str | None = None  # nobody but this endpoint
    but: str | None = None  # everybody but this endpoint, which told us
    opened_for: frozenset[str] = field(default_factory=frozenset[str])  # they hear of the case for the first time

    def reaches(self, announcement: Announcement) -> bool:
        """Whether an endpoint is to hear this."""
        if self.only is not None:
            return announcement.endpoint == self.only
        return announcement.is_heard and announcement.endpoint != self.but


def farewell(case: Case, but: str | None = None) -> News:
    """What the CRMs of a closed case are told."""
    kind = MessageType.CASE_RESOLVED if case.state is CaseState.RESOLVED else MessageType.CASE_RETRACTED
    return News(kind, str(case.resolution), but=but)


async def tell(
    conn: Connection, case: Case, subject: Subject, news: News, now_s: float
) -> tuple[Case, list[OutboxMessage]]:
    """Tell the endpoints that were to hear of a held case; returns it with its new version, and the messages."""
    told = replace(case, version=case.version + 1, updated_at_s=now_s)
    await queries.update_case(conn, told)
    alarms, cohort, people, announcements = await together(
        queries.alarms_of(conn, case.case_id),
        cohort_data(conn, told, leaves=news.change == LEFT_MAJOR_CASE),
        people_are_told(conn, case.case_id),
        hearers.announcements_of(conn, case.case_id),
    )
    data = case_data(told, subject, alarms, news) | cohort | people
    messages: list[OutboxMessage] = []
    for announcement in announcements:
        name = announcement.endpoint
        kind = MessageType.CASE_OPENED if name in news.opened_for else news.type
        if news.reaches(announcement) and kind in announcement.types:
            messages.append(OutboxMessage(case.tenant_id, name, case.case_id, kind, data, now_s))
    await enqueue_all(conn, messages)
    return told, messages


def case_data(case: Case, subject: Subject, alarms: tuple[CaseAlarm, ...], news: News) -> dict[str, object]:
    """The `data` of a case's message; a farewell names nobody, so that it may be sent whatever was revoked since."""
    is_farewell = news.type in _FAREWELLS
    data: dict[str, object] = {
        "case_id": case.case_id,
        "version": case.version,
        "change": news.change,
        "state": case.state,
        "problem": case.problem,
        "severity": case.severity,
        "title": case.title,
        "brief": case.brief if case.ending is None else case.ending,
        "team": case.team,
        "opened_at": to_datetime(case.opened_at_s),
        "sla_due_at": _instant(case.sla_due_at_s),
        "device_id": case.device_id,
        "asset": {"asset_id": case.asset_id, "serial": subject.serial, "model": subject.model},
        "owner_ref": None if is_farewell else case.owner_ref,
        "account_ref": None if is_farewell else case.account_ref,
        "alarms": [_alarm_data(alarm) for alarm in alarms[-MAX_ALARMS:]],
        "relapse_of": case.relapse_of,
    }
    if not case.state.is_live:
        data |= {"closed_at": _instant(case.closed_at_s), "resolution": case.resolution, "outcome": case.outcome}
    if news.change in _SHOWN:
        data["chart"] = attach_chart(alarms, subject, case.title)
    if news.owner_answer is not None:
        data["owner_answer"] = news.owner_answer
    if news.outreach is not None:
        data["outreach"] = dict(news.outreach)
    return data


def _alarm_data(alarm: CaseAlarm) -> dict[str, object]:
    evidence = spread(alarm.evidence, MAX_EVIDENCE)
    return {
        "alarm_id": alarm.alarm_id,
        "watch": alarm.watch,
        "kind": alarm.kind,
        "metric": alarm.metric,
        "severity": alarm.severity,
        "state": alarm.state,
        "started_at": to_datetime(alarm.started_at_s),
        "explanation": {
            "text": alarm.text,
            "expected": alarm.expected,
            "observed": alarm.observed,
            "window_s": alarm.window_s,
        },
        "evidence": [{"ts": to_datetime(ts_s), "value": value} for ts_s, value in evidence],
    }


async def tell_alarm(conn: Connection, settings: CrmSettings, notice: AlarmNotice, asset_id: str) -> None:
    """Pass a bare alarm on to the endpoints that asked for alarms; it names a product, never a person."""
    types: list[MessageType] = []
    if notice.event == "raised":
        types = [MessageType.ALARM_RAISED]
        if notice.kind == "silence":
            types.append(MessageType.DEVICE_SILENT)
    elif notice.event == "cleared":
        types = [MessageType.ALARM_CLEARED]
    data = {
        "alarm_id": notice.alarm_id,
        "device_id": notice.device_id,
        "asset_id": asset_id,
        "watch": notice.watch,
        "kind": notice.kind,
        "metric": notice.metric,
        "problem": notice.problem,
        "severity": notice.severity,
        "started_at": to_datetime(notice.started_at_s),
        "decided_at": to_datetime(notice.ts_s),
        "explanation": {
            "text": notice.explanation.text,
            "expected": notice.explanation.expected,
            "observed": notice.explanation.observed,
        },
    }
    await enqueue_all(
        conn,
        [
            OutboxMessage(notice.tenant_id, endpoint.name, notice.alarm_id, kind, data, notice.recorded_at_s)
            for endpoint in settings.endpoints
            for kind in types
            if kind in endpoint.types
        ],
    )


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Somebody who is not contacted."""

    subject: Subject
    problem: str
    answer: GateAnswer
    case_id: str | None = None
    alarm_id: str | None = None


async def tell_suppressed(conn: Connection, settings: CrmSettings, suppressed: Suppressed, now_s: float) -> None:
    """Tell the endpoints that asked for it that somebody is not contacted and why, without saying who."""
    subject = suppressed.subject
    key = suppressed.case_id or suppressed.alarm_id or subject.asset_id
    data = {
        "case_id": suppressed.case_id,
        "alarm_id": suppressed.alarm_id,
        "device_id": subject.device_id,
        "asset_id": subject.asset_id,
        "problem": suppressed.problem,
        "gate": suppressed.answer.gate,
        "reason": suppressed.answer.reason,
        "decided_at": to_datetime(now_s),
    }
    await enqueue_all(
        conn,
        [
            OutboxMessage(subject.tenant_id, endpoint.name, key, MessageType.OUTREACH_SUPPRESSED, data, now_s)
            for endpoint in settings.endpoints
            if MessageType.OUTREACH_SUPPRESSED in endpoint.types
        ],
    )


def _instant(epoch_s: float | None) -> datetime | None:
    return None if epoch_s is None else to_datetime(epoch_s)
