"""Backtests from a watch's page: what it would have done on stored history, were it another."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from crm_sync.wording.wording import Wording
from devices.errors import CareloopError, ConfigError
from devices.profiles.model import Profile, Severity, Watch, WatchMode
from gateway.api.router import Router
from gateway.backtest.jobs import Asked, Job
from gateway.backtest.proposal import propose_watch
from gateway.backtest.words import Task
from gateway.console.parts import Desk
from gateway.console.show import DAY_S
from gateway.detect.detector import load_detectors, resolve_parameters
from gateway.detect.settings import DetectSettings
from gateway.people.audit import record
from gateway.people.door import at_home
from gateway.people.model import Role
from gateway.store.history import TimeBase, Wanted

SPANS: Final[Mapping[str, float]] = {"7": 7 * DAY_S, "30": 30 * DAY_S, "90": 90 * DAY_S, "365": 365 * DAY_S}
MOST_VALUE: Final = 100
MOST_EXAMPLES: Final = 10
PREFIX: Final = "p."
OF_THE_METRIC: Final = "kind"
"""A parameter that follows from the metric: nobody turns it."""


@dataclass(frozen=True, slots=True)
class Knob:
    """A number that a watch's detector takes: what the profile says, and what counts where it says nothing."""

    name: str
    given: str
    usual: str


def backtests_router(desk: Desk) -> Router:
    """``POST /watches/{model}/{watch}/backtest``, and ``/backtests/{job_id}``."""
    router = Router()

    @router.post("/watches/{model}/{watch}/backtest")
    async def begin(request: Request, model: str, watch: str) -> Response:
        person, fields = await desk.write(request, Role.OPERATOR)
        at_home(request, person)
        profile = desk.parts.profiles.get(model)
        declared = watch_of(profile, watch)
        if profile is None or declared is None or fields.get("days") not in SPANS:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "days")
        until_s = desk.now_s()
        since_s = until_s - SPANS[fields["days"]]
        wanted = Wanted(round(since_s * 1e6), round(until_s * 1e6), _base(fields))
        try:
            changed = _changed(declared, fields)
            _check(profile, changed, desk.parts.history.detect)
            proposal = propose_watch(desk.parts.profiles, model, changed)
            asked = Asked(person.tenant_id, model, watch, person.signs_as(), since_s, until_s, proposal.says)
            plan = desk.parts.history.plan(person.tenant_id, wanted, proposal.profiles)
            inputs = {"days": fields["days"], "says": list(proposal.says)}
            async with desk.pool.connection() as conn, conn.transaction():
                await record(conn, person, "watch.backtest", f"{model}/{watch}", inputs)  # nothing begins unrecorded
                job = desk.parts.backtests.start(asked, Task(plan, tuple(proposal.says)))
        except (CareloopError, ValidationError) as error:
            return desk.refuse(request, person, _in_words(error), f"/watches/{model}/{watch}#backtest")
        return RedirectResponse(f"/backtests/{job.job_id}", HTTPStatus.SEE_OTHER)

    _add_results(router, desk)
    return router


def _add_results(router: Router, desk: Desk) -> None:
    async def find(request: Request, job_id: str) -> Job:
        person = await desk.enter(request)
        job = desk.parts.backtests.find(person.tenant_id, job_id)
        if job is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "backtest")
        return job

    @router.get("/backtests/{job_id}")
    async def show(request: Request, job_id: str) -> Response:
        person = await desk.enter(request)
        job = await find(request, job_id)
        report = None if job.result is None else job.result.report
        return await desk.page(
            request,
            person,
            "backtest.html",
            job=job,
            asked=job.asked,
            share=100 * job.done / job.total if job.total else 0,
            report=report,
            examples=[] if report is None else _examples(report, desk.wordings.of(_language(desk, request))),
        )

    @router.get("/backtests/{job_id}/picture.png")
    async def picture(request: Request, job_id: str) -> Response:
        drawn = (await find(request, job_id)).picture
        if drawn is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "picture")
        return Response(drawn, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @router.post("/backtests/{job_id}/stop")
    async def stop(request: Request, job_id: str) -> Response:
        person, _ = await desk.write(request, Role.OPERATOR)
        job = await find(request, job_id)
        async with desk.pool.connection() as conn:
            await record(conn, person, "watch.stop_backtest", f"{job.asked.model}/{job.asked.watch}", {"job": job_id})
        desk.parts.backtests.stop(job)
        return RedirectResponse(f"/backtests/{job_id}", HTTPStatus.SEE_OTHER)


def watch_of(profile: Profile | None, name: str) -> Watch | None:
    """A watch as its profile declares it."""
    return None if profile is None else next((each for each in profile.watches if each.name == name), None)


def knobs_of(profile: Profile, watch: Watch, settings: DetectSettings) -> list[Knob]:
    """What can be turned at a watch, with what counts now."""
    detector = load_detectors()[watch.detector]
    metric = profile.metrics.get(watch.metric or "")
    usual = {each.name: each.default for each in detector.parameters} | dict(detector.defaults(metric, settings))
    knobs: list[Knob] = []
    for parameter in detector.parameters:
        if parameter.name == OF_THE_METRIC:
            continue
        given = watch.parameters.get(parameter.name)
        counts = usual[parameter.name]
        unsaid = "" if not math.isfinite(counts) else say_duration(counts) if parameter.span else f"{counts:g}"
        knobs.append(Knob(parameter.name, "" if given is None else str(given), unsaid))
    return sorted(knobs, key=lambda knob: (not knob.given, knob.name))


def say_duration(seconds: float) -> str:
    """A span of time as one may write it into a field: `9h`."""
    sizes = ((86_400, "d"), (3600, "h"), (60, "m"))
    size, unit = next(((size, unit) for size, unit in sizes if seconds and seconds % size == 0), (1, "s"))
    return f"{seconds / size:g}{unit}"


def _changed(watch: Watch, fields: Mapping[str, str]) -> Watch:
    """The watch as the form wants it. Raises ValidationError."""
    told: dict[str, Any] = watch.model_dump(by_alias=True)
    told["parameters"] = {
        name.removeprefix(PREFIX): _value(text.strip()[:MOST_VALUE])
        for name, text in fields.items()
        if name.startswith(PREFIX) and text.strip()
    }
    if fields.get("mode") in set(WatchMode):
        told["mode"] = fields["mode"]
    if fields.get("severity") in set(Severity):
        told["severity"] = fields["severity"]
    if fields.get("for", "").strip():
        told["for"] = fields["for"].strip()[:MOST_VALUE]
    return Watch.model_validate(told)


def _value(text: str) -> float | str | bool:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _check(profile: Profile, watch: Watch, settings: DetectSettings) -> None:
    """Raises ConfigError where the detector cannot work with that."""
    metric = profile.metrics.get(watch.metric or "")
    resolve_parameters(load_detectors()[watch.detector], watch, metric, settings, profile.model)


def _base(fields: Mapping[str, str]) -> TimeBase:
    return TimeBase.DEVICE if fields.get("time") == TimeBase.DEVICE else TimeBase.RECEIVED


def _in_words(error: CareloopError | ValidationError) -> str:
    if isinstance(error, ConfigError):
        return "; ".join(f"{fault.setting}: {fault.found}; {fault.allowed}" for fault in error.faults)
    if isinstance(error, CareloopError):
        return error.detail
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False))


def _language(desk: Desk, request: Request) -> str:
    return desk.renderer.words_of(request).language


def _examples(report: Mapping[str, Any], wording: Wording) -> list[Mapping[str, Any]]:
    """Some alarms that make the difference."""
    found = report.get("proposed_against_installed", report["installed_against_happened"])["alarms"]
    told = [("new", each) for each in found["new"][:MOST_EXAMPLES]]
    told += [("gone", each) for each in found["gone"][:MOST_EXAMPLES]]
    return [
        {
            **each,
            "which": which,
            "at": datetime.fromisoformat(each["raised_at"]),
            "text": wording.phrase(each["text"]),
        }
        for which, each in told
    ]
