"""How sure the detectors can be of a device: for how long it is known, and whether it leans on others of its model."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from pydantic import BaseModel

from devices.profiles import AUTOMATIC
from gateway.detect.cohort import Habits
from gateway.pipeline.priors import read_prior

Connection = AsyncConnection[TupleRow]

YOUNG: Final = timedelta(days=21)


class DeviceHabits(BaseModel):
    """How well a device's habits are known."""

    known_days: float
    stage: Literal["young", "known"]
    leans: bool  # on what others of its model had shown when it was new
    others: int  # of its model, in the registry of its tenant; 0 where it leans on nobody
    says: str


class Born(NamedTuple):
    """A device, and what its detectors were given at its birth: the number of a prior, whenever its readings are of."""

    tenant_id: str
    device_id: str
    model: str | None
    prior: int


async def find_habits(
    conn: Connection, born: Born, first_ts: datetime | None, last_ts: datetime | None
) -> DeviceHabits | None:
    """How well the habits of a device are known; None before its first reading."""
    if first_ts is None or last_ts is None:
        return None
    prior = await read_prior(conn, born.prior)
    leans = prior is not None and _is_known(born.model, prior.habits)
    others = await count_others(conn, born) if leans else 0
    return describe(last_ts - first_ts, others, leans=leans)


def _is_known(model: str | None, habits: Sequence[Habits]) -> bool:
    """Whether something is known of a model, or of products without a profile where it has none of its own."""
    known = {each.model for each in habits}
    return (model if model in known else AUTOMATIC.model) in known


COUNT_OTHERS: LiteralString = """
SELECT count(*) FROM device
WHERE tenant_id = %s AND device_id <> %s AND model IS NOT DISTINCT FROM %s AND revoked_at IS NULL
"""


async def count_others(conn: Connection, born: Born) -> int:
    """How many other devices of a model its own tenant has; how many others have is nobody's business."""
    row = await (await conn.execute(COUNT_OTHERS, (born.tenant_id, born.device_id, born.model))).fetchone()
    return 0 if row is None else int(row[0])


def describe(known: timedelta, others: int, *, leans: bool) -> DeviceHabits:
    """In numbers and words."""
    days = known / timedelta(days=1)
    told = "1 day" if round(days) == 1 else f"{days:.0f} days"
    if known >= YOUNG:
        says = f"known for {told}: judged by its own habits"
        return DeviceHabits(known_days=days, stage="known", leans=leans, others=others, says=says)
    words = "nothing was known of its model when it began, so that its use is judged after a week"
    if leans:
        words = f"until it is for {YOUNG.days}, it is judged also by what others of its model have shown"
        words += f" ({others} in your registry)" if others else ""
    return DeviceHabits(known_days=days, stage="young", leans=leans, others=others, says=f"known for {told}; {words}")
