"""What other rooms say in English sentences of their own, said anew in the reader's language."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from crm_sync.explain import because
from crm_sync.owners.standing import Standing
from crm_sync.policy.model import Outcome
from crm_sync.policy.shown import DecisionView, StepView
from gateway.console.show import HOUR_S, Shown
from gateway.console.words import Words
from gateway.doctor.finding import Finding
from gateway.order.clocks import AGREE_S
from gateway.order.words import is_zone

SILENT: Final = re.compile(r"has not answered for (?P<seconds>\d+) s(?: \((?P<why>.*)\))?")
FULL: Final = re.compile(r"full for (?P<seconds>\d+) s; the doors hold back")


def say_order(order: Mapping[str, Any], shown: Shown) -> str:
    """A device's gaps and clock; `order` is as `order_of` tells it."""
    words = shown.words
    if not order["is_numbered"]:
        gap = words.say("it does not number its messages")
    elif not order["missing"]:
        gap = words.say("nothing is missing")
    else:
        gap = words.count("one message never reached us", "{n} messages never reached us", order["missing"])
    return "; ".join([gap, *_say_clock(order, shown)])


def _say_clock(order: Mapping[str, Any], shown: Shown) -> list[str]:
    words, state, offset_s = shown.words, order["clock"], order["offset_s"]
    if state == "none":
        return [words.say("no clock: what it sends bears the time of its receipt")]
    if offset_s is None:
        return [words.say("nothing is known of its clock yet")]
    span = shown.span(max(abs(offset_s), 1.0))
    if state == "right":
        said = [words.say("clock right, to within {span}", span=span)]
    elif state == "ahead":
        said = [words.say("clock {span} ahead", span=span)]
    else:
        said = [words.say("clock {span} behind, or all that it sends comes so late", span=span)]
    if is_zone(offset_s):
        said.append(words.say("it may send local time as UTC"))
    if not order["is_sure"]:
        said.append(words.say("not yet sure"))
    if order["moved_at"] is not None:
        said.append(_say_move(order["moved_at"], order["moved_by_s"], shown))
    return said


def _say_move(at: datetime, by_s: float, shown: Shown) -> str:
    words, span = shown.words, shown.span(abs(by_s))
    day = f"{shown.day(at.astimezone(UTC))} {at.astimezone(UTC).year}"
    went = words.say("it went {span} forward on {day}", span=span, day=day)
    if by_s < 0:
        went = words.say("it went {span} back on {day}", span=span, day=day)
    is_season = abs(abs(by_s) - HOUR_S) <= AGREE_S
    return f"{went}, {words.say('as for daylight saving')}" if is_season else went


def say_owner(
    owner_ref: str, decisions: Sequence[DecisionView], steps: Sequence[StepView], standing: Standing, shown: Shown
) -> str:
    """What was decided about one person: above all why they were not contacted; `decisions` in any order."""
    words = shown.words
    if not decisions and not steps:
        said = [
            words.say(
                "Nothing was ever decided about {owner}: no alarm of their products reached the gates.", owner=owner_ref
            )
        ]
    else:
        said = [_contacted(owner_ref, sum(step.state == "sent" for step in steps), words)]
        refused = sorted(
            (each for each in decisions if each.outcome == Outcome.REFUSE), key=lambda each: each.decided_at
        )
        if refused:
            why = "; ".join(dict.fromkeys(_refused(each, shown) for each in refused))
            said.append(words.say("What was left undone: {why}.", why=why))
        said += _stands(standing, shown)
    return " ".join(said)


def _contacted(owner_ref: str, times: int, words: Words) -> str:
    if not times:
        return words.say("{owner} was never contacted.", owner=owner_ref)
    if times == 1:
        return words.say("{owner} was contacted once.", owner=owner_ref)
    return words.say("{owner} was contacted {times} times.", owner=owner_ref, times=words.number(times))


def _refused(decision: DecisionView, shown: Shown) -> str:
    words = shown.words
    why = words.say("no reason was kept")
    if decision.reason is not None:
        why = because(decision, words.say)
    if decision.until_at is None:
        return why
    return f"{why}; {words.say('would be allowed again from {at}', at=_instant(decision.until_at, shown))}"


def _stands(standing: Standing, shown: Shown) -> list[str]:
    words = shown.words
    held = [
        f"{words.word(each.kind)} ({shown.actor(each.actor)}: {each.why})"
        + ("" if each.until_at is None else f" {words.say('until')} {_instant(each.until_at, shown)}")
        for each in standing.holds
    ]
    tickets = [f"{ticket.external_id} ({ticket.endpoint})" for ticket in standing.tickets]
    said: list[str] = []
    if held:
        said.append(words.say("To be left alone: {held}.", held="; ".join(held)))
    if tickets:
        said.append(words.say("People are working on {tickets}.", tickets=", ".join(tickets)))
    return said


def _instant(at: datetime, shown: Shown) -> str:
    moment = at.astimezone(UTC)
    return f"{shown.day(moment)} {moment:%Y %H:%M} UTC"


def say_check(says: str, words: Words) -> str:
    """How a part of the gateway is; what is said in no closed words stays as it is."""
    if found := FULL.fullmatch(says):
        return words.say("full for {seconds} s; the doors hold back", seconds=found["seconds"])
    if found := SILENT.fullmatch(says):
        said = words.say("has not answered for {seconds} s", seconds=found["seconds"])
        return f"{said} ({words.say(found['why'])})" if found["why"] else said
    return words.say(says)


def say_finding(finding: Finding, words: Words) -> Finding:
    """What the doctor found; parts of the gateway say how they are in words of their own."""
    says = words.found(finding.says)
    return replace(finding, says=say_check(says, words) if says == finding.says else says, fix=words.found(finding.fix))
