"""What the messages of a case say of its cohort: a major case whom it speaks for, a child which case speaks for it."""

from typing import Final, LiteralString

from crm_sync.cases.major_queries import Connection, find_major
from crm_sync.incidents import PREFIX
from crm_sync.model import Case

MOST_CHILDREN: Final = 50

_CHILDREN: Final[LiteralString] = """
SELECT case_id, count(*) OVER () FROM service_case WHERE parent_id = %s ORDER BY number LIMIT %s
"""


async def cohort_data(conn: Connection, case: Case, *, leaves: bool = False) -> dict[str, object]:
    """The part of a message's `data` that is about many devices; nothing for nearly every case."""
    if case.parent_id is not None:
        return {"left": case.parent_id} if leaves else {"parent": case.parent_id}
    major = await find_major(conn, case.asset_id) if case.asset_id.startswith(PREFIX) else None
    if major is None:
        return {}
    children = await (await conn.execute(_CHILDREN, [case.case_id, MOST_CHILDREN])).fetchall()
    return {
        "major": True,
        "cohort": {
            "incident_id": major.incident_id,
            "kind": major.kind,
            "model": major.model,
            "firmware": major.firmware,
            "region": major.region,
            "problems": major.problems,
        },
        "members": {
            "devices": major.devices,
            "cases": children[0][1] if children else 0,
            "case_ids": [case_id for case_id, _ in children],
        },
    }
