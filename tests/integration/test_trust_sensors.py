"""A metric that is no longer heard of, and a value that stands still, are two watches of a device without a profile."""

from collections.abc import AsyncIterator

import psycopg
import pytest
import structlog

from crm_sync.inbox import AlarmNotice
from crm_sync.keeping import Keeper
from crm_sync.trust import queries
from crm_sync.trust.queries import WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.settings import BudgetSettings
from gateway.database.migrate import migrate, read_migrations
from tests.services.case_world import CaseWorld, notice, open_world

STUCK = WatchKey("default", "automatic", "stuck")
SENSORS = WatchKey("default", "automatic", "sensors")
BEFORE = {"devices": 5, "crm_sync": 30, "gateway": 15}
"""The newest migrations of when they were one."""


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    """Ten products without a profile, and as much room for cases as they may want."""
    async with open_world(plain_database_url) as opened:
        opened.trust = TrustRules(BudgetSettings(small_fleet=0, learning_cases=100.0))
        for number in range(10):
            await opened.own(f"x9-{number}", f"own-{number}")
        async with opened.pool.connection() as conn:
            await conn.execute("UPDATE asset SET model = NULL WHERE device_id LIKE 'x9-%'")
            await conn.execute("UPDATE device SET model = NULL WHERE device_id LIKE 'x9-%'")
        await keep(opened)
        yield opened


async def keep(world: CaseWorld) -> None:
    await Keeper(world.desk, world.pool, world.clock, "default", structlog.get_logger()).keep()


def gone(number: int, at_s: float) -> AlarmNotice:
    """Nothing is heard of one metric where others go on."""
    names = {"watch": "sensors", "problem": "sensor", "metric": None}
    return notice(device_id=f"x9-{number}", kind="stuck", severity="minor", score=0.6, at_s=at_s, **names)


def still(number: int, at_s: float) -> AlarmNotice:
    """A value no longer changes."""
    names = {"watch": "stuck-heart-rate", "problem": "heart-rate", "metric": "heart_rate"}
    return notice(device_id=f"x9-{number}", kind="stuck", severity="minor", score=0.6, at_s=at_s, **names)


async def test_what_was_wrong_of_missing_metrics_is_not_held_against_values_that_stand_still(world: CaseWorld) -> None:
    for number in range(3):
        await world.happens(gone(number, world.clock.at_s))
        await world.deliver()
        await world.call_back(status="resolved", outcome="false")
        world.clock.at_s += 60
        await keep(world)
    await world.happens(gone(8, world.clock.at_s))
    await world.happens(still(9, world.clock.at_s))
    asked = await world.rows(
        "SELECT device_id, outcome, inputs -> 'alike' ->> 'wrong' AS wrong FROM decision"
        " WHERE gate = 'budget' AND device_id IN ('x9-8', 'x9-9') ORDER BY device_id"
    )
    assert [(each["device_id"], each["outcome"]) for each in asked] == [("x9-8", "refuse"), ("x9-9", "allow")]
    assert (float(asked[0]["wrong"]) > 0, float(asked[1]["wrong"])) == (True, 0.0)
    episodes = await world.rows("SELECT watch, count(*) FROM watch_episode GROUP BY 1 ORDER BY 1")
    assert [(each["watch"], each["count"]) for each in episodes] == [("sensors", 4), ("stuck", 1)]


FILL = """
INSERT INTO watch_trust (tenant_id, model, watch, mode, mode_since, held, bar, bar_at, device_days, devices, counted_at)
VALUES ('default', 'automatic', 'stuck', 'approve', '2026-02-01Z', true, 0.1, '2026-03-01Z', 500, 50, '2026-03-01Z'),
       ('default', 'automatic', 'sensors', 'auto', '2026-01-01Z', false, 0, '2026-01-01Z', 500, 50, '2026-03-01Z');
INSERT INTO case_alarm (tenant_id, alarm_id, asset_id, device_id, watch, kind, problem, severity, state, started_at,
                        decided_ts, explanation, heard_at, updated_at)
SELECT 'default', name, 'a-1', 'x9-1', watch, 'stuck', 'sensor', 'minor', 'active', 'epoch',
       'epoch', '{}', 'epoch', 'epoch'
  FROM (VALUES ('gone-1', 'sensors'), ('gone-2', 'sensors'), ('still-1', 'stuck-heart-rate')) AS a (name, watch);
INSERT INTO watch_episode (alarm_id, tenant_id, model, watch, score, strength, lasting, placed_at, verdict, weight)
VALUES ('gone-1', 'default', 'automatic', 'stuck', 0.5, 4, 10, '2026-03-01Z', 'false', 1),
       ('gone-2', 'default', 'automatic', 'stuck', 0.5, 4, 10, '2025-12-01Z', NULL, 0),
       ('still-1', 'default', 'automatic', 'stuck', 0.9, 13, 12, '2026-03-01Z', NULL, 0);
INSERT INTO watch_cell VALUES ('default', 'automatic', 'stuck', 4, 10, 0.5, 0, 1, '2026-03-01Z'),
                              ('default', 'automatic', 'stuck', 13, 12, 1, 0, 0, '2026-03-01Z');
"""


async def test_what_both_have_shown_is_told_apart_by_an_upgrade(empty_database_url: str) -> None:
    known = read_migrations()
    await migrate(empty_database_url, [each for each in known if each.version <= BEFORE[each.package]])
    async with await psycopg.AsyncConnection.connect(empty_database_url) as conn:
        await conn.execute(FILL.encode())
    await migrate(empty_database_url, known)
    async with await psycopg.AsyncConnection.connect(empty_database_url) as conn:
        cells = await conn.execute(
            "SELECT watch, strength, standing, were_true, were_false FROM watch_cell ORDER BY watch, strength"
        )
        assert await cells.fetchall() == [("sensors", 4, 0.5, 0, 1), ("stuck", 13, 1, 0, 0)]
        stuck, sensors = await queries.find_standing(conn, STUCK), await queries.find_standing(conn, SENSORS)
    assert stuck is not None
    assert sensors is not None
    assert (stuck.bar, stuck.held, str(stuck.mode)) == (0.0, True, "approve")
    assert (sensors.bar, sensors.held, str(sensors.mode)) == (0.1, True, "approve")
