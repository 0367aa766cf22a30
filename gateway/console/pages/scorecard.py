"""The scorecard of a demo: what its simulator knows beside what the gateway found."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from fastapi import HTTPException, Request, Response

from gateway.api.router import Router
from gateway.console.chart import Drawn, draw_bars
from gateway.console.parts import Desk
from gateway.console.show import Shown
from gateway.people.door import at_home


def scorecard_router(desk: Desk) -> Router:
    """``GET /scorecard``, where a demo has written one."""
    router = Router()

    @router.get("/scorecard")
    async def scorecard(request: Request) -> Response:
        person = await desk.enter(request)
        at_home(request, person)
        shown = desk.renderer.shown(request)
        if not desk.parts.settings.scorecard:
            raise HTTPException(HTTPStatus.NOT_FOUND, "scorecard")
        card = await asyncio.to_thread(_read, Path(desk.parts.settings.scorecard))
        kinds = cast("Mapping[str, Mapping[str, Any]]", card.get("faults", {}).get("by_kind", {}))
        chart = draw_found(kinds, shown)
        return await desk.page(request, person, "scorecard.html", card=card, kinds=kinds, chart=chart)

    return router


def draw_found(kinds: Mapping[str, Mapping[str, Any]], shown: Shown) -> Drawn | None:
    """How many faults of each kind were found; none of a kind that nobody looks for is no result, and not drawn."""
    looked_for = {kind: row for kind, row in kinds.items() if row["watched"] or row["detected"]}
    found = {shown.words.word(kind): float(row["detected"]) for kind, row in looked_for.items()}
    return draw_bars("kinds", shown.words.say("Faults that were found"), found, shown) if found else None


def _read(path: Path) -> Mapping[str, Any]:
    """An empty one while the demo still plays."""
    try:
        return cast("Mapping[str, Any]", json.loads(path.expanduser().read_text("utf-8")))
    except (OSError, ValueError):
        return {}
