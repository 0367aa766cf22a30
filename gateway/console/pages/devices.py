"""Devices: a list to search, and all there is to know of one."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import HTTPException, Request, Response

from crm_sync.queries import CaseFilter, list_cases
from devices.registry.passwords import list_credentials
from devices.registry.queries import count_devices
from gateway.api.device_queries import Held, find_held, list_readings, summarise_device
from gateway.api.device_queries import Stretch as Between
from gateway.api.queries import list_alarms, list_devices
from gateway.api.router import Router
from gateway.console.attention_queries import fates_of, snoozes_of
from gateway.console.chart import Drawn, Floats, Series, draw_series
from gateway.console.command_queries import commands_of
from gateway.console.fleet_queries import events_of, find_devices, firmware_of, has_device
from gateway.console.pages.captures import captured
from gateway.console.pages.commands import offered_by
from gateway.console.parts import Connection, Desk
from gateway.console.products import Product
from gateway.console.readable import readable
from gateway.console.said import say_order
from gateway.console.series import Stretch, metrics_of, read_metrics
from gateway.console.show import DAY_S, Shown
from gateway.console.units import units_of
from gateway.order.queries import order_of
from gateway.people.door import session_of
from gateway.people.model import Actor, Role
from gateway.store.quarantine import Wanted, list_entries

SIZE: Final = 50
MOST_CHARTS: Final = 6
RANGES: Final[Mapping[str, float]] = {"1": DAY_S, "14": 14 * DAY_S, "90": 90 * DAY_S}
USUAL_RANGE: Final = "14"
NEWEST: Final = 12
MOST_CREDENTIALS: Final = 20
MOST_COLUMNS: Final = 30


def devices_router(desk: Desk) -> Router:
    """``GET /devices``, ``/devices/{device_id}`` and ``/devices/{device_id}/tail``."""
    router = Router()

    @router.get("/devices")
    async def devices(request: Request, q: str = "", model: str = "", cursor: str = "") -> Response:
        person = await desk.enter(request)
        await desk.parts.people.note(person, "device.list", "")
        async with desk.pool.connection() as conn:
            found = await find_devices(
                conn,
                person.tenant_id,
                words=q.strip()[:100] or None,
                model=model or None,
                after=cursor,
                limit=SIZE + 1,
            )
            models = await count_devices(conn, person.tenant_id)
        return await desk.page(
            request,
            person,
            "devices.html",
            rows=found[:SIZE],
            next=found[SIZE - 1].device_id if len(found) > SIZE else None,
            models=sorted(name for name in models if name is not None),
            total=sum(models.values()),
        )

    @router.get("/devices/{device_id}")
    async def device(request: Request, device_id: str) -> Response:
        return await show_device(desk, request, await desk.enter(request), device_id)

    _add_tail(router, desk)
    return router


async def show_device(
    desk: Desk, request: Request, person: Actor, device_id: str, *, told: Mapping[str, str] | None = None
) -> Response:
    """All there is to know of a device; `told` is a password that was just made, shown this once."""
    shown = desk.renderer.shown(request)
    days = request.query_params.get("days", "")
    async with desk.pool.connection() as conn:
        wanted = {"tenant_id": person.tenant_id, "device_id": device_id, "after": None, "limit": 1}
        rows = await list_devices(conn, wanted)
        if not rows:
            raise HTTPException(HTTPStatus.NOT_FOUND, "device")
        context = await _all_of(conn, person.tenant_id, device_id, shown.now_s)
        context |= await captured(desk, conn, person, device_id)
        last = context["summary"].last_ts
        last_s = shown.now_s if last is None else last.timestamp()
        stretch = Stretch(device_id, last_s - RANGES.get(days, RANGES[USUAL_RANGE]), last_s + 1)
        units = units_of(desk.parts.profiles.get(rows[0]["model"] or ""))
        held = [each.table for each in context["held"]]
        metrics = metrics_of(held, rows[0]["model"])
        found = await read_metrics(conn, held, metrics, stretch)
    product = desk.products(request).of(rows[0]["model"])
    charts = _charts(metrics, found, product, shown)
    order = context["order"]
    context["refused"] = [{**entry, "says": shown.words.refused(str(entry["detail"]))} for entry in context["refused"]]
    context["alarms"] = [
        {
            **alarm,
            "title": product.watch(alarm["watch"]),
            "says": product.said(
                alarm["metric"],
                str(alarm["explanation"].get("text") or ""),
                shown.now_s - alarm["started_at"].timestamp() if alarm["state"] == "active" else None,
            ),
        }
        for alarm in context["alarms"]
    ]
    battery = _battery(metrics, context["readings"], found)
    await desk.parts.people.note(person, "device.read", device_id, {"owner": rows[0]["owner_ref"]})
    if context["captured"]:
        await desk.parts.people.note(person, "device.raw", device_id)
    return await desk.page(
        request,
        person,
        "device.html",
        device=rows[0],
        connected=desk.parts.is_connected(device_id),
        charts=charts,
        battery=None if battery is None else f"{shown.number(battery[1])} {units.get(battery[0], '')}".strip(),
        days=days if days in RANGES else USUAL_RANGE,
        ranges=list(RANGES),
        offered=offered_by(product.told),
        told=told,
        product=product.title(rows[0]["model"]),
        columns=_columns(metrics, context["readings"], product, units),
        said=shown.value,
        called=product.event,
        gaps_and_clock=None if order is None else say_order(order, shown),
        **({} if told is None else {"at": f"/devices/{device_id}"}),
        **context,
    )


def _battery(
    metrics: Sequence[str], newest: Sequence[Mapping[str, Any]], drawn: Mapping[str, tuple[Floats, Floats]]
) -> tuple[str, float] | None:
    """The metric that tells of the device's battery, and what it said last; None where none does."""
    for metric in metrics:
        if "battery" in metric:
            for reading in newest:
                if metric in reading["metrics"]:
                    return metric, float(reading["metrics"][metric])
            if metric in drawn and len(drawn[metric][1]):
                return metric, float(drawn[metric][1][-1])
    return None


def _add_tail(router: Router, desk: Desk) -> None:
    @router.get("/devices/{device_id}/tail")
    async def tail(request: Request, device_id: str) -> Response:
        """What becomes of each of the device's packets, from now on; operators see the packets themselves too."""
        person = await desk.enter(request)
        session = session_of(request)
        async with desk.pool.connection() as conn:
            if not await has_device(conn, person.tenant_id, device_id):
                raise HTTPException(HTTPStatus.NOT_FOUND, "device")
        await desk.parts.people.note(person, "device.tail", device_id)
        sees_bytes = person.role.may(Role.OPERATOR)

        async def events() -> AsyncGenerator[bytes]:
            yield b"retry: 2000\n\n"
            async for fate, payload in desk.parts.pipeline.taps.watch_raw(device_id):
                if session is None or await desk.parts.people.who(session) is None:
                    return
                told = {**asdict(fate), "raw": readable(payload) if sees_bytes else None}
                yield b"event: packet\ndata: " + msgspec.json.encode(told) + b"\n\n"

        return desk.stream(person, events())


async def _all_of(conn: Connection, tenant_id: str, device_id: str, now_s: float) -> dict[str, Any]:
    asked: dict[str, Any] = dict.fromkeys(("alarm_id", "state", "since", "before_us", "before_id"))
    held = await find_held(conn, device_id)
    summary = await summarise_device(conn, held, tenant_id, device_id)
    alarms = await list_alarms(conn, {**asked, "tenant_id": tenant_id, "device_id": device_id, "limit": NEWEST})
    alarm_ids = [alarm["alarm_id"] for alarm in alarms]
    snoozes = await snoozes_of(conn, tenant_id, alarm_ids, now_s)
    fates = await fates_of(conn, tenant_id, alarm_ids)
    return {
        "held": held,
        "summary": summary,
        "order": (await order_of(conn, tenant_id, [device_id])).get(device_id),
        "firmwares": await firmware_of(conn, tenant_id, device_id),
        "credentials": (await list_credentials(conn, tenant_id, device_id))[: -MOST_CREDENTIALS - 1 : -1],
        "events": await events_of(conn, tenant_id, device_id),
        "alarms": [
            {**alarm, "snoozed_until": snoozes.get(alarm["alarm_id"]), "fate": fates.get(alarm["alarm_id"])}
            for alarm in alarms
        ],
        "commands": await commands_of(conn, tenant_id, device_id),
        "cases": (await list_cases(conn, tenant_id, CaseFilter(device_id=device_id), None, NEWEST)).items,
        "refused": await _refused(conn, tenant_id, device_id),
        "readings": await _newest(conn, held, device_id, summary.last_ts),
    }


async def _newest(
    conn: Connection, held: Sequence[Held], device_id: str, last: datetime | None
) -> list[dict[str, Any]]:
    """The newest readings, newest first."""
    if last is None:
        return []
    asked = Between(device_id, last - timedelta(days=2), last + timedelta(seconds=1), NEWEST, newest_first=True)
    return [
        {
            "ts": row.ts,
            "received_at": row.received_at,
            "seq": row.seq,
            "metrics": row.metrics or {},
        }
        for row in await list_readings(conn, held, asked)
    ]


def _columns(
    metrics: Sequence[str], readings: Sequence[Mapping[str, Any]], product: Product, units: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The metrics that the newest readings tell of, those of the model first, with what they are called."""
    told = dict.fromkeys(name for reading in readings for name in reading["metrics"])
    ordered = [*(name for name in metrics if name in told), *(name for name in told if name not in metrics)]
    return [(name, f"{product.metric(name)} {units.get(name, '')}".strip()) for name in ordered[:MOST_COLUMNS]]


async def _refused(conn: Connection, tenant_id: str, device_id: str) -> list[dict[str, Any]]:
    found = await list_entries(conn, Wanted(tenant_id=tenant_id, device_id=device_id, limit=NEWEST))
    return [{**asdict(entry), "text": readable(entry.raw)} for entry in found]


def _charts(
    metrics: Sequence[str], found: Mapping[str, tuple[Floats, Floats]], product: Product, shown: Shown
) -> list[Drawn]:
    units = units_of(product.written)
    charts: list[Drawn] = []
    for metric in sorted(metrics, key=lambda name: "battery" not in name):  # what every device lives on comes first
        if metric in found and len(found[metric][0]) and len(charts) < MOST_CHARTS:
            ts, values = found[metric]
            title = product.metric(metric)
            charts.append(draw_series(Series(f"metric-{len(charts)}", title, units.get(metric, ""), ts, values), shown))
    return charts
