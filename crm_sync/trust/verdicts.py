"""Whether alarms were true: said by agents, people, late readings and, weakly, by telemetry; and what follows from it.

Whoever says something only adds a row, in a transaction of their own. What follows is worked by the one who has the
turn of the inbox, in the order in which it was said: nobody else writes budgets, histories, bars or modes.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, LiteralString

from crm_sync.apart import Log, attempt
from crm_sync.trust import budget_queries, history, queries
from crm_sync.trust.bar import bar_now, moved
from crm_sync.trust.budget import pass_time, settle
from crm_sync.trust.precision import measure
from crm_sync.trust.promotion import judge_mode
from crm_sync.trust.queries import Connection, Episode, ModeSet
from crm_sync.trust.rules import TrustRules
from devices.clock import to_datetime

Truth = Literal["true", "false", "unclear"]
Source = Literal["person", "agent", "retraction", "owner", "telemetry"]

WEAK: Final = 0.25
"""What telemetry's word is worth: a fault that goes may have been mended, or never have been one."""

OWNERS: Final = 0.5
"""What an owner's word is worth: nobody is nearer to the product, but a fault need not show from outside."""


@dataclass(frozen=True, slots=True)
class Said:
    """A word on whether a case, or one alarm, was true."""

    tenant_id: str
    verdict: Truth
    source: Source
    actor: str
    case_id: str | None = None
    alarm_id: str | None = None
    weight: float = 1.0
    customer_said: str = ""  # of the fault, in an agent's words


_ADD_VERDICT: Final[LiteralString] = """
INSERT INTO case_verdict (tenant_id, case_id, alarm_id, verdict, weight, source, actor, customer_said, said_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, nullif(%s, ''), %s)
"""

MOST_SAID: Final = 2000
"""Characters that are kept of what a customer said."""


async def say(conn: Connection, said: Said, now_s: float) -> None:
    """Write down what was said; it takes effect soon."""
    values = [said.tenant_id, said.case_id, said.alarm_id, said.verdict, said.weight, said.source, said.actor]
    await conn.execute(_ADD_VERDICT, [*values, said.customer_said.strip()[:MOST_SAID], to_datetime(now_s)])


_HAS_SAID: Final[LiteralString] = """
SELECT EXISTS (SELECT FROM case_verdict WHERE case_id = %s AND customer_said = %s)
"""


async def has_said(conn: Connection, case_id: str, customer_said: str) -> bool:
    """Whether a customer's words on a case are kept already."""
    kept = customer_said.strip()[:MOST_SAID]
    return await (await conn.execute(_HAS_SAID, [case_id, kept])).fetchone() == (True,)


_WAITING: Final[LiteralString] = """
SELECT verdict_id, tenant_id, case_id, alarm_id, verdict, weight, source, actor, coalesce(customer_said, '')
  FROM case_verdict WHERE settled_at IS NULL ORDER BY verdict_id LIMIT %s
"""

_SETTLED: Final[LiteralString] = "UPDATE case_verdict SET settled_at = %s WHERE verdict_id = %s"


async def settle_verdicts(conn: Connection, rules: TrustRules, log: Log, now_s: float, limit: int = 100) -> int:
    """Let what was said since take effect; the caller has the turn of the inbox.

    What cannot take effect is logged, and not tried again: it must not hold up what others said.
    """
    rows = await (await conn.execute(_WAITING, [limit])).fetchall()
    for verdict_id, tenant_id, case_id, alarm_id, verdict, weight, source, actor, customer_said in rows:
        said = Said(tenant_id, verdict, source, actor, case_id, alarm_id, weight, customer_said)
        settle_it = partial(_settle, conn, rules, said, now_s)
        await attempt(conn, log, "trust.verdict_failed", settle_it, verdict_id=verdict_id, case_id=case_id)
        await conn.execute(_SETTLED, [to_datetime(now_s), verdict_id])
    return len(rows)


async def _settle(conn: Connection, rules: TrustRules, said: Said, now_s: float) -> None:
    if said.case_id is not None:
        episodes = await queries.episodes_of_case(conn, said.case_id)
    else:
        found = await queries.find_episode(conn, str(said.alarm_id))
        episodes = [] if found is None else [found]
    for episode in episodes:
        judged = _judged(episode, said)
        if judged is None:
            continue
        await history.judge(conn, episode, judged, now_s, rules.budget.memory)
        await _settle_cost(conn, rules, judged, now_s)
        await _teach(conn, rules, episode, judged, now_s)


def _judged(episode: Episode, said: Said) -> Episode | None:
    """What is known of an episode after a word on it; None where nothing follows."""
    if episode.key.tenant_id != said.tenant_id or history.has_said_more(episode, said.source):
        return None
    if said.verdict != "unclear":
        judged = replace(episode, verdict=said.verdict, weight=said.weight, source=said.source)
        return None if (episode.verdict, episode.source) == (said.verdict, said.source) else judged
    # Who does not know takes back what they said before, unless they only passed a customer's words on.
    is_taken_back = episode.source == said.source and not said.customer_said
    return replace(episode, verdict=None, weight=0.0, source=None) if is_taken_back else None


async def _settle_cost(conn: Connection, rules: TrustRules, judged: Episode, now_s: float) -> None:
    """Correct what the case of an alarm stands for: a weak word moves it off its booking in part only."""
    if judged.case_id is None or judged.cost is None:
        return
    budget = await budget_queries.lock_budget(conn, judged.key.tenant_id)
    if budget is None:
        return
    booked = judged.cost if judged.booked is None else judged.booked
    was_false = 1.0 if judged.verdict == "false" else 0.0
    cost = judged.weight * was_false + (1.0 - judged.weight) * booked  # nothing weighs a word that was taken back
    accounts = settle(pass_time(budget.accounts, rules.budget, budget.devices, now_s), judged.cost, cost)
    await budget_queries.save_budget(conn, judged.key.tenant_id, replace(budget, accounts=accounts))
    await queries.settle_episode(conn, judged.alarm_id, cost)


async def _teach(conn: Connection, rules: TrustRules, before: Episode, judged: Episode, now_s: float) -> None:
    """Move the watch's bar, and its mode if the rule says so."""
    settings, key = rules.trust, judged.key
    standing = await queries.find_standing(conn, key)
    if standing is None or judged.placed_at_s < standing.changed_at_s:
        return
    bar = bar_now(standing.bar, standing.bar_at_s, now_s, settings)
    if before.verdict == "false":  # corrected: what it has raised is taken off
        bar = moved(bar, 0.0, before.weight, settings)
    if judged.verdict is not None:
        bar = moved(bar, 1.0 if judged.verdict == "false" else 0.0, judged.weight, settings)
    await queries.set_bar(conn, key, bar, now_s)
    if standing.held or not settings.rules:
        return
    since_s = max(standing.mode_since_s, now_s - settings.window)
    precision = measure(*await queries.outcomes_since(conn, key, since_s), settings.confidence)
    change = judge_mode(standing.mode, precision, settings)
    if change is not None:
        await queries.set_mode(conn, key, ModeSet(change.mode, "rule", change.why), now_s)


TAKEN_UP: Final[LiteralString] = """
SELECT EXISTS (SELECT FROM case_transition
                WHERE case_id = %(case_id)s
                  AND (actor LIKE 'crm:%%' OR actor LIKE 'person:%%' AND reason = 'assigned')),
       EXISTS (SELECT FROM case_transition WHERE tenant_id = %(tenant_id)s AND actor LIKE 'crm:%%')
"""


async def say_recovered(conn: Connection, tenant_id: str, case_id: str, now_s: float) -> None:
    """Telemetry's weak word on a case that ended by itself: likelier true if somebody had taken it up.

    It is taken up by whom a CRM tells of, or by whom it is assigned to here. Where no CRM has ever called back, that
    nobody took a case up says nothing of the case.
    """
    row = await (await conn.execute(TAKEN_UP, {"case_id": case_id, "tenant_id": tenant_id})).fetchone()
    assert row is not None  # it always answers
    taken_up, anybody_calls = row
    verdict: Truth = "true" if taken_up else "false" if anybody_calls else "unclear"
    await say(conn, Said(tenant_id, verdict, "telemetry", "telemetry", case_id=case_id, weight=WEAK), now_s)
