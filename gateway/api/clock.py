"""How far the world has come, for whoever plays it: only the scaled clock can be held."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import HTTPException, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator

from devices.clock import Clock, ScaledClock, to_datetime
from gateway.api.router import Router
from gateway.people.door import Operator, Viewer, at_home, people_of
from gateway.settings import parse_instant_s


def _instant_s(value: object) -> object:
    return parse_instant_s(value) if isinstance(value, str) else value


class Hold(BaseModel):
    """Up to where the clock may run, in RFC 3339 or epoch seconds; null lets it run freely."""

    hold_until: Annotated[
        float | None, BeforeValidator(_instant_s, json_schema_input_type=float | AwareDatetime | None)
    ]


class ClockView(BaseModel):
    """The gateway's clock."""

    kind: str
    now: str


def view_clock(clock: Clock) -> ClockView:
    """The clock's kind and its present moment in RFC 3339."""
    kind = "scaled" if isinstance(clock, ScaledClock) else "system"
    return ClockView(kind=kind, now=to_datetime(clock.now_s()).isoformat())


def clock_router(clock: Clock, on_set: Callable[[], Awaitable[None]]) -> Router:
    """``GET`` and ``PUT /clock``, which is answered when `on_set` has told everybody who follows the clock."""
    router = Router(tags=["clock"])

    @router.get("/clock")
    async def show_clock(_who: Viewer) -> ClockView:
        """The present moment on the gateway's clock."""
        return view_clock(clock)

    @router.put("/clock")
    async def hold_clock(hold: Hold, who: Operator, request: Request) -> ClockView:
        """Let the scaled clock run on, up to `hold_until`."""
        at_home(request, who)
        if not isinstance(clock, ScaledClock):
            raise HTTPException(HTTPStatus.CONFLICT, "only the scaled clock can be held; this is the system clock")
        # Once in ten minutes: whoever plays a world holds its clock many times a second.
        await people_of(request).note(who, "clock.hold", "clock", {"until_s": hold.hold_until})
        clock.hold_at(hold.hold_until)
        await on_set()
        return view_clock(clock)

    return router
