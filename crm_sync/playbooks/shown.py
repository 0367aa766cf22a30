"""Playbooks as others see them: what was considered about cases, and how often each action helped. Read only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from crm_sync.playbooks.learning import posterior
from crm_sync.playbooks.model import Rate
from devices.profiles.model import Profile

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class ActionView:
    """An action that was considered about a case, chosen or not."""

    case_id: str
    round: int
    action: str
    kind: str
    verdict: str
    reason: str
    inputs: Mapping[str, object]
    team: str | None
    channel: str | None
    template: str | None
    severity: str
    sla_h: float | None
    decided_at: datetime
    result: str | None
    result_why: str | None
    settled_at: datetime | None


_ACTIONS: Final[LiteralString] = """
SELECT case_id, round, action, kind, verdict, reason, inputs, team, channel, template, severity, sla_h, decided_at,
       result, result_why, settled_at
  FROM case_action WHERE case_id = ANY(%s) ORDER BY case_id, round, place
"""


async def actions_of(conn: Connection, case_ids: Sequence[str]) -> list[ActionView]:
    """Everything that was considered about these cases, the best first of each round."""
    async with conn.cursor(row_factory=class_row(ActionView)) as cursor:
        return await (await cursor.execute(_ACTIONS, [list(case_ids)])).fetchall()


@dataclass(frozen=True, slots=True)
class RateView:
    """How often an action helped against a problem on a model; the interval holds 90 % of the posterior."""

    model: str
    problem: str
    action: str
    worked: int
    failed: int
    mean: float
    low: float
    high: float
    explores: bool


_TALLY: Final[LiteralString] = """
SELECT model, problem, action, worked, failed FROM action_tally
 WHERE tenant_id = %(tenant_id)s AND (%(model)s::text IS NULL OR model = %(model)s)
"""


async def list_rates(
    conn: Connection, tenant_id: str, profiles: Mapping[str, Profile], model: str | None = None
) -> list[RateView]:
    """Every action of the profiles' playbooks, and those that were taken once and are in none any more."""
    tally = {
        (row[0], row[1], row[2]): Rate(row[3], row[4])
        async for row in await conn.execute(_TALLY, {"tenant_id": tenant_id, "model": model})
    }
    exploring: dict[tuple[str, str, str], bool] = {}
    for name, profile in profiles.items():
        if model is None or name == model:
            for playbook in profile.playbooks:
                keys = {(name, playbook.problem, action.key): playbook.explore for action in playbook.actions}
                exploring |= keys
    known = {key: tally.get(key, Rate()) for key in exploring} | tally
    return [_view(key, rate, explores=exploring.get(key, False)) for key, rate in sorted(known.items())]


def _view(key: tuple[str, str, str], rate: Rate, *, explores: bool) -> RateView:
    belief = posterior(rate)
    return RateView(*key, rate.worked, rate.failed, belief.mean, belief.low, belief.high, explores)
