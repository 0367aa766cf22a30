"""How incidents begin, grow and end, and what the CRM side is told of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from crm_sync.inbox import AlarmNotice
from crm_sync.incidents import Finding, IncidentEvent, IncidentNotice
from devices.profiles.model import Severity
from gateway.cohorts import incidents, words
from gateway.cohorts.comparison import DAY_S, Comparison, Verdict
from gateway.cohorts.dips import KINDS, Dip, is_of_one_region
from gateway.cohorts.incidents import Incident, IncidentKind, incident_id_of
from gateway.cohorts.queries import Connection, drop_affected, take_census
from gateway.cohorts.settings import FleetSettings
from gateway.cohorts.state import ModelState
from gateway.cohorts.turn import Cohort, Turn

SETTLED: Final = 0.1
"""An incident may end when at most this share of its alarms go on."""

Models = Mapping[Cohort, ModelState]


@dataclass(frozen=True, slots=True)
class Opening:
    """Writes incidents down as the evidence asks for them."""

    settings: FleetSettings
    titles: Mapping[str, str]

    async def open(self, conn: Connection, turn: Turn, known: set[str]) -> list[IncidentNotice]:
        """Begin what the evidence asks for, and add it to what goes on; `known` alarms the CRM side hears of anyhow."""
        found = [
            await self._bad_firmware(conn, turn, cohort, comparison, verdict)
            for cohort, state in turn.models.items()
            for comparison in state.comparisons
            for verdict in comparison.verdicts(self.settings.alpha, self.settings.smallest)
        ]
        scopes, limits = turn.dips.scopes, (self.settings.dip_share, self.settings.smallest)
        for name in sorted(scopes, key=_rank):
            dip = scopes[name].judge(name, *limits)
            if dip is not None and not (name == "*" and is_of_one_region(scopes, *limits)):
                found.append(await self._dip(conn, turn, dip))
                for scope in scopes.values():  # its signs are explained, in whatever scope they count
                    scope.start_over(turn.now.now_s)
        return [await self._begin(conn, each, known, turn.now.now_s) for each in found if each is not None]

    async def _begin(self, conn: Connection, incident: Incident, known: set[str], now_s: float) -> IncidentNotice:
        claimed = await incidents.claim(conn, incident, now_s)
        course = await incidents.read_course(conn, incident.incident_id)
        return _notice(
            incident,
            "opened",
            self.settings.team,
            course.devices,
            now_s,
            alarm_ids=tuple(alarm_id for alarm_id in claimed if alarm_id not in known),
            findings=await incidents.read_findings(conn, incident.incident_id),
        )

    async def _bad_firmware(
        self, conn: Connection, turn: Turn, cohort: Cohort, comparison: Comparison, verdict: Verdict
    ) -> Incident | None:
        """The incident of a verdict, begun or with one more problem; None where it is known."""
        (tenant_id, model), now_s = cohort, turn.now.now_s
        mine = [
            each
            for each in turn.going_on
            if (each.tenant_id, each.model, each.firmware) == (tenant_id, model, comparison.firmware)
            and each.region in {None, verdict.region}
        ]
        if any(verdict.problem in each.problems for each in mine):
            return None
        title = self.titles.get(model, model)
        says = words.firmware_says(title, comparison.firmware, verdict)
        severity = _gravest(notice for notice in turn.raised if notice.problem == verdict.problem)
        if mine:
            before = mine[0]
            problems = (*before.problems, verdict.problem)
            incident = replace(
                before,
                problems=problems,
                severity=max(severity, before.severity, key=lambda each: Severity(each).rank),
                title=words.firmware_title(title, comparison.firmware, before.region, problems),
                says=f"{before.says}\n{says}",
            )
            turn.going_on[turn.going_on.index(before)] = incident
        else:
            key = (model, comparison.firmware, verdict.region)
            number = await incidents.count_of_kind(conn, tenant_id, IncidentKind.BAD_FIRMWARE)
            incident = Incident(
                incident_id=incident_id_of(tenant_id, IncidentKind.BAD_FIRMWARE, key, number),
                tenant_id=tenant_id,
                kind=IncidentKind.BAD_FIRMWARE,
                model=model,
                firmware=comparison.firmware,
                region=verdict.region,
                problems=(verdict.problem,),
                severity=severity,
                title=words.firmware_title(title, comparison.firmware, verdict.region, [verdict.problem]),
                says=says,
                started_at_s=comparison.since_s,
                known_at_s=now_s,
            )
            turn.going_on.append(incident)
        await incidents.put_incident(conn, incident, [words.firmware_evidence(verdict, now_s)])
        return incident

    async def _dip(self, conn: Connection, turn: Turn, dip: Dip) -> Incident | None:
        """The incident of a dip; None where one that goes on explains it. Two at once are one wider one."""
        tenant_id, now_s = turn.tenant_id, turn.now.now_s
        kind, _, name = dip.scope.partition(":")
        key = (name if kind == "model" else None, None, name if kind == "region" else None)
        going_on = [each for each in turn.going_on if each.kind is IncidentKind.FLEET_DIP]
        if any((each.model, None, each.region) in {key, (None, None, None)} for each in going_on):
            return None
        title = self.titles.get(name)
        says = words.dip_says(dip, title)
        severity = _gravest(notice for notice in turn.raised if notice.kind in KINDS)
        if going_on:
            before = going_on[0]
            incident = replace(
                before,
                model=None,
                region=None,
                severity=max(severity, before.severity, key=lambda each: Severity(each).rank),
                title=words.dip_title("*", None),
                says=f"{before.says}\n{says}",
            )
            turn.going_on[turn.going_on.index(before)] = incident
        else:
            number = await incidents.count_of_kind(conn, tenant_id, IncidentKind.FLEET_DIP)
            incident = Incident(
                incident_id=incident_id_of(tenant_id, IncidentKind.FLEET_DIP, key, number),
                tenant_id=tenant_id,
                kind=IncidentKind.FLEET_DIP,
                model=key[0],
                firmware=None,
                region=key[2],
                problems=("fleet_dip",),
                severity=severity,
                title=words.dip_title(dip.scope, title),
                says=says,
                started_at_s=dip.since_s,
                known_at_s=now_s,
            )
            turn.going_on.append(incident)
        await incidents.put_incident(conn, incident, [words.dip_evidence(dip, now_s)])
        return incident

    async def end(
        self, conn: Connection, models: Models, going_on: Sequence[Incident], now_s: float
    ) -> list[IncidentNotice]:
        """End what is over: nobody has joined for a while, and nearly all who did have recovered."""
        told: list[IncidentNotice] = []
        for incident in going_on:
            course = await incidents.read_course(conn, incident.incident_id)
            is_calm = now_s - max(course.newest_s, incident.known_at_s) >= self.settings.calm
            if not is_calm or course.unsettled > SETTLED * course.members:
                continue
            ending = words.ending(course)
            await incidents.end(conn, incident.incident_id, ending, now_s)
            notice = _notice(incident, "ended", self.settings.team, course.devices, now_s, ending=ending)
            told.append(replace(notice, alarms=course.members, going_on=course.unsettled))
            state = models.get((incident.tenant_id, incident.model or ""))
            comparison = None if state is None else state.comparison_of(incident.firmware)
            if comparison is not None:  # should it happen again, it is asked anew
                comparison.start_over(now_s)
                await drop_affected(conn, incident.tenant_id, incident.model or "", comparison.firmware)
        return told

    async def close_comparisons(
        self, conn: Connection, models: Models, going_on: Sequence[Incident], now_s: float
    ) -> None:
        """End the comparisons that have had their time, and count the devices of the others once a day."""
        for (tenant_id, model), state in models.items():
            for comparison in list(state.comparisons):
                is_bad = any(each.model == model and each.firmware == comparison.firmware for each in going_on)
                if now_s - comparison.since_s > self.settings.watch and not is_bad:
                    state.comparisons.remove(comparison)
                    await drop_affected(conn, tenant_id, model, comparison.firmware)
                elif now_s - comparison.counted_s > DAY_S:
                    comparison.advance(now_s)
                    comparison.counted_s = now_s
                    newer = [name for name, known_s in state.known.items() if known_s > comparison.since_s]
                    comparison.recount(*await take_census(conn, tenant_id, model, comparison.firmware, newer))


def _rank(name: str) -> tuple[int, str]:
    """The widest scope is asked first, and what it explains is explained."""
    return ("*", "region", "model").index(name.partition(":")[0]), name


def _gravest(notices: Iterable[AlarmNotice]) -> str:
    return max(["major", *(notice.severity for notice in notices)], key=lambda each: Severity(each).rank)


def _notice(
    incident: Incident,
    event: IncidentEvent,
    team: str,
    devices: int,
    now_s: float,
    *,
    alarm_ids: tuple[str, ...] = (),
    ending: str | None = None,
    findings: tuple[Finding, ...] = (),
) -> IncidentNotice:
    return IncidentNotice(
        tenant_id=incident.tenant_id,
        incident_id=incident.incident_id,
        event=event,
        kind=str(incident.kind),
        model=incident.model,
        firmware=incident.firmware,
        region=incident.region,
        problems=incident.problems,
        severity=incident.severity,
        title=incident.title,
        says=incident.says,
        team=team,
        devices=devices,
        recorded_at_s=now_s,
        alarm_ids=alarm_ids,
        ending=ending,
        findings=findings,
    )
