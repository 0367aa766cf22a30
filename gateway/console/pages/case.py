"""A case: what is wrong with whose product, why we think so, what was done, and what a person does about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final, cast

from fastapi import HTTPException, Request, Response
from markupsafe import Markup

from crm_sync.cases import by_hand, proposals
from crm_sync.cases.by_hand import Hand
from crm_sync.cases.queries import lock_case
from crm_sync.journey.episode import read_episode
from crm_sync.model import CaseState
from crm_sync.playbooks.shown import ActionView
from crm_sync.queries import CaseView, get_case
from crm_sync.trust.verdicts import Truth
from devices.clock import to_datetime
from devices.profiles.model import Playbook
from gateway.api.router import Router
from gateway.console.attention_queries import list_workers, snoozes_of
from gateway.console.case_charts import Beside, Known, draw_case, look_up
from gateway.console.command_queries import CommandRow, commands_of
from gateway.console.forms import needed_text, text_of, unusable
from gateway.console.gates import gated, newest, say_inputs
from gateway.console.pages.commands import offered_by
from gateway.console.parts import Connection, Desk, done
from gateway.console.products import Product
from gateway.console.queries import case_more, list_records
from gateway.console.show import HOUR_S, Shown
from gateway.console.units import units_of
from gateway.people.model import Actor, Role

MOST_DECISIONS: Final = 40
MOST_NAME: Final = 100
MOST_OPTIONS: Final = 12


@dataclass(frozen=True, slots=True)
class StoryLine:
    """Something that happened; its kind is how it is marked."""

    at: datetime
    kind: str
    says: str | Markup


@dataclass(frozen=True, slots=True)
class AlarmCard:
    """An alarm of a case in words, and what people did to it."""

    alarm_id: str
    device_id: str
    watch: str
    title: str
    kind: str
    metric: str | None
    severity: str
    state: str
    text: str
    expected: str
    observed: str
    started_at_s: float
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    snoozed_until: datetime | None


@dataclass(frozen=True, slots=True)
class Option:
    """An action of the playbook, and what became of it."""

    verdict: str
    kind: str
    what: str
    details: str
    why: str
    result: str | None


def case_router(desk: Desk) -> Router:
    """``GET /cases/{case_id}``, and what a person does about a case."""
    router = Router()

    @router.get("/cases/{case_id}")
    async def case(request: Request, case_id: str) -> Response:
        person = await desk.enter(request)
        shown = desk.renderer.shown(request)
        async with desk.pool.connection() as conn:
            view = await get_case(conn, person.tenant_id, case_id)
            if view is None:
                raise HTTPException(HTTPStatus.NOT_FOUND, "case")
            more = await case_more(conn, person.tenant_id, case_id)
            records = await list_records(conn, person.tenant_id, case_id)
            known = await look_up(conn, view, person.tenant_id)
            product = desk.products(request).of(more.model)
            units = units_of(desk.parts.profiles.get(more.model or ""))
            workers = await list_workers(conn, person.tenant_id) if person.role.may(Role.AGENT) else []
            cards = await _cards(conn, view, known, product, shown.now_s)
            commands = await _commands(conn, view, is_single=more.members is None)
            stages = await read_episode(conn, person.tenant_id, case_id)
            charts = await draw_case(conn, view, known, Beside(units, product, commands), shown)
        await desk.parts.people.note(person, "case.read", case_id, {"owner": view.case.owner_ref})
        return await desk.page(
            request,
            person,
            "case.html",
            case=view.case,
            title=product.case(view.case.problem, view.case.title),
            product=product.title(more.model),
            advice=_advice(view, product) if more.members is None else None,
            assignee=view.case.assignee,
            seen=seen_of(view.case.state, view.case.assignee),
            is_live=view.case.state.is_live,
            model=more.model,
            members=more.members,
            incident_id=more.incident_id,
            taken_up_at=more.taken_up_at,
            alarms=cards,
            people=workers,
            commands=commands,
            offered=offered_by(product.told),
            records=records,
            stages=stages,
            links={each.name: each.record_link for each in desk.parts.crm.endpoints},
            charts=charts,
            story=story_of(view, known, shown, product),
            customers_said=[each for each in view.words if each.customer_said],
            decisions=[gated(each, shown) for each in newest(view.decisions, MOST_DECISIONS)],
            steps=view.steps,
            options=[_option(each, shown) for each in view.actions[-MOST_OPTIONS:]],
        )

    _add_decisions(router, desk)
    return router


def _add_decisions(router: Router, desk: Desk) -> None:
    @router.post("/cases/{case_id}/approve")
    async def approve(request: Request, case_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        async with desk.decided(person, "case.approve", case_id) as conn:
            await _as_seen(conn, person, case_id, fields)
            await proposals.approve(conn, person.tenant_id, case_id, person.signs_as(), desk.now_s())
        return done(request, f"/cases/{case_id}")

    @router.post("/cases/{case_id}/decline")
    async def decline(request: Request, case_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        why = needed_text(fields, "why")
        async with desk.decided(person, "case.reject", case_id, why=why) as conn:
            await _as_seen(conn, person, case_id, fields)
            await by_hand.reject(conn, _hand(desk, person, case_id), why)
        return done(request, f"/cases/{case_id}")

    @router.post("/cases/{case_id}/assign")
    async def assign(request: Request, case_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        to = text_of(fields, "to", MOST_NAME) or None
        async with desk.decided(person, "case.assign", case_id, assignee=to) as conn:
            await _as_seen(conn, person, case_id, fields, is_for_whom=True)
            if to not in {None, person.name, *await list_workers(conn, person.tenant_id)}:
                raise unusable("to")
            await by_hand.assign(conn, _hand(desk, person, case_id), team=None, assignee=to)
        return done(request, f"/cases/{case_id}")

    @router.post("/cases/{case_id}/note")
    async def note(request: Request, case_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        text = fields.get("text", "").strip()
        if not text:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "text")
        async with desk.decided(person, "case.note", case_id) as conn:
            await by_hand.note(conn, _hand(desk, person, case_id), text)
        return done(request, f"/cases/{case_id}")

    @router.post("/cases/{case_id}/resolve")
    async def resolve(request: Request, case_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        outcome, why = fields.get("outcome"), fields.get("why", "").strip()
        customer = fields.get("customer_said", "").strip()
        if outcome not in {"true", "false", "unclear"}:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "outcome")
        async with desk.decided(person, "case.resolve", case_id, outcome=outcome, why=why) as conn:
            await _as_seen(conn, person, case_id, fields)
            await by_hand.resolve(conn, _hand(desk, person, case_id), cast("Truth", outcome), why, customer)
        return done(request, f"/cases/{case_id}")

    @router.post("/cases/{case_id}/retract")
    async def retract(request: Request, case_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        why = needed_text(fields, "why")
        async with desk.decided(person, "case.retract", case_id, why=why) as conn:
            await _as_seen(conn, person, case_id, fields)
            await by_hand.retract(conn, _hand(desk, person, case_id), why)
        return done(request, f"/cases/{case_id}")


def seen_of(state: CaseState, assignee: str | None) -> str:
    """What whoever decides has seen of a case: how far it is, and whose."""
    stage = "proposed" if state == CaseState.PROPOSED else "live" if state.is_live else "ended"
    return f"{stage}/{assignee or ''}"


async def _as_seen(
    conn: Connection, person: Actor, case_id: str, fields: Mapping[str, str], *, is_for_whom: bool = False
) -> None:
    """That a case still stands as the page showed it that the form was on. Raises HTTPException 409."""
    case, seen = await lock_case(conn, case_id), fields.get("seen")
    if case is None or case.tenant_id != person.tenant_id or seen is None:
        return  # whether there is such a case is said by what is done next
    before, now = seen.partition("/"), seen_of(case.state, case.assignee).partition("/")
    if before[0] != now[0] or (is_for_whom and before[2] != now[2]):
        raise HTTPException(HTTPStatus.CONFLICT, "case")


def _hand(desk: Desk, person: Actor, case_id: str) -> Hand:
    return Hand(person.tenant_id, case_id, person.signs_as(), desk.now_s(), desk.wordings.of())


def story_of(view: CaseView, known: Sequence[Known], shown: Shown, product: Product) -> list[StoryLine]:
    """What happened, in the order in which the gateway knew of it."""
    words = shown.words
    lines = [
        StoryLine(
            told.known_at,
            "alarm" if told.kind == "raised" else "move",
            Markup("{}: {}. {}").format(
                product.watch(each.alarm.watch),
                words.word(f"alarm {told.kind}"),
                shown.moments(product.said(each.alarm.metric, told.text or each.alarm.text), each.alarm.started_at_s),
            ),
        )
        for each in known
        for told in each.told
    ]
    for move in view.transitions:
        is_move = move.from_state != move.to_state
        state = words.word(f"case {move.to_state}") if is_move else words.say("seen")
        note = f" — {move.note}" if move.note and not move.note.startswith("alm_") else ""
        says = f"{state}: {words.word(move.reason)} ({shown.actor(move.actor)}){note}"
        lines.append(StoryLine(move.at, "move" if is_move else "seen", says))
    for step in view.steps:
        why = "" if step.reason is None else f": {words.word(step.reason)}"
        says = f"{words.word(step.kind)} · {step.channel} · {words.word(f'step {step.state}')}{why}"
        lines.append(StoryLine(step.settled_at or step.due_at, "move" if step.state == "sent" else "hold", says))
    return sorted(lines, key=lambda line: line.at)


async def _cards(
    conn: Connection, view: CaseView, known: Sequence[Known], product: Product, now_s: float
) -> list[AlarmCard]:
    snoozes = await snoozes_of(conn, view.case.tenant_id, [each.alarm.alarm_id for each in known], now_s)
    return [_card(each, view.case.device_id, snoozes, product, now_s) for each in known]


def _card(known: Known, device_id: str, snoozes: Mapping[str, datetime], product: Product, now_s: float) -> AlarmCard:
    alarm = known.alarm
    lasts_s = max(now_s - alarm.started_at_s, 0.0) if alarm.state == "active" else None
    return AlarmCard(
        alarm_id=alarm.alarm_id,
        device_id=device_id,
        watch=alarm.watch,
        title=product.watch(alarm.watch),
        kind=alarm.kind,
        metric=None if alarm.metric is None else product.metric(alarm.metric),
        severity=alarm.severity,
        state=alarm.state,
        text=product.said(alarm.metric, alarm.text, lasts_s),
        expected=product.wording.phrase(alarm.expected),
        observed=product.said(None, alarm.observed, lasts_s if alarm.kind == "silence" else None),
        started_at_s=alarm.started_at_s,
        acknowledged_at=known.acknowledged_at,
        acknowledged_by=known.acknowledged_by,
        snoozed_until=snoozes.get(alarm.alarm_id),
    )


async def _commands(conn: Connection, view: CaseView, *, is_single: bool) -> list[CommandRow]:
    """What the product was told from the case's opening to its end; a case of many products has none of its own."""
    if not is_single:
        return []
    case = view.case
    until = None if case.state.is_live else to_datetime(case.updated_at_s)
    since = to_datetime(min([case.opened_at_s, *(each.at.timestamp() for each in view.transitions)]))
    return await commands_of(conn, case.tenant_id, case.device_id, since, until)


def _advice(view: CaseView, product: Product) -> Playbook:
    return product.advice(view.case.problem, view.alarms[0].kind if view.alarms else "")


def _option(action: ActionView, shown: Shown) -> Option:
    """One action that was considered; the last round stands last."""
    words = shown.words
    kind, _, what = action.action.partition(":")
    sla = None if action.sla_h is None else words.say("within {span}", span=shown.span(action.sla_h * HOUR_S))
    details = [part for part in (action.team, action.channel, sla) if part]
    looked = say_inputs(action.inputs, shown)
    why = words.word(action.reason) + (f" ({looked})" if looked else "")
    named = words.word(kind) + (f": {words.word(what)}" if what and what != action.team else "")
    return Option(action.verdict, words.word(kind), named, " · ".join(details), why, action.result)
