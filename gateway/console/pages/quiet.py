"""What people do to alarms: see them, put them off, silence them; and maintenance windows."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, cast

from fastapi import HTTPException, Request, Response

from crm_sync.cases.quiet_queries import Quiet, QuietKind, end_quiet, list_quiet, put_quiet
from devices.clock import to_datetime
from devices.registry.queries import count_devices
from gateway.api.queries import acknowledge_alarm
from gateway.api.router import Router
from gateway.console.attention_queries import alarm_exists
from gateway.console.forms import MOST_NAME, moment_of, needed_text, seconds_of, text_of, unusable
from gateway.console.parts import Connection, Desk, done, safe_path
from gateway.console.show import DAY_S, HOUR_S
from gateway.people.audit import record
from gateway.people.model import Actor, Role

SIZE: Final = 50
SNOOZES: Final = {"1h": HOUR_S, "4h": 4 * HOUR_S, "1d": DAY_S, "7d": 7 * DAY_S}
KINDS: Final = ("maintenance", "silence")
ABOUT: Final = ("device_id", "model", "region", "watch", "problem")


def quiet_router(desk: Desk) -> Router:
    """``/silences``, and ``/alarms/{alarm_id}/…``."""
    router = Router()

    @router.get("/silences")
    async def silences(request: Request, show: str = "live", cursor: int | None = None) -> Response:
        person = await desk.enter(request)
        now_s = desk.now_s()
        async with desk.pool.connection() as conn:
            found = await list_quiet(
                conn,
                person.tenant_id,
                live_at_s=None if show == "all" else now_s,
                before=cursor,
                limit=SIZE + 1,
            )
            models = await count_devices(conn, person.tenant_id)
        profiles = desk.parts.profiles.values()
        return await desk.page(
            request,
            person,
            "silences.html",
            rows=found[:SIZE],
            next=found[SIZE - 1].quiet_id if len(found) > SIZE else None,
            now=to_datetime(now_s),
            kinds=KINDS,
            models=sorted(name for name in models if name is not None),
            watches=_sorted([watch.name for profile in profiles for watch in profile.watches]),
            problems=_sorted([each.problem for profile in profiles for each in profile.playbooks]),
        )

    _add_silences(router, desk)
    _add_alarms(router, desk)
    return router


def _sorted(names: Sequence[str]) -> list[str]:
    return sorted(set(names))


def _add_silences(router: Router, desk: Desk) -> None:
    @router.post("/silences")
    async def begin(request: Request) -> Response:
        person, fields = await desk.write(request, Role.OPERATOR)
        now_s = desk.now_s()
        what = {name: text_of(fields, name, MOST_NAME) or None for name in ABOUT}
        kind, why = fields.get("kind", ""), needed_text(fields, "why")
        starts_at = moment_of(fields, "starts_at") or to_datetime(now_s)
        ends_at = moment_of(fields, "ends_at")
        if kind not in KINDS or not any(what.values()):
            raise unusable("kind" if kind not in KINDS else ", ".join(ABOUT))
        if ends_at is None or ends_at <= starts_at or ends_at.timestamp() <= now_s:
            raise unusable("ends_at")
        quiet = Quiet(cast("QuietKind", kind), starts_at, ends_at, f"person:{person.signs_as()}", why, **what)
        async with desk.pool.connection() as conn, conn.transaction():
            await put_quiet(conn, person.tenant_id, quiet, now_s)
            inputs = {**what, "until": ends_at.isoformat(), "why": why}
            await record(conn, person, f"{kind}.begin", what["device_id"] or what["model"] or "", inputs)
        return done(request, safe_path(fields.get("back", "/silences")))

    @router.post("/silences/{quiet_id}/end")
    async def end(request: Request, quiet_id: int) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        async with desk.pool.connection() as conn, conn.transaction():
            if not await end_quiet(conn, person.tenant_id, quiet_id, f"person:{person.signs_as()}", desk.now_s()):
                raise HTTPException(HTTPStatus.CONFLICT, "it is over")
            await record(conn, person, "silence.end", str(quiet_id), {})
        return done(request, "/silences")


def _add_alarms(router: Router, desk: Desk) -> None:
    @router.post("/alarms/{alarm_id}/acknowledge")
    async def acknowledge(request: Request, alarm_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        undo = "undo" in fields
        async with desk.pool.connection() as conn, conn.transaction():
            await _must_have(conn, person, alarm_id)
            at_s = None if undo else desk.now_s()
            await acknowledge_alarm(conn, person.tenant_id, alarm_id, person.signs_as(), at_s)
            await record(conn, person, "alarm.acknowledge", alarm_id, {"undo": undo})
        return done(request, safe_path(fields.get("back", "/")))

    @router.post("/alarms/{alarm_id}/snooze")
    async def snooze(request: Request, alarm_id: str) -> Response:
        person, fields = await desk.write(request, Role.AGENT)
        now_s = desk.now_s()
        until = to_datetime(now_s + seconds_of(fields, "for", SNOOZES))
        why = text_of(fields, "why")
        quiet = Quiet("snooze", to_datetime(now_s), until, f"person:{person.signs_as()}", why, alarm_id=alarm_id)
        async with desk.pool.connection() as conn, conn.transaction():
            await _must_have(conn, person, alarm_id)
            await put_quiet(conn, person.tenant_id, quiet, now_s)
            await record(conn, person, "alarm.snooze", alarm_id, {"until": until.isoformat(), "why": why})
        return done(request, safe_path(fields.get("back", "/")))


async def _must_have(conn: Connection, person: Actor, alarm_id: str) -> None:
    if not await alarm_exists(conn, person.tenant_id, alarm_id):
        raise HTTPException(HTTPStatus.NOT_FOUND, "alarm")
