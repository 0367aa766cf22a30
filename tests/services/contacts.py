"""Contacts of an owner in a world of cases: another problem of theirs, what became of steps, what gates said."""

from typing import Any

from tests.services.case_world import NOON, CaseWorld, notice


def brewing(at_s: float = NOON, **changes: Any) -> Any:
    """Another problem of which the owner would hear."""
    values = {"watch": "brews-less", "problem": "brewing", "metric": "cups", "severity": "minor"}
    return notice(at_s=at_s, **(values | changes))


async def steps(world: CaseWorld) -> list[tuple[str, str | None]]:
    """What became of each step that the owner was to see, and why."""
    rows = await world.rows("SELECT state, reason FROM held_step ORDER BY decided_at, step_id")
    return [(row["state"], row["reason"]) for row in rows]


async def last_decision(world: CaseWorld) -> dict[str, Any]:
    """What a gate said last."""
    rows = await world.rows(
        "SELECT gate, outcome, reason, inputs, until_at FROM decision ORDER BY decision_id DESC LIMIT 1"
    )
    return rows[0]
