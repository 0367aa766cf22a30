"""What is looked at now and then: outcomes, device-days, alarms that wait for room, cases that wait for a person.

All of it in the turn of the inbox, so that trust has one writer, and decides in one order.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool

from crm_sync import inbox
from crm_sync.apart import Log, attempt
from crm_sync.arrivals import arrival_of, withdraw_empty
from crm_sync.cases import opening, proposals, trusting
from crm_sync.cases.desk import Desk
from crm_sync.cases.queries import Connection, lock_case
from crm_sync.catching_up import renewed_notice
from crm_sync.model import CaseState
from crm_sync.trust import budget_queries, queries
from crm_sync.trust.bar import bar_now
from crm_sync.trust.belief import Belief, Cell
from crm_sync.trust.budget import Accounts, Exemption, Ruling, book, pass_time, rule
from crm_sync.trust.budget_queries import Budget
from crm_sync.trust.definitions import follow
from crm_sync.trust.gate import Known, exemption, is_stated, weigh
from crm_sync.trust.history import less
from crm_sync.trust.models import trusted_model
from crm_sync.trust.queries import Episode, Standing, WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.verdicts import settle_verdicts
from devices.clock import Clock, to_datetime
from devices.profiles.model import Severity
from devices.registry.queries import count_devices

LOOK_EVERY_S: Final = 3600.0  # the gateway's clock: device-days, and alarms that wait
LOOKED_AT: Final = 2000  # of the waiting alarms, the youngest
WEIGHED_AT_ONCE: Final = 200  # of them, before the gateway's other work has its turn

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


@dataclass(frozen=True, slots=True)
class Kept:
    """What one look came to."""

    settled: int = 0  # verdicts
    again: int = 0  # alarms that are to be asked about again
    opened: int = 0  # approved cases
    expired: int = 0  # proposals

    @property
    def any(self) -> bool:
        """Whether anything was done."""
        return self != Kept()


class Keeper:
    """Keeps trust up to date for one tenant."""

    def __init__(self, desk: Desk, pool: Pool, clock: Clock, tenant_id: str, log: Log) -> None:
        self._desk = desk
        self._pool = pool
        self._clock = clock
        self._tenant_id = tenant_id
        self._log = log
        self._looked_s: float | None = None
        self._steps: tuple[Callable[[Connection, TrustRules, float], Awaitable[Kept]], ...] = (
            self._settle,
            self._look,
            self._decide,
        )

    async def keep(self) -> Kept:
        """Do what is due, each piece in its own transaction; nothing where another has the turn."""
        done = Kept()
        rules, now_s = self._desk.trust, self._clock.now_s()
        if rules is None:
            return done
        for step in self._steps:
            async with self._pool.connection() as conn, conn.transaction():
                if not await inbox.take_turn(conn):
                    return done
                did = await step(conn, rules, now_s)
            done = Kept(
                done.settled + did.settled, done.again + did.again, done.opened + did.opened, done.expired + did.expired
            )
        return done

    async def _settle(self, conn: Connection, rules: TrustRules, now_s: float) -> Kept:
        return Kept(settled=await settle_verdicts(conn, rules, self._log, now_s))

    async def _look(self, conn: Connection, rules: TrustRules, now_s: float) -> Kept:
        """Once an hour: count devices, and put those waiting alarms to the test again that would pass it now."""
        if self._looked_s is not None and now_s - self._looked_s < LOOK_EVERY_S:
            return Kept()
        if self._looked_s is None:
            await follow(conn, trusting.stated_watches(self._desk, self._tenant_id), now_s)
        self._looked_s = now_s
        await self._count(conn, rules, now_s)
        if not rules.budget.enabled:
            return Kept()
        again = await _find_room_for_waiting(conn, rules, self._tenant_id, now_s)
        await inbox.put_alarms(conn, [renewed_notice(row, now_s, now_s) for row in again])
        return Kept(again=len(again))

    async def _count(self, conn: Connection, rules: TrustRules, now_s: float) -> None:
        devices = Counter[str]()
        for model, count in (await count_devices(conn, self._tenant_id, rules.edge_nodes)).items():
            devices[trusted_model(self._desk.profiles, model)] += count
        await budget_queries.count_exposure(conn, self._tenant_id, devices, now_s, rules.budget.memory)
        budget = await budget_queries.lock_budget(conn, self._tenant_id)
        total = devices.total()
        if budget is None:
            budget = Budget(Accounts.fresh(rules.budget, now_s), total, now_s)
        accounts = pass_time(budget.accounts, rules.budget, budget.devices, now_s)
        await budget_queries.save_budget(conn, self._tenant_id, Budget(accounts, total, now_s))

    async def _decide(self, conn: Connection, rules: TrustRules, now_s: float) -> Kept:
        expired = await proposals.expire(conn, self._log, rules.trust.approval_expires, now_s)
        opened = 0
        for case_id in await proposals.approved(conn):
            open_it = partial(_open_approved, conn, self._desk, case_id, now_s)
            opened += await attempt(conn, self._log, "trust.opening_failed", open_it, case_id=case_id) or False
        return Kept(opened=opened, expired=expired)


async def _open_approved(conn: Connection, desk: Desk, case_id: str, now_s: float) -> bool:
    case = await lock_case(conn, case_id)
    if case is None or case.state is not CaseState.APPROVED:
        return False
    arrival = await arrival_of(conn, case, now_s)
    if arrival is None:
        await withdraw_empty(conn, desk, case, now_s)
        return False
    await opening.open_approved(conn, desk, case, arrival)
    return True


_WAITING: Final[LiteralString] = """
SELECT a.*, e.model AS of_model, e.watch AS of_watch, e.score, e.strength, e.lasting, e.placed_at, e.verdict, e.weight,
       t.mode, t.mode_since, t.held, t.bar, t.bar_at, t.device_days, t.devices, t.changed_at,
       e.verdict IS NULL AND e.placed_at >= t.changed_at
       AND coalesce(c.opened_at > %(unanswered_since)s, false) AS is_unanswered
  FROM case_alarm a
  JOIN watch_episode e USING (alarm_id)
  JOIN watch_trust t ON (t.tenant_id, t.model, t.watch) = (e.tenant_id, e.model, e.watch)
  LEFT JOIN service_case c ON c.case_id = e.case_id
 WHERE a.suppressed = 'budget' AND a.state = 'active' AND a.case_id IS NULL
   AND a.tenant_id = %(tenant_id)s AND a.heard_at > %(heard_since)s
   AND NOT EXISTS (SELECT FROM inbox i WHERE i.state = 'pending' AND i.alarm_id = a.alarm_id)
 ORDER BY a.heard_at DESC, a.alarm_id
 LIMIT %(limit)s
"""


async def _find_room_for_waiting(
    conn: Connection, rules: TrustRules, tenant_id: str, now_s: float
) -> list[dict[str, Any]]:
    """The waiting alarms for which there is room together, the likeliest first: in that order they are asked again."""
    settings, unanswered_since_s = rules.budget, now_s - rules.trust.answers_within
    values = {
        "tenant_id": tenant_id,
        "heard_since": to_datetime(now_s - settings.waits_for),
        "unanswered_since": to_datetime(unanswered_since_s),
        "limit": LOOKED_AT,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_WAITING, values)
        rows = await cursor.fetchall()
    if not rows:
        return []
    keys = sorted({_key(row) for row in rows})
    cells = await queries.cells_of(conn, keys, now_s, settings.memory)
    unanswered = await queries.unanswered_of(conn, keys, unanswered_since_s)
    budget = await budget_queries.lock_budget(conn, tenant_id)
    assert budget is not None  # it was counted a moment ago
    return await _Waiting(rules, budget, cells, unanswered, now_s).find_room(rows)


class _Waiting:
    """Puts waiting alarms to the test by what is known of their watches."""

    def __init__(
        self,
        rules: TrustRules,
        budget: Budget,
        cells: Mapping[WatchKey, list[Cell]],
        unanswered: Mapping[WatchKey, list[Cell]],
        now_s: float,
    ) -> None:
        self._rules = rules
        self._budget = budget
        self._now_s = now_s
        self._cells = {key: [*own, *unanswered[key]] for key, own in cells.items()}
        self._exempt = {
            (key, stated): exemption(rules.budget, budget.devices, own, stated=stated)
            for key, own in cells.items()
            for stated in (False, True)
        }

    async def find_room(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that there is room for, the likeliest first."""
        weighed = list[tuple[Belief, dict[str, Any]]]()
        for at, row in enumerate(rows):
            await _let_others_work(at)
            weighed.append((self._weigh(row), row))
        weighed.sort(key=lambda each: (-each[0].true, each[1]["alarm_id"]))
        accounts, found, grown = self._budget.accounts, list[dict[str, Any]](), set[WatchKey]()
        for at, (alone, row) in enumerate(weighed):
            await _let_others_work(at)
            key = _key(row)  # once more where others of its watch came before it: they would be cases without an answer
            belief = self._weigh(row) if key in grown else alone
            exempt = self._exempt[key, is_stated(row["kind"])]
            if self._rule(accounts, row, belief, exempt).verdict.passes:
                accounts = book(accounts, self._rules.budget, belief.cost if exempt is None else 1.0 - exempt.belief)
                self._cells[key].append(queries.unanswered_cell(row["strength"], row["lasting"]))
                grown.add(key)
                found.append(row)
        return found

    def _weigh(self, row: Mapping[str, Any]) -> Belief:
        cells = self._cells[_key(row)]
        if row["is_unanswered"]:  # its own case is none that another alarm opened
            cells = [*cells, less(queries.unanswered_cell(row["strength"], row["lasting"]))]
        known = Known(_standing(row), _episode(row), cells)
        return weigh(self._rules.budget, known, row["started_at"].timestamp(), self._now_s)

    def _rule(self, accounts: Accounts, row: Mapping[str, Any], belief: Belief, exempt: Exemption | None) -> Ruling:
        bar = bar_now(row["bar"], row["bar_at"].timestamp(), self._now_s, self._rules.trust)
        critical = row["severity"] == Severity.CRITICAL
        return rule(accounts, self._rules.budget, belief, bar, critical=critical, exempt=exempt)


async def _let_others_work(at: int) -> None:
    if at % WEIGHED_AT_ONCE == 0:
        await asyncio.sleep(0)


def _key(row: Mapping[str, Any]) -> WatchKey:
    return WatchKey(row["tenant_id"], row["of_model"], row["of_watch"])


def _standing(row: Mapping[str, Any]) -> Standing:
    return queries.standing_of_row({**row, "model": row["of_model"], "watch": row["of_watch"]})


def _episode(row: Mapping[str, Any]) -> Episode:
    return Episode(
        alarm_id=row["alarm_id"],
        key=_key(row),
        score=row["score"],
        strength=row["strength"],
        lasting=row["lasting"],
        placed_at_s=row["placed_at"].timestamp(),
        verdict=row["verdict"],
        weight=row["weight"] or 0.0,
    )
