"""Playbooks: what may be done about each problem, how often each action has helped, and where chance may choose."""

from dataclasses import dataclass

from fastapi import Request, Response

from crm_sync.playbooks.shown import RateView, list_rates
from gateway.api.router import Router
from gateway.console.parts import Desk
from gateway.console.products import Product
from gateway.console.show import Shown


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One action of a playbook, with what was learnt of it; one that no playbook has any more has no place."""

    rate: RateView
    product: str
    problem: str
    named: str
    place: int | None

    @property
    def trials(self) -> int:
        """How often it is known whether it helped."""
        return self.rate.worked + self.rate.failed


def playbooks_router(desk: Desk) -> Router:
    """``GET /playbooks``."""
    router = Router()

    @router.get("/playbooks")
    async def playbooks(request: Request, model: str = "") -> Response:
        person = await desk.enter(request)
        shown = desk.renderer.shown(request)
        products = desk.products(request)
        async with desk.pool.connection() as conn:
            rates = await list_rates(conn, person.tenant_id, desk.parts.profiles)
        rows = [_row(each, products.of(each.model), shown) for each in rates if not model or each.model == model]
        last = len(rates)
        rows.sort(key=lambda row: (row.rate.model, row.rate.problem, last if row.place is None else row.place))
        return await desk.page(
            request,
            person,
            "playbooks.html",
            rows=rows,
            models=sorted({each.model for each in rates}),
            exploring=sum(row.rate.explores for row in rows),
        )

    return router


def _row(rate: RateView, product: Product, shown: Shown) -> ActionRow:
    playbook = next((each for each in product.playbooks if each.problem == rate.problem), None)
    keys = [] if playbook is None else [action.key for action in playbook.actions]
    kind, _, what = rate.action.partition(":")
    named = shown.words.word(kind) + (f": {shown.words.word(what)}" if what else "")
    problem = rate.problem if playbook is None else playbook.title
    place = keys.index(rate.action) + 1 if rate.action in keys else None
    return ActionRow(rate, product.title(rate.model), problem, named, place)
