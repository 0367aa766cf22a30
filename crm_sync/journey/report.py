"""From what became of each case to what became of them all."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import numpy as np

from crm_sync.journey import queries
from crm_sync.journey.hold_out import compare, followed
from crm_sync.journey.model import GroupBy, Journey, Leg, Span, SpanTimes, Stage
from crm_sync.journey.queries import Connection, Flags, Floats, Period, Travelled

_REACHED: Final[Mapping[Stage, Callable[[Travelled], Flags]]] = {
    Stage.OPENED: lambda cases: np.isfinite(cases.opened),
    Stage.TOLD: lambda cases: cases.is_told,
    Stage.CONTACTED: lambda cases: np.isfinite(cases.contacted),
    Stage.ACKNOWLEDGED: lambda cases: np.isfinite(cases.acknowledged),
    Stage.FIXED: lambda cases: np.isfinite(cases.fixed),
    Stage.CONFIRMED: lambda cases: np.isfinite(cases.confirmed),
    Stage.FIXED_BEFORE_NOTICED: lambda cases: cases.is_unnoticed,
    Stage.RELAPSED: lambda cases: cases.has_relapsed,
}

_TOOK: Final[Mapping[Span, Callable[[Travelled], Floats]]] = {
    Span.SIGN_TO_ALARM: lambda cases: cases.heard - cases.first_sign,
    Span.ALARM_TO_CASE: lambda cases: cases.opened - cases.heard,
    Span.CASE_TO_CONTACTED: lambda cases: cases.contacted - cases.opened,
    Span.CASE_TO_ACKNOWLEDGED: lambda cases: cases.acknowledged - cases.opened,
    Span.CASE_TO_FIXED: lambda cases: cases.fixed - cases.opened,
    Span.FIXED_TO_CONFIRMED: lambda cases: cases.confirmed - cases.fixed,
    Span.SIGN_TO_CONFIRMED: lambda cases: cases.confirmed - cases.first_sign,
}


async def read_journey(conn: Connection, period: Period, now: datetime, group_by: GroupBy = "model") -> Journey:
    """The journey of a period's alarms and cases, as it stands now."""
    alarms, without_case = await queries.alarms_heard(conn, period)
    cases = await queries.travelled(conn, period)
    return Journey(
        since=period.since,
        until=period.until,
        alarms=alarms,
        without_case=without_case,
        not_contacted=await queries.not_contacted(conn, period),
        contacts_avoided=await queries.contacts_avoided(conn, period),
        whole=leg("all", cases, np.ones(len(cases.team), np.bool_)),
        groups=legs(cases, group_by),
        hold_out=compare(await followed(conn, period, now)),
    )


def legs(cases: Travelled, group_by: GroupBy) -> tuple[Leg, ...]:
    """A leg for each model, team or channel, the largest first."""
    names = np.array({"model": cases.model, "team": cases.team, "channel": cases.channel}[group_by], np.str_)
    found, counts = np.unique(names, return_counts=True)
    ranked = sorted(zip(found.tolist(), counts.tolist(), strict=True), key=lambda each: (-each[1], each[0]))
    return tuple(leg(name, cases, names == name) for name, _ in ranked)


def leg(name: str, cases: Travelled, chosen: Flags) -> Leg:
    """How far the chosen cases came, and how long it took."""
    stages = {stage: int(reached(cases)[chosen].sum()) for stage, reached in _REACHED.items()}
    return Leg(name, stages, {span: _times(took(cases)[chosen]) for span, took in _TOOK.items()})


def _times(took_s: Floats) -> SpanTimes:
    known = np.fmax(took_s[np.isfinite(took_s)], 0.0)
    if not len(known):
        return SpanTimes(0, None, None)
    median_s, p90_s = np.quantile(known, [0.5, 0.9])
    return SpanTimes(len(known), float(median_s), float(p90_s))
