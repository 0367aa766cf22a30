"""From what became of each case to what became of them all."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np

from crm_sync.journey import queries
from crm_sync.journey.model import CONFIDENCE, FOLLOW_UP_DAYS, GroupBy, HoldOut, Journey, Leg, Span, SpanTimes, Stage
from crm_sync.journey.queries import Connection, Followed, Period, Travelled
from crm_sync.trust.precision import measure

_REACHED: Final[Mapping[Stage, Callable[[Travelled], bool]]] = {
    Stage.OPENED: lambda _: True,
    Stage.TOLD: lambda case: case.is_told,
    Stage.CONTACTED: lambda case: case.contacted_at is not None,
    Stage.ACKNOWLEDGED: lambda case: case.acknowledged_at is not None,
    Stage.FIXED: lambda case: case.fixed_at is not None,
    Stage.CONFIRMED: lambda case: case.confirmed_at is not None,
    Stage.FIXED_BEFORE_NOTICED: lambda case: case.is_unnoticed,
    Stage.RELAPSED: lambda case: case.has_relapsed,
}

_BETWEEN: Final[Mapping[Span, Callable[[Travelled], tuple[datetime | None, datetime | None]]]] = {
    Span.SIGN_TO_ALARM: lambda case: (case.first_sign_at, case.heard_at),
    Span.ALARM_TO_CASE: lambda case: (case.heard_at, case.opened_at),
    Span.CASE_TO_CONTACTED: lambda case: (case.opened_at, case.contacted_at),
    Span.CASE_TO_ACKNOWLEDGED: lambda case: (case.opened_at, case.acknowledged_at),
    Span.CASE_TO_FIXED: lambda case: (case.opened_at, case.fixed_at),
    Span.FIXED_TO_CONFIRMED: lambda case: (case.fixed_at, case.confirmed_at),
    Span.SIGN_TO_CONFIRMED: lambda case: (case.first_sign_at, case.confirmed_at),
}

_NAME_OF: Final[Mapping[GroupBy, Callable[[Travelled], str]]] = {
    "model": lambda case: case.model,
    "team": lambda case: case.team,
    "channel": lambda case: case.channel,
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
        whole=leg("all", cases),
        groups=legs(cases, group_by),
        hold_out=compare(await queries.followed(conn, period, now)),
    )


def legs(cases: Iterable[Travelled], group_by: GroupBy) -> tuple[Leg, ...]:
    """A leg for each model, team or channel, the largest first."""
    grouped: dict[str, list[Travelled]] = {}
    for case in cases:
        grouped.setdefault(_NAME_OF[group_by](case), []).append(case)
    ranked = sorted(grouped.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple(leg(name, members) for name, members in ranked)


def leg(name: str, cases: Sequence[Travelled]) -> Leg:
    """How far these cases came, and how long it took."""
    stages = {stage: sum(map(reached, cases)) for stage, reached in _REACHED.items()}
    return Leg(name, stages, {span: _times(map(between, cases)) for span, between in _BETWEEN.items()})


def _times(pairs: Iterable[tuple[datetime | None, datetime | None]]) -> SpanTimes:
    took = [max((end - start).total_seconds(), 0.0) for start, end in pairs if start is not None and end is not None]
    if not took:
        return SpanTimes(0, None, None)
    median_s, p90_s = np.quantile(took, [0.5, 0.9])
    return SpanTimes(len(took), float(median_s), float(p90_s))


def compare(sides: Iterable[Followed]) -> HoldOut:
    """Those contacted beside those held out; the interval of the difference is Newcombe's, of two Wilson intervals."""
    counted = {side.is_held_out: (side.gone, side.cases - side.gone) for side in sides}
    contacted = measure(*counted.get(False, (0, 0)), CONFIDENCE)
    held_out = measure(*counted.get(True, (0, 0)), CONFIDENCE)
    if contacted.mean is None or held_out.mean is None:
        return HoldOut(FOLLOW_UP_DAYS, contacted, held_out, None, None, None)
    effect = contacted.mean - held_out.mean
    low = effect - math.hypot(contacted.mean - contacted.low, held_out.high - held_out.mean)
    high = effect + math.hypot(contacted.high - contacted.mean, held_out.mean - held_out.low)
    return HoldOut(FOLLOW_UP_DAYS, contacted, held_out, effect, low, high)
