"""The rows behind trust: one writer at a time, whoever has the turn of the inbox; the functions never commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from crm_sync.trust.belief import Cell
from devices.clock import to_datetime
from devices.profiles.model import WatchMode

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, order=True)
class WatchKey:
    """A watch on a product model."""

    tenant_id: str
    model: str
    watch: str

    def values(self) -> list[str]:
        """As the tables' keys are."""
        return [self.tenant_id, self.model, self.watch]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a watch is trusted; instants are the gateway's clock."""

    key: WatchKey
    mode: WatchMode
    mode_since_s: float
    held: bool
    bar: float
    bar_at_s: float
    device_days: float
    devices: int
    changed_at_s: float  # what it looks for; an episode of before is another watch's


@dataclass(frozen=True, slots=True)
class Episode:
    """An alarm's place in the history of its watch."""

    alarm_id: str
    key: WatchKey
    score: float
    strength: int
    lasting: int
    placed_at_s: float
    verdict: str | None = None
    weight: float = 0.0
    source: str | None = None
    case_id: str | None = None
    cost: float | None = None  # false cases that its case stands for by now
    booked: float | None = None  # and stood for before anybody spoke


_ADD_WATCHES: Final[LiteralString] = """
INSERT INTO watch_trust (tenant_id, model, watch, mode, mode_since, bar_at, counted_at)
SELECT tenant_id, model, watch, mode, %(now)s, %(now)s, %(now)s
  FROM unnest(%(tenants)s::text[], %(models)s::text[], %(watches)s::text[], %(modes)s::text[])
       AS found (tenant_id, model, watch, mode)
ON CONFLICT DO NOTHING
RETURNING tenant_id, model, watch, mode
"""

_AUDIT_BEGINNING: Final[LiteralString] = """
INSERT INTO watch_audit (tenant_id, model, watch, to_mode, held, actor, why, at)
VALUES (%s, %s, %s, %s, false, 'profile', 'first seen', %s)
"""


async def add_watches(conn: Connection, modes: Mapping[WatchKey, WatchMode], now_s: float) -> None:
    """Begin to follow watches that are not known yet, in the mode that their profile says."""
    now = to_datetime(now_s)
    values = {
        "now": now,
        "tenants": [key.tenant_id for key in modes],
        "models": [key.model for key in modes],
        "watches": [key.watch for key in modes],
        "modes": [str(mode) for mode in modes.values()],
    }
    cursor = await conn.execute(_ADD_WATCHES, values)
    added = await cursor.fetchall()
    async with conn.cursor() as writer:
        await writer.executemany(_AUDIT_BEGINNING, [(*row, now) for row in added])


_FIND_STANDING: Final[LiteralString] = """
SELECT * FROM watch_trust WHERE (tenant_id, model, watch) = (%s, %s, %s)
"""


async def find_standing(conn: Connection, key: WatchKey) -> Standing | None:
    """How far one watch is trusted."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_FIND_STANDING, key.values())
        row = await cursor.fetchone()
    return None if row is None else standing_of_row(row)


def standing_of_row(row: Mapping[str, Any]) -> Standing:
    """A row of watch_trust."""
    return Standing(
        key=WatchKey(row["tenant_id"], row["model"], row["watch"]),
        mode=WatchMode(row["mode"]),
        mode_since_s=row["mode_since"].timestamp(),
        held=row["held"],
        bar=row["bar"],
        bar_at_s=row["bar_at"].timestamp(),
        device_days=row["device_days"],
        devices=row["devices"],
        changed_at_s=row["changed_at"].timestamp(),
    )


_SET_MODE: Final[LiteralString] = """
WITH before AS (SELECT mode FROM watch_trust WHERE (tenant_id, model, watch) = (%(tenant_id)s, %(model)s, %(watch)s)),
     changed AS (
         UPDATE watch_trust SET mode = %(mode)s, held = %(held)s,
                mode_since = CASE WHEN mode = %(mode)s THEN mode_since ELSE %(now)s END
          WHERE (tenant_id, model, watch) = (%(tenant_id)s, %(model)s, %(watch)s)
         RETURNING tenant_id, model, watch)
INSERT INTO watch_audit (tenant_id, model, watch, from_mode, to_mode, held, actor, why, at)
SELECT tenant_id, model, watch, before.mode, %(mode)s, %(held)s, %(actor)s, %(why)s, %(now)s FROM changed, before
RETURNING watch
"""


@dataclass(frozen=True, slots=True)
class ModeSet:
    """A watch's new mode, by whom and why; `held` keeps rules away from it."""

    mode: WatchMode
    actor: str
    why: str
    held: bool = False


async def set_mode(conn: Connection, key: WatchKey, change: ModeSet, now_s: float) -> bool:
    """Put a watch into a mode, and write down why; False where there is no such watch."""
    values = {
        "tenant_id": key.tenant_id,
        "model": key.model,
        "watch": key.watch,
        "mode": str(change.mode),
        "held": change.held,
        "actor": change.actor,
        "why": change.why,
        "now": to_datetime(now_s),
    }
    return await (await conn.execute(_SET_MODE, values)).fetchone() is not None


_LOCK_WATCH: Final[LiteralString] = """
SELECT mode FROM watch_trust WHERE (tenant_id, model, watch) = (%s, %s, %s) FOR NO KEY UPDATE
"""


async def lock_watch(conn: Connection, key: WatchKey) -> None:
    """Hold a watch, if there is one, until the transaction ends."""
    await conn.execute(_LOCK_WATCH, key.values())


_SET_BAR: Final[LiteralString] = """
UPDATE watch_trust SET bar = %s, bar_at = %s WHERE (tenant_id, model, watch) = (%s, %s, %s)
"""


async def set_bar(conn: Connection, key: WatchKey, bar: float, now_s: float) -> None:
    """Move a watch's bar."""
    await conn.execute(_SET_BAR, [bar, to_datetime(now_s), *key.values()])


_FIND_EPISODE: Final[LiteralString] = "SELECT * FROM watch_episode WHERE alarm_id = %s"

_EPISODES_OF_CASE: Final[LiteralString] = """
SELECT e.* FROM watch_episode e JOIN case_alarm a USING (alarm_id) WHERE a.case_id = %s ORDER BY e.alarm_id
"""


async def find_episode(conn: Connection, alarm_id: str) -> Episode | None:
    """An alarm's place in the history of its watch."""
    found = await _episodes(conn, _FIND_EPISODE, alarm_id)
    return found[0] if found else None


async def episodes_of_case(conn: Connection, case_id: str) -> list[Episode]:
    """Those of every alarm that a case has taken in."""
    return await _episodes(conn, _EPISODES_OF_CASE, case_id)


async def _episodes(conn: Connection, query: LiteralString, value: str) -> list[Episode]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, [value])
        return [_episode(row) async for row in cursor]


def _episode(row: Mapping[str, Any]) -> Episode:
    return Episode(
        alarm_id=row["alarm_id"],
        key=WatchKey(row["tenant_id"], row["model"], row["watch"]),
        score=row["score"],
        strength=row["strength"],
        lasting=row["lasting"],
        placed_at_s=row["placed_at"].timestamp(),
        verdict=row["verdict"],
        weight=row["weight"] or 0.0,
        source=row["source"],
        case_id=row["case_id"],
        cost=row["cost"],
        booked=row["booked"],
    )


_UNANSWERED_OF: Final[LiteralString] = """
SELECT e.tenant_id, e.model, e.watch, e.strength, e.lasting, count(*)::double precision AS cases
  FROM watch_episode e JOIN service_case c USING (case_id)
 WHERE e.verdict IS NULL AND e.case_id IS NOT NULL AND c.opened_at > %(since)s
   AND c.resolution IS DISTINCT FROM 'fixed_silently' -- nobody was asked
   AND e.alarm_id IS DISTINCT FROM %(besides)s::text
   AND NOT EXISTS (SELECT FROM watch_trust t -- from before it was edited
                    WHERE (t.tenant_id, t.model, t.watch) = (e.tenant_id, e.model, e.watch)
                      AND e.placed_at < t.changed_at)
   AND (e.tenant_id, e.model, e.watch) IN (
       SELECT * FROM unnest(%(tenants)s::text[], %(models)s::text[], %(watches)s::text[]))
 GROUP BY 1, 2, 3, 4, 5
 ORDER BY 1, 2, 3, 4, 5
"""


async def unanswered_of(
    conn: Connection, keys: Sequence[WatchKey], since_s: float, besides: str | None = None
) -> dict[WatchKey, list[Cell]]:
    """The cases that some watches opened since, of which nobody has said whether they were true: false ones till then.

    What they change in the watches' histories, where they count as unknown; the one of the alarm `besides` is left out.
    """
    values = {
        "since": to_datetime(since_s),
        "besides": besides,
        "tenants": [key.tenant_id for key in keys],
        "models": [key.model for key in keys],
        "watches": [key.watch for key in keys],
    }
    found: dict[WatchKey, list[Cell]] = {key: [] for key in keys}
    async for tenant_id, model, watch, strength, lasting, cases in await conn.execute(_UNANSWERED_OF, values):
        found[WatchKey(tenant_id, model, watch)].append(unanswered_cell(strength, lasting, cases))
    return found


def unanswered_cell(strength: int, lasting: int, cases: float = 1.0) -> Cell:
    """What cases without an answer change in the history of their watch: they count as false, not as unknown."""
    return Cell(strength, lasting, -cases, 0.0, cases)


_SAVE_EPISODE: Final[LiteralString] = """
INSERT INTO watch_episode (alarm_id, tenant_id, model, watch, score, strength, lasting, placed_at)
VALUES (%(alarm_id)s, %(tenant_id)s, %(model)s, %(watch)s, %(score)s, %(strength)s, %(lasting)s, %(placed_at)s)
ON CONFLICT (alarm_id) DO UPDATE
SET score = excluded.score, strength = excluded.strength, lasting = excluded.lasting
"""


async def save_episode(conn: Connection, episode: Episode) -> None:
    """Write an alarm's place; what was said of it stays."""
    key = episode.key
    values = {
        "alarm_id": episode.alarm_id,
        "tenant_id": key.tenant_id,
        "model": key.model,
        "watch": key.watch,
        "score": episode.score,
        "strength": episode.strength,
        "lasting": episode.lasting,
        "placed_at": to_datetime(episode.placed_at_s),
    }
    await conn.execute(_SAVE_EPISODE, values)


_JUDGE_EPISODE: Final[LiteralString] = """
UPDATE watch_episode SET verdict = %s, weight = %s, source = %s, verdict_at = %s WHERE alarm_id = %s
"""


async def judge_episode(conn: Connection, episode: Episode, now_s: float) -> None:
    """Write what is known of an alarm's truth."""
    values = [episode.verdict, episode.weight, episode.source, to_datetime(now_s), episode.alarm_id]
    await conn.execute(_JUDGE_EPISODE, values)


_BOOK_EPISODE: Final[LiteralString] = (
    "UPDATE watch_episode SET case_id = %s, cost = %s, booked = %s WHERE alarm_id = %s"
)


async def book_episode(conn: Connection, alarm_id: str, case_id: str, cost: float) -> None:
    """Write which case was opened for an alarm, and what it is booked with."""
    await conn.execute(_BOOK_EPISODE, [case_id, cost, cost, alarm_id])


_SETTLE_EPISODE: Final[LiteralString] = "UPDATE watch_episode SET cost = %s WHERE alarm_id = %s"


async def settle_episode(conn: Connection, alarm_id: str, cost: float) -> None:
    """Write what an alarm's case stands for after a word on it; what it was booked with stays."""
    await conn.execute(_SETTLE_EPISODE, [cost, alarm_id])


_ADD_TO_CELL: Final[LiteralString] = """
INSERT INTO watch_cell AS cell (tenant_id, model, watch, strength, lasting, standing, were_true, were_false, as_of)
VALUES (%(tenant_id)s, %(model)s, %(watch)s, %(strength)s, %(lasting)s, greatest(0, %(standing)s),
        greatest(0, %(were_true)s), greatest(0, %(were_false)s), %(now)s)
ON CONFLICT (tenant_id, model, watch, strength, lasting) DO UPDATE SET
    standing = greatest(0, cell.standing * faded.share + %(standing)s),
    were_true = greatest(0, cell.were_true * faded.share + %(were_true)s),
    were_false = greatest(0, cell.were_false * faded.share + %(were_false)s),
    as_of = greatest(cell.as_of, excluded.as_of)
"""
_FADED: Final[LiteralString] = (
    "power(2, -greatest(0, extract(epoch FROM %(now)s - cell.as_of))::double precision / %(half)s)"
)


async def add_to_cell(conn: Connection, key: WatchKey, change: Cell, now_s: float, half_s: float) -> None:
    """Add weights, which may be negative, to a cell as it stands now."""
    values = {
        "tenant_id": key.tenant_id,
        "model": key.model,
        "watch": key.watch,
        "strength": change.strength,
        "lasting": change.lasting,
        "standing": change.standing,
        "were_true": change.right,
        "were_false": change.wrong,
        "now": to_datetime(now_s),
        "half": half_s,
    }
    await conn.execute(_ADD_TO_CELL.replace("faded.share", _FADED), values)


_CELLS_OF: Final[LiteralString] = """
SELECT cell.*, power(2, -greatest(0, extract(epoch FROM %(now)s - cell.as_of))::double precision / %(half)s) AS share
  FROM watch_cell cell
 WHERE (tenant_id, model, watch) IN (
       SELECT * FROM unnest(%(tenants)s::text[], %(models)s::text[], %(watches)s::text[]))
"""


async def cells_of(
    conn: Connection, keys: Sequence[WatchKey], now_s: float, half_s: float
) -> dict[WatchKey, list[Cell]]:
    """The score histories of some watches, as they stand now."""
    values = {
        "now": to_datetime(now_s),
        "half": half_s,
        "tenants": [key.tenant_id for key in keys],
        "models": [key.model for key in keys],
        "watches": [key.watch for key in keys],
    }
    found: dict[WatchKey, list[Cell]] = {key: [] for key in keys}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_CELLS_OF, values)
        async for row in cursor:
            weights = (row[name] * row["share"] for name in ("standing", "were_true", "were_false"))
            key = WatchKey(row["tenant_id"], row["model"], row["watch"])
            found[key].append(Cell(row["strength"], row["lasting"], *weights))
    return found


_OUTCOMES: Final[LiteralString] = """
SELECT coalesce(sum(weight) FILTER (WHERE verdict = 'true'), 0) AS were_true,
       coalesce(sum(weight) FILTER (WHERE verdict = 'false'), 0) AS were_false
  FROM watch_episode e
 WHERE (tenant_id, model, watch) = (%s, %s, %s) AND verdict IS NOT NULL AND verdict_at > %s
   AND NOT EXISTS (SELECT FROM watch_trust t
                    WHERE (t.tenant_id, t.model, t.watch) = (e.tenant_id, e.model, e.watch)
                      AND e.placed_at < t.changed_at)
"""


async def outcomes_since(conn: Connection, key: WatchKey, since_s: float) -> tuple[float, float]:
    """A watch's true and false outcomes after a moment; weak evidence counts in part."""
    row = await (await conn.execute(_OUTCOMES, [*key.values(), to_datetime(since_s)])).fetchone()
    assert row is not None  # an aggregate
    return float(row[0]), float(row[1])
