"""A case's next best action: what is known is put together, every action is ranked, and the decision is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from random import Random
from typing import Literal

from crm_sync.model import AlarmState, Case, CaseAlarm, Subject
from crm_sync.playbooks import fix_queries, queries
from crm_sync.playbooks.fix_queries import FixHistory
from crm_sync.playbooks.model import Chosen, Considered, Facts, Lane, Ranking, Why
from crm_sync.playbooks.queries import About, Connection, Decided
from crm_sync.playbooks.ranking import rank
from crm_sync.together import together
from devices.clock import to_datetime
from devices.commands.queries import find_pending
from devices.profiles.model import Playbook, Severity


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided about."""

    case: Case
    subject: Subject
    model: str  # as actions are counted: the profile's, or automatic
    playbook: Playbook
    alarms: tuple[CaseAlarm, ...]
    precision: float | None  # of the watch that raised the first of them
    score: float | None


@dataclass(frozen=True, slots=True)
class FixRules:
    """What silent fixes are held to."""

    enabled: bool
    per_hour: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A ranking, and the silent fix to begin with, if any is possible."""

    number: int  # of the round
    ranking: Ranking
    fix: Considered | None
    refused: Mapping[int, Why]  # commands that cannot be sent now, by position


def static_facts(subject: Subject, severity: Severity, now_s: float) -> Facts:
    """What is known of a product without asking the database."""
    return Facts(
        severity, _warranty(subject.warranty_until, to_datetime(now_s).date()), subject.lifecycle_stage, subject.region
    )


async def decide(conn: Connection, question: Question, rules: FixRules, now_s: float) -> Decision:
    """Rank a case's actions, and see whether the product can be told to mend itself."""
    case = question.case
    number, rates, worked_here = await together(
        queries.next_round(conn, case.case_id),
        queries.rates_of(conn, case.tenant_id, question.model, case.problem),
        queries.worked_here(conn, case),
    )
    static = static_facts(question.subject, case.severity, now_s)
    facts = Facts(
        static.severity,
        static.warranty,
        static.lifecycle_stage,
        static.region,
        precision=question.precision,
        score=question.score,
        rates=rates,
        worked_here=worked_here,
        is_silent=any(_is_silent(alarm) for alarm in question.alarms),
    )
    ranking = rank(question.playbook, facts, _chance(case.case_id, number))
    refused: dict[int, Why] = {}
    fix: Considered | None = None
    wanted = ranking.allowed(Lane.PRODUCT)
    history = await fix_queries.history_of(conn, case, now_s) if wanted else None
    for each in wanted:
        assert history is not None  # something is wanted
        why = await _obstacle(conn, case, each, rules, history)
        if why is None:
            fix = each
            break
        refused[each.candidate.position] = why
    return Decision(number, ranking, fix, refused)


async def record(conn: Connection, question: Question, decision: Decision, now_s: float, *, waits: bool) -> None:
    """Keep every candidate with its verdict.

    What the owner would see waits for the gates of the contact policy; with `waits` people wait, too, until it is
    known whether the silent fix helped.
    """
    best = next(iter(decision.ranking.allowed(Lane.AGENTS)), None)
    decided = [_verdict(each, decision, best, waits=waits) for each in decision.ranking.considered]
    anything = any(each.verdict is not Chosen.REJECTED for each in decided)
    nothing = (Chosen.REJECTED, Why.SOMETHING_TO_DO) if anything else (Chosen.CHOSEN, Why.NOTHING_ALLOWED)
    decided.append(Decided(None, *nothing, {}))
    about = About(question.case, question.model, decision.number)
    await queries.add_actions(conn, about, decided, now_s)


def _verdict(each: Considered, decision: Decision, best: Considered | None, *, waits: bool) -> Decided:
    lane, position = each.candidate.lane, each.candidate.position
    if each.unmet is not None:
        return Decided(each, Chosen.REJECTED, each.unmet, each.inputs)
    if lane is Lane.PRODUCT:
        if each is decision.fix:
            return Decided(each, Chosen.CHOSEN, Why.BEST, each.inputs)
        why = decision.refused.get(position, Why.NOT_THE_BEST)
        return Decided(each, Chosen.REJECTED, why, each.inputs)
    if waits:
        return Decided(each, Chosen.WAITS, Why.SILENT_FIX_FIRST, each.inputs)
    if lane is Lane.AGENTS and each is not best:
        return Decided(each, Chosen.REJECTED, Why.NOT_THE_BEST, each.inputs)
    if lane is Lane.AGENTS:
        return Decided(each, Chosen.CHOSEN, Why.BEST, each.inputs)
    return Decided(each, Chosen.WAITS, Why.GATES, each.inputs)


async def _obstacle(conn: Connection, case: Case, each: Considered, rules: FixRules, history: FixHistory) -> Why | None:
    """Why a command whose conditions hold cannot be sent all the same."""
    action = each.candidate.action
    command = action.command or ""
    if not rules.enabled:
        return Why.SWITCHED_OFF
    if command in history.commands:
        return Why.TRIED
    if history.lately.get(command, 0) >= action.at_most:
        return Why.TOO_OFTEN
    if history.this_hour >= rules.per_hour:
        return Why.TOO_MANY
    if await find_pending(conn, case.tenant_id, case.device_id, command) is not None:
        return Why.COMMAND_PENDING
    return None


def _is_silent(alarm: CaseAlarm) -> bool:
    return alarm.state is AlarmState.UNKNOWN or (alarm.kind == "silence" and alarm.state is AlarmState.ACTIVE)


def _warranty(until: date | None, today: date) -> Literal["in", "out"] | None:
    if until is None:
        return None
    return "in" if today <= until else "out"


def _chance(case_id: str, number: int) -> Random:
    """Chance that is the same whenever a round of a case is decided again, after a crash for example."""
    seed = int.from_bytes(blake2b(f"{case_id}/{number}".encode(), digest_size=8).digest())
    return Random(seed)  # noqa: S311 - it explores, and keeps no secret
