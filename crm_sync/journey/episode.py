"""When one case reached each stage, from the first sign to the proof that it is gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np

from crm_sync.journey.queries import Connection, Floats, Travelled, way_of_case
from devices.clock import to_datetime

Milestone = Literal["first_sign", "alarm", "case", "contacted", "acknowledged", "fixed", "confirmed"]
_ORDER: Final[Mapping[Milestone, str]] = {
    "first_sign": "first_sign",
    "alarm": "heard",
    "case": "opened",
    "contacted": "contacted",
    "acknowledged": "acknowledged",
    "fixed": "fixed",
    "confirmed": "confirmed",
}


@dataclass(frozen=True, slots=True)
class Reached:
    """One stage of a case."""

    milestone: Milestone
    at: datetime | None  # None: not reached. The first sign and the proof are device time, all else the gateway's clock
    after_s: float | None  # since the first sign


async def read_episode(conn: Connection, tenant_id: str, case_id: str) -> tuple[Reached, ...]:
    """When a case reached each stage, in the order of the road; nothing where there is no such case."""
    way = await way_of_case(conn, tenant_id, case_id)
    return stages_of(way) if len(way.team) else ()


def stages_of(way: Travelled) -> tuple[Reached, ...]:
    """Of the first case of a way."""
    columns: dict[Milestone, Floats] = {milestone: getattr(way, column) for milestone, column in _ORDER.items()}
    began_s = float(columns["first_sign"][0])
    return tuple(_reached(milestone, float(column[0]), began_s) for milestone, column in columns.items())


def _reached(milestone: Milestone, at_s: float, began_s: float) -> Reached:
    if not np.isfinite(at_s):
        return Reached(milestone, None, None)
    after_s = max(at_s - began_s, 0.0) if np.isfinite(began_s) else None
    return Reached(milestone, to_datetime(at_s), after_s)
