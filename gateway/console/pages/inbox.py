"""The inbox: cases by urgency, and a person's yes or no to those that wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from fastapi import Request, Response

from crm_sync.model import CaseState
from devices.profiles.model import Severity
from gateway.api.router import Router
from gateway.console.attention_queries import count_contacts, list_workers
from gateway.console.pages.case import seen_of
from gateway.console.parts import Connection, Desk
from gateway.console.products import Products
from gateway.console.queries import LIVE, InboxFilter, InboxRow, count_inbox, list_inbox, list_teams
from gateway.console.words import Words
from gateway.people.model import Role
from gateway.store.tallies import read_tallies

SIZE: Final = 50
MOST_PAGES: Final = 10_000

TABS: Final = {
    "live": ("All that is open", LIVE),
    "proposed": ("To decide", (CaseState.PROPOSED,)),
    "open": ("With a team", (CaseState.APPROVED, CaseState.OPEN)),
    "waiting": ("Waiting", (CaseState.WAITING,)),
    "closed": ("Closed", (CaseState.RESOLVED, CaseState.RETRACTED, CaseState.EXPIRED)),
}


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the lists of what waits for somebody."""

    code: str
    name: str
    address: str
    count: int


async def counted_tabs(conn: Connection, tenant_id: str, words: Words) -> list[Tab]:
    """The lists of the inbox, with how much is in each."""
    by_state = (await read_tallies(conn, tenant_id)).cases
    tabs = [
        Tab(code, words.say(name), f"/?show={code}", sum(by_state.get(str(each), 0) for each in states))
        for code, (name, states) in TABS.items()
    ]
    contacts = Tab("contacts", words.say("Contacts to allow"), "/contacts", await count_contacts(conn, tenant_id))
    return [*tabs[:2], contacts, *tabs[2:]]


def inbox_router(desk: Desk) -> Router:
    """``GET /``."""
    router = Router()

    @router.get("/")
    async def inbox(request: Request, show: str = "live", page: int = 1) -> Response:
        person = await desk.enter(request)
        words = desk.renderer.words_of(request)
        products = desk.products(request)
        asked = request.query_params
        tab = show if show in TABS else "live"
        which = InboxFilter(
            states=TABS[tab][1],
            severity=asked.get("severity") or None,
            team=asked.get("team") or None,
            assignee=person.name if asked.get("mine") else None,
            words=(asked.get("q") or "").strip()[:100] or None,
        )
        await desk.parts.people.note(person, "case.list", which.words or "")
        number = min(max(page, 1), MOST_PAGES)
        async with desk.pool.connection() as conn:
            rows = await list_inbox(conn, person.tenant_id, which, limit=SIZE, offset=(number - 1) * SIZE)
            total: int | None = None
            if which.is_narrow:
                is_all = number == 1 and len(rows) < SIZE
                total = len(rows) if is_all else await count_inbox(conn, person.tenant_id, which)
            teams = await list_teams(conn, person.tenant_id)
            tabs = await counted_tabs(conn, person.tenant_id, words)
            people = await list_workers(conn, person.tenant_id) if person.role.may(Role.AGENT) else []
        counts = {each.code: each.count for each in tabs}
        return await desk.page(
            request,
            person,
            "inbox.html",
            rows=[_shown(row, products, desk.now_s()) for row in rows],
            total=counts[tab] if total is None else total,
            page=number,
            size=SIZE,
            tab=tab,
            tabs=tabs,
            people=people,
            severities=[str(each) for each in reversed(Severity)],
            teams=teams,
            crm_words=partial(records_in_words, words),
        )

    return router


@dataclass(frozen=True, slots=True)
class Shown:
    """A case in the reader's language: `row` as it is stored, what it is called, why, and what is to be done."""

    row: InboxRow
    title: str
    product: str
    says: str | None
    advice: str
    seen: str


def _shown(row: InboxRow, products: Products, now_s: float) -> Shown:
    product = products.of(row.model)
    advice = "" if row.members is not None else product.advice(row.problem, row.kind or "").what_to_say
    lasts_s = now_s - row.began_at.timestamp() if row.goes_on and row.began_at else None
    says = row.says and product.said(row.metric, row.says, lasts_s)
    seen = seen_of(CaseState(row.state), row.assignee)
    return Shown(row, product.case(row.problem, row.title), product.title(row.model), says, advice, seen)


def records_in_words(words: Words, records: Sequence[Sequence[str]]) -> str:
    """What CRMs know of a case."""
    if not records:
        return words.say("no CRM is to hear of it")
    states = {state for _, state in records}
    if "announced" in states:
        return words.say("in {crm}", crm=", ".join(name for name, state in records if state == "announced"))
    return words.word(f"record {min(states)}")
