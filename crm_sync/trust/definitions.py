"""What watches look for: one that was edited is another watch, and what the one before it earned says nothing of it.

Its outcomes, its bar and its history begin anew; its mode stays, unless the profile names another one than before: that
is the word of whoever edits it. Both are written into its audit trail.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

from crm_sync.trust import queries
from crm_sync.trust.queries import Connection, ModeSet, WatchKey
from devices.clock import to_datetime
from devices.profiles.model import Watch, WatchMode


@dataclass(frozen=True, slots=True)
class Stated:
    """What a profile says of a watch, as far as trust goes by it."""

    mode: WatchMode
    definition: str

    @classmethod
    def by(cls, watch: Watch, *, ours: bool) -> "Stated":
        """What it looks for decides; what it is called, and how grave it is, does not.

        A watch of the automatic profile is `ours`, and stays the same one whatever a new version makes of it.
        """
        if ours:
            return cls(watch.mode, "")
        parts = [watch.detector, watch.metric, watch.event, watch.per, watch.for_, watch.keep_firing_for]
        told = json.dumps([*parts, sorted(watch.parameters.items())])
        return cls(watch.mode, hashlib.blake2b(told.encode(), digest_size=12).hexdigest())


@dataclass(frozen=True, slots=True)
class _Known:
    mode: WatchMode
    held: bool
    definition: str | None
    stated_mode: str | None


async def follow(conn: Connection, stated: Mapping[WatchKey, Stated], now_s: float) -> None:
    """Begin to follow what is new, and begin anew with what was edited."""
    await queries.add_watches(conn, {key: told.mode for key, told in stated.items()}, now_s)
    known = await _read_known(conn, sorted({key.tenant_id for key in stated}))
    for key, told in sorted(stated.items()):
        before = known[key]
        if (before.definition, before.stated_mode) == (told.definition, str(told.mode)):
            continue
        if before.definition is not None and before.definition != told.definition:
            await _begin_anew(conn, key, before, now_s)
        if before.stated_mode is not None and before.stated_mode != told.mode and not before.held:
            why = f"its profile says {told.mode} now, where it said {before.stated_mode}"
            await queries.set_mode(conn, key, ModeSet(told.mode, "profile", why), now_s)
        await conn.execute(STATE, [told.definition, str(told.mode), *key.values()])


READ_KNOWN: Final[LiteralString] = """
SELECT tenant_id, model, watch, mode, held, definition, stated_mode FROM watch_trust WHERE tenant_id = ANY(%s)
"""


async def _read_known(conn: Connection, tenant_ids: list[str]) -> dict[WatchKey, _Known]:
    rows = await (await conn.execute(READ_KNOWN, [tenant_ids])).fetchall()
    return {WatchKey(*row[:3]): _Known(WatchMode(row[3]), *row[4:]) for row in rows}


STATE: Final[LiteralString] = """
UPDATE watch_trust SET definition = %s, stated_mode = %s WHERE (tenant_id, model, watch) = (%s, %s, %s)
"""
BEGIN_ANEW: Final[LiteralString] = """
UPDATE watch_trust SET changed_at = %(now)s, bar = 0, bar_at = %(now)s, device_days = 0
WHERE (tenant_id, model, watch) = (%(tenant_id)s, %(model)s, %(watch)s)
"""
DROP_HISTORY: Final[LiteralString] = "DELETE FROM watch_cell WHERE (tenant_id, model, watch) = (%s, %s, %s)"


async def _begin_anew(conn: Connection, key: WatchKey, before: _Known, now_s: float) -> None:
    values = {"tenant_id": key.tenant_id, "model": key.model, "watch": key.watch, "now": to_datetime(now_s)}
    await conn.execute(BEGIN_ANEW, values)
    await conn.execute(DROP_HISTORY, key.values())
    why = "what it looks for has changed: its outcomes count anew"
    await queries.set_mode(conn, key, ModeSet(before.mode, "profile", why, held=before.held), now_s)
