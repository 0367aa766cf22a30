"""How sure the detectors can be of a device: for how long it is known, and on how many others it leans."""

from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from pydantic import BaseModel

from devices.profiles import AUTOMATIC
from gateway.detect.cohort import decode

Connection = AsyncConnection[TupleRow]

YOUNG: Final = timedelta(days=21)


class DeviceHabits(BaseModel):
    """How well a device's habits are known."""

    known_days: float
    stage: Literal["young", "known"]
    others: int  # devices of its model from which something was known when it was new; 0: nothing was
    says: str


# In force when the device began: those of before have shown that it is there already.
PRIOR_AT: LiteralString = "SELECT body FROM cohort_prior WHERE made_at <= %s ORDER BY batch_seq DESC LIMIT 1"


async def find_habits(
    conn: Connection, model: str | None, first_ts: datetime | None, last_ts: datetime | None
) -> DeviceHabits | None:
    """How well the habits of a device are known; None before its first reading."""
    if first_ts is None or last_ts is None:
        return None
    row = await (await conn.execute(PRIOR_AT, (first_ts,))).fetchone()
    habits = () if row is None else decode(row[0]).habits
    models = {model or AUTOMATIC.model}
    if not any(each.model == model for each in habits):
        models.add(AUTOMATIC.model)  # a product without a profile of its own
    others = max((each.devices for each in habits if each.model in models), default=0)
    return describe(last_ts - first_ts, others)


def describe(known: timedelta, others: int) -> DeviceHabits:
    """In numbers and words."""
    days = known / timedelta(days=1)
    told = "1 day" if round(days) == 1 else f"{days:.0f} days"
    if known >= YOUNG:
        return DeviceHabits(
            known_days=days, stage="known", others=others, says=f"known for {told}: judged by its own habits"
        )
    leans = (
        f"until it is for {YOUNG.days}, it is judged also by what {others} others of its model have shown"
        if others
        else "nothing was known of its model when it began, so that its use is judged after a week"
    )
    return DeviceHabits(known_days=days, stage="young", others=others, says=f"known for {told}; {leans}")
