"""What the gates answered about a case or a contact, in the reader's language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from crm_sync.explain import because
from crm_sync.policy.model import Gate, Outcome
from crm_sync.policy.shown import DecisionView
from gateway.console.show import Shown

MOST_INPUTS: Final = 6
MOST_TEXT: Final = 80
ANY_CRM: Final = "crm"

ALLOWED: Final[Mapping[str, str]] = {
    Gate.KILL_SWITCH: "nothing is stopped",
    Gate.FRESHNESS: "it is recent enough to help",
    Gate.MODE: "its watch may do so",
    Gate.BUDGET: "there is room for one more that may be false",
    Gate.COHORT: "it is not one of many",
    Gate.QUIET_ALARM: "nobody has silenced it",
    Gate.OPEN_CASE: "nobody has just dealt with it",
    Gate.ROUTING: "there is a team for it",
    Gate.GRANT: "contract or consent covers it",
    Gate.SUPPRESSION: "nobody else is on it",
    Gate.HOLD_OUT: "the owner is not held out for comparison",
    Gate.DEBOUNCE: "they were not told of just this lately",
    Gate.FREQUENCY_CAP: "they were not contacted too often lately",
    Gate.QUIET_HOURS: "these are not their quiet hours",
    Gate.APPROVAL: "whoever has to say yes has done so",
    Gate.EXPIRY: "it did not wait too long",
    Gate.STILL_TRUE: "it was still so right before sending",
}


@dataclass(frozen=True, slots=True)
class Gated:
    """What a gate answered, in words, and what it had looked at."""

    gate: str
    outcome: str
    about: str
    why: str
    looked: str


def gated(decision: DecisionView, shown: Shown) -> Gated:
    """What a gate answered."""
    words = shown.words
    recipient = words.say("the CRM") if decision.recipient == ANY_CRM else decision.recipient
    about = words.say("{subject} for {recipient}", subject=words.word(f"about {decision.subject}"), recipient=recipient)
    looked = say_inputs(decision.inputs, shown)
    if decision.outcome == Outcome.ALLOW:
        return Gated(decision.gate, decision.outcome, about, words.say(ALLOWED.get(decision.gate, "")), looked)
    return Gated(decision.gate, decision.outcome, about, because(decision, words.say), looked)


def say_inputs(inputs: Mapping[str, object], shown: Shown) -> str:
    """What was looked at, name by name."""
    word = shown.words.word
    looked = [f"{word(name.removesuffix('_s'))} {_short(name, value, shown)}" for name, value in inputs.items()]
    return ", ".join(looked[:MOST_INPUTS])


def _short(name: str, value: object, shown: Shown) -> str:
    if isinstance(value, bool):
        return shown.words.say("yes") if value else shown.words.say("no")
    if isinstance(value, int | float):
        return shown.span(abs(value)) if name.endswith("_s") else shown.number(value)
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, object]", value)
        return " / ".join(f"{shown.words.word(part)} {_short(part, each, shown)}" for part, each in parts.items())
    return shown.words.catalogue.get(str(value), str(value))[:MOST_TEXT]


def newest(decisions: Sequence[DecisionView], most: int) -> list[DecisionView]:
    """Refusals and waits first, then what was allowed; each gate's last word on each recipient."""
    last: dict[tuple[str, str, str], DecisionView] = {}
    for decision in decisions:
        last[decision.gate, decision.subject, decision.recipient] = decision
    return sorted(last.values(), key=lambda each: each.outcome == Outcome.ALLOW)[:most]
