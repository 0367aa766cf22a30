"""Why something was done or left undone, in words, from what is stored and nothing else."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from crm_sync.model import CaseAlarm
from crm_sync.owners.standing import ContactView, Standing
from crm_sync.playbooks.shown import ActionView
from crm_sync.policy.model import Gate, Outcome, Reason
from crm_sync.policy.shown import DecisionView, StepView
from crm_sync.queries import CaseView, EndpointView, TransitionView, WordView
from crm_sync.trust.budget import Verdict
from devices.clock import to_datetime

HOUR_S: Final = 3600.0
OWN: Final = "careloop"  # the source of contacts that are our own steps


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened; `at` is the gateway's clock."""

    at: datetime
    says: str


@dataclass(frozen=True, slots=True)
class Story:
    """What an explanation says: one sentence that answers, then how it came to that."""

    answer: str
    lines: tuple[Line, ...]


def explain_case(view: CaseView) -> Story:
    """How a case came about, what was decided on the way, and who knows of it."""
    case = view.case
    lines = [
        *(_of_alarm(alarm) for alarm in view.alarms),
        *(_of_decision(decision) for decision in view.decisions),
        *(_of_transition(transition) for transition in view.transitions),
        *(_of_step(step) for step in view.steps),
        *(_of_action(action) for action in view.actions),
        *(_of_word(word) for word in view.words),
    ]
    told = "; ".join(_of_endpoint(endpoint) for endpoint in view.endpoints) or "no CRM was to hear of it"
    owner = "nobody is known to own the product" if case.owner_ref is None else f"owner {case.owner_ref}"
    ending = "" if case.resolution is None else f", {_plain(case.resolution)}"
    answer = f"{case.title}: {case.state}{ending}; {owner}; {told}."
    return Story(answer, _in_order(lines))


NOTHING_PLANNED: Final = (
    " Nothing was to be sent to them: what was found is for a team to act on, as the playbooks have it."
)


def explain_owner(
    owner_ref: str, decisions: Sequence[DecisionView], steps: Sequence[StepView], standing: Standing | None = None
) -> Story:
    """What was decided about one person: above all why they were not contacted; `decisions` the newest first."""
    arrived = {each.reference for each in (standing or Standing()).contacts if each.source == OWN}
    adrift = sum(step.state == "sent" and step.step_id not in arrived for step in steps)
    refused = [each for each in decisions if each.outcome == Outcome.REFUSE]
    why = "; ".join(
        dict.fromkeys(_because(each) + _again(each) for each in sorted(refused, key=lambda each: each.decided_at))
    )
    contacted = {0: "never contacted", 1: "contacted once"}.get(len(arrived), f"contacted {len(arrived)} times")
    answer = (
        f"{owner_ref} was {contacted}."
        + _adrift(adrift)
        + (f" What was left undone: {why}." if why else "")
        + (NOTHING_PLANNED if not (arrived or steps or refused) and _went_through(decisions) else "")
        + _stands(standing or Standing())
    )
    if not decisions and not steps:
        answer = f"Nothing was ever decided about {owner_ref}: no alarm of their products reached the gates."
    lines = [
        *(_of_decision(each) for each in reversed(decisions)),
        *(_of_step(step) for step in steps),
        *(_of_contact(contact) for contact in (standing or Standing()).contacts if contact.source != OWN),
    ]
    return Story(answer, _in_order(lines))


def _went_through(decisions: Sequence[DecisionView]) -> bool:
    """Whether a case was let through, and nothing waits for anybody."""
    return bool(decisions) and all(each.outcome == Outcome.ALLOW for each in decisions)


def _adrift(count: int) -> str:
    """Of messages to the owner that left, and that no CRM is known to have taken."""
    if not count:
        return ""
    what = "1 message to them has" if count == 1 else f"{count} messages to them have"
    return f" {what} left, and no CRM is known to have taken {'it' if count == 1 else 'them'}."


def _stands(standing: Standing) -> str:
    """What keeps others from the owner now, as sentences."""
    held = [
        f"{_plain(each.kind)} ({each.actor}: {each.why})"
        + ("" if each.until_at is None else f" until {_instant(each.until_at)}")
        for each in standing.holds
    ]
    tickets = [f"{ticket.external_id} ({ticket.endpoint})" for ticket in standing.tickets]
    sentences = [
        f" To be left alone: {'; '.join(held)}." if held else "",
        f" People are working on {', '.join(tickets)}." if tickets else "",
    ]
    return "".join(sentences)


def _of_contact(contact: ContactView) -> Line:
    who = "a person" if contact.by_human else "another team"
    channel = "" if contact.channel is None else f" by {contact.channel}"
    return Line(
        contact.contacted_at, f"{who} contacted the owner{channel}, as {contact.source} tells ({contact.reference})"
    )


def explain_alarm(alarm: CaseAlarm, decisions: Sequence[DecisionView]) -> Story:
    """What became of one alarm."""
    if alarm.case_id is not None:
        answer = f"Alarm {alarm.alarm_id} is evidence of case {alarm.case_id}."
    elif alarm.suppressed is not None:
        refused = [each for each in decisions if each.outcome == Outcome.REFUSE]
        why = _because(refused[-1]) if refused else _plain(alarm.suppressed)
        answer = f"Alarm {alarm.alarm_id} opened no case: {why}."
    else:
        answer = f"Alarm {alarm.alarm_id} has no case yet."
    return Story(answer, _in_order([_of_alarm(alarm), *(_of_decision(each) for each in decisions)]))


def _in_order(lines: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: line.at))  # stable: what happened at once stays as it was decided


def _of_alarm(alarm: CaseAlarm) -> Line:
    began = to_datetime(alarm.started_at_s)
    says = f"{alarm.severity} alarm of watch {alarm.watch}, since {_instant(began)} device time: {alarm.text}"
    return Line(to_datetime(alarm.decided_ts_s), f"{says} (expected {alarm.expected}, observed {alarm.observed})")


def _of_decision(decision: DecisionView) -> Line:
    about = {"case": "a case for", "step": "contacting the owner by", "message": "sending to"}[decision.subject]
    gate = _plain(decision.gate)
    if decision.gate == Gate.ROUTING:
        return Line(decision.decided_at, _of_routing(decision))
    match decision.outcome:
        case Outcome.ALLOW:
            shown = ", ".join(f"{_plain(name)} {_shown(value)}" for name, value in decision.inputs.items())
            says = f"{gate}: yes to {about} {decision.recipient}" + (f" ({shown})" if shown else "")
        case Outcome.HOLD:
            until = "" if decision.until_at is None else f" until {_instant(decision.until_at)}"
            says = f"{gate}: not yet{until} to {about} {decision.recipient}: {_because(decision)}"
        case _:
            says = f"{gate}: no to {about} {decision.recipient}: {_because(decision)}{_again(decision)}"
    return Line(decision.decided_at, says)


def _of_routing(decision: DecisionView) -> str:
    inputs = _Inputs(decision.inputs)
    due = f"; due {inputs['due']}" if "due" in decision.inputs else ""
    if decision.inputs.get("is_there"):
        return f"routing: {decision.recipient} is there{due}"
    away = f"routing: nobody of {inputs['wanted']} is there before {inputs['there_from']}"
    stands_in = f"; {decision.recipient} stands in" if decision.recipient != decision.inputs.get("wanted") else ""
    return f"{away}{stands_in}{due}"


def _of_transition(transition: TransitionView) -> Line:
    note = f" ({transition.note})" if transition.note else ""
    move = f"{transition.from_state or 'nothing'} → {transition.to_state}"
    moved = f"still {transition.to_state}" if transition.from_state == transition.to_state else move
    return Line(transition.at, f"{moved}, by {transition.actor}: {_plain(transition.reason)}{note}")


def _of_step(step: StepView) -> Line:
    why = "" if step.reason is None else f": {_plain(step.reason)}"
    return Line(
        step.settled_at or step.due_at, f"{_plain(step.kind)} to the owner by {step.channel}: {step.state}{why}"
    )


def _of_action(action: ActionView) -> Line:
    """One candidate for the next best action, with what was looked at, and what came of it."""
    kind, _, what = action.action.partition(":")
    named = f"{_plain(kind)} {what}".strip() if what else _plain(kind)
    looked = ", ".join(f"{_plain(name)} {_shown(value)}" for name, value in action.inputs.items())
    came = "" if action.result is None else f"; it {action.result}: {_plain(action.result_why or '')}"
    says = f"next best action, round {action.round}: {named} {action.verdict}: {_plain(action.reason)}"
    return Line(action.decided_at, says + (f" ({looked})" if looked else "") + came)


def _of_word(word: WordView) -> Line:
    """Whether the fault was real, as somebody said, and in the customer's words where they are known."""
    real = {"true": "the fault was real", "false": "nothing was wrong"}.get(word.verdict, "it is unclear")
    quoted = f"; the customer said: “{word.customer_said}”" if word.customer_said else ""
    return Line(word.said_at, f"{word.source} {word.actor}: {real}{quoted}")


def _of_endpoint(endpoint: EndpointView) -> str:
    """What an endpoint was told; a message that it has not taken is none that it knows of."""
    known = f" as {endpoint.external_id}" if endpoint.external_id is not None else ""
    why = "" if endpoint.reason is None else f" ({_plain(endpoint.reason)})"
    said = [f"{_plain(endpoint.state)}{known}"]
    if endpoint.state == "announced" and not endpoint.taken:
        said.append("but it has taken nothing yet")
    if endpoint.dead:
        said.append(f"{_messages(endpoint.dead)} not taken{why}")
    if endpoint.waiting:
        said.append(f"{_messages(endpoint.waiting)} on the way{'' if endpoint.dead else why}")
    return f"{endpoint.endpoint}: {', '.join(said)}"


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _again(decision: DecisionView) -> str:
    """From when it would have been allowed, where the gate knew."""
    return "" if decision.until_at is None else f"; would be allowed again from {_instant(decision.until_at)}"


def _because(decision: DecisionView) -> str:
    return because(decision, str)


def because(decision: DecisionView, say: Callable[[str], str]) -> str:
    """Why a gate said no, or not yet, with what it looked at; `say` puts a clause into the reader's language."""
    if decision.reason is None:
        return "no reason was kept"
    clause = WORDS.get(Reason(decision.reason))
    if decision.reason == Reason.BUDGET and "belief" in decision.inputs:
        verdict = str(decision.inputs.get("verdict"))
        is_by_outcomes = verdict == Verdict.BAR and "by_outcomes" in decision.inputs
        clause = OF_THE_BUDGET.get("outcomes" if is_by_outcomes else verdict, clause)
    return _plain(decision.reason) if clause is None else say(clause).format_map(_Inputs(decision.inputs))


class _Inputs(dict[str, object]):
    """A gate's inputs as a sentence wants them; what a gate did not look at is said to be unknown."""

    def __init__(self, inputs: Mapping[str, object]) -> None:
        super().__init__({name: _shown(value) for name, value in inputs.items()})
        for name in ("head_age_s", "stale_after_s"):
            seconds = inputs.get(name)
            if isinstance(seconds, int | float):
                self[name.removesuffix("_s")] = f"{seconds / HOUR_S:.1f} h"
        for name in ("belief", "needed_belief", "by_outcomes"):
            share = inputs.get(name)
            if isinstance(share, int | float):
                self[name] = f"{100 * share:.3g} %"

    def __missing__(self, name: str) -> str:
        return f"unknown {_plain(name)}"


WORDS: Final[Mapping[Reason, str]] = {
    Reason.KILL_SWITCH: "outreach is switched off",
    Reason.STALE: "when it was heard of it was over, or the newest reading {head_age} old (at most {stale_after})",
    Reason.NO_GRANT: "the grant for {purpose} by {recipient} is: {state}",
    Reason.NO_OWNER: "nobody is known to own the product",
    Reason.NO_TIME_ZONE: "no time zone is known in which it would surely be a time to contact somebody",
    Reason.QUIET_HOURS: "quiet hours in {zones}",
    Reason.RECOVERED: "the fault was gone by then",
    Reason.CASE_CLOSED: "the case was closed by then",
    Reason.OWNER_CHANGED: "the product had another owner by then",
    Reason.NEVER_ANNOUNCED: "this CRM had not heard of the case",
    Reason.INCIDENT: "it is one of many devices, for which one major case speaks",
    Reason.COHORT_SUSPECTED: "it may be one of many devices, which will soon be known",
    Reason.HANDLED: "an agent had just dealt with it",
    Reason.SHADOW: "watch {watch} is only being tried: its mode is {mode}",
    Reason.BUDGET: "it was too unlikely to be true for the room that the budget of false cases had",
    Reason.NOT_APPROVED: "nobody approved it in time",
    Reason.SNOOZED: "a person wants to see the alarm later",
    Reason.SILENCED: "a person wants to hear nothing of such alarms for a while",
    Reason.MAINTENANCE: "such products were being worked on",
    Reason.DECLINED: "a person declined it",
    Reason.DO_NOT_CONTACT: "the owner is not to be contacted at all",
    Reason.LEGAL_HOLD: "a legal matter is open with the owner",
    Reason.COMPLAINT: "a complaint of the owner is open",
    Reason.PLANNED_WORK: "work is planned that may be all that is seen (number {work})",
    Reason.HUMAN_CASE: "a person is already on it: {case}",
    Reason.HUMAN_REPLY: "a person of the company spoke with the owner at {spoke_at} ({endpoint})",
    Reason.HOLD_OUT: "the owner is one of the {share} who are left alone for comparison",
    Reason.TOLD_ALREADY: "the owner was told of the same problem of this product at {told_at}",
    Reason.FREQUENCY_CAP: (
        "the owner had {contacts} contacts within {within_h} h, of all products and teams; allowed is {allowed}"
    ),
    Reason.APPROVAL_NEEDED: "a person must say yes first: {why}",
    Reason.EXPIRED: "it waited for {waited_h} h, and what was decided then may not hold any more",
}
"""Each reason as a clause; in braces what the gate looked at."""

OF_THE_BUDGET: Final[Mapping[str, str]] = {
    Verdict.BELIEF: (
        "it was likely to be true to {belief}, where a case needs {needed_belief} however much room there is"
    ),
    Verdict.BAR: (
        "it was likely to be true to {belief}, where a case of its watch needs {needed_belief} since it was wrong"
    ),
    Verdict.CAP: "it was likely to be true to {belief}, and what was left of the day's cases needed {needed_belief}",
    Verdict.ALLOWANCE: "it was likely to be true to {belief}, and the false cases that are granted were used up",
    Verdict.SHARE: "it was likely to be true to {belief}, and too large a share of the cases would have been false",
    "outcomes": (
        "its watch was right too rarely: to {by_outcomes} by what was said of its cases; one needs {needed_belief}"
    ),
}
"""What the budget of false cases said to it, in the words of its verdict."""


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value) or "none"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
