"""Is it one of many? While a major case speaks for a device, its owner is not contacted about it one by one."""

from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from crm_sync.model import Case
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from devices.profiles.model import Severity

_MAJOR_OF: Final[LiteralString] = "SELECT parent_id FROM service_case WHERE case_id = %s AND left_major_at IS NULL"


async def cohort(conn: AsyncConnection[Any], case: Case) -> GateAnswer | None:
    """No while a major case has the case as its child, but for what is critical; None for every other case."""
    row = await (await conn.execute(_MAJOR_OF, [case.case_id])).fetchone()
    return None if row is None or row[0] is None else told_as_one(case, row[0])


def told_as_one(case: Case, major_case_id: str) -> GateAnswer:
    """The answer about a child: what may hurt somebody is told to everybody, however many they are."""
    inputs = {"major_case": major_case_id, "severity": str(case.severity)}
    if case.severity is Severity.CRITICAL:
        return GateAnswer(Gate.COHORT, Outcome.ALLOW, None, inputs)
    return GateAnswer(Gate.COHORT, Outcome.REFUSE, Reason.INCIDENT, inputs)
