"""A history that was lived, judged again: as it was, and as it would have been."""

from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import AsyncConnection

from crm_sync.cases.desk import Desk
from crm_sync.trust.rules import TrustRules
from devices.clock import to_datetime
from devices.profiles import load_profiles
from devices.registry.entries import enter
from devices.registry.passwords import remove_device
from devices.registry.records import DeviceRecord, OwnerRecord
from gateway.backtest.apart import crm_tables, set_apart, set_moment
from gateway.backtest.compare import compare
from gateway.backtest.proposal import propose_watches
from gateway.backtest.run import Plan, Report, run_backtest
from gateway.detect.settings import DetectSettings
from gateway.store.history import TimeBase, Wanted
from tests.backtest.lived import (
    BEGIN_S,
    BOILER,
    DAYS,
    HOT_DAY,
    HOUR_S,
    SILENT_DAY,
    crm_settings,
    live,
    profiles_in,
    register,
)
from tests.ingest.rig import Rig

CHANGED = """
model = "boiler"
[[watches]]
name = "too-hot"
detector = "threshold"
metric = "celsius"
problem = "overheating"
severity = "major"
parameters = { above = 80.0 }
"""

MENDS_ITSELF = """
[commands.cool_down]
description = "Stop heating for a while."
expires_after = "1d"
[[playbooks]]
problem = "overheating"
title = "The boiler runs too hot"
actions = [{ kind = "command", command = "cool_down", verify_within = "%s" }, { kind = "agent_case" }]
"""

ALARM: LiteralString = (
    "(tenant_id, device_id, alarm_id, event, notice, recorded_at) VALUES ('default', 'd', 'a', 'raised', '{}', now())"
)


def plan_of(url: str, folder: Path, base: TimeBase = TimeBase.RECEIVED, *, changed: bool = True) -> Plan:
    """The last eight of the ten days."""
    profiles = profiles_in(folder)
    (folder / "changed").mkdir(exist_ok=True)
    path = folder / "changed" / "watches.toml"
    path.write_text(CHANGED)
    since_s, until_s = BEGIN_S + 48 * HOUR_S, BEGIN_S + (DAYS * 24 + 1) * HOUR_S
    return Plan(
        url=url,
        tenant_id="default",
        wanted=Wanted(round(since_s * 1e6), round(until_s * 1e6), base),
        warm_up_us=round(28 * 86_400 * 1e6),
        desk=Desk(crm_settings(), profiles, TrustRules()),
        detect=DetectSettings(),
        proposed=propose_watches(profiles, path).profiles if changed else None,
    )


async def backtest(plan: Plan) -> Report:
    """Run it."""
    told: list[tuple[int, int]] = []
    report = await run_backtest(plan, lambda done, total: told.append((done, total)))
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == report.readings
    return report


async def test_a_history_judged_again_as_it_was_comes_to_what_happened(database_url: str, tmp_path: Path) -> None:
    await live(database_url, tmp_path)
    report = await backtest(plan_of(database_url, tmp_path))
    assert report.devices == 4
    assert [(alarm.device_id, alarm.watch) for alarm in report.happened.alarms] == [
        ("b1", "too-hot"),
        ("b3", "silence"),
    ]
    found = compare(report.happened, report.installed)
    assert (len(found.alarms.same), found.alarms.new, found.alarms.gone) == (2, [], [])
    assert (len(found.cases.same), found.cases.new, found.cases.gone) == (2, [], [])
    assert report.installed.refusals == report.happened.refusals
    assert all(abs(then.raised_at_s - now.raised_at_s) < 86_400 for then, now in found.alarms.same)

    assert report.proposed is not None
    change = compare(report.installed, report.proposed)
    assert [(alarm.device_id, alarm.watch) for alarm in change.alarms.new] == [("b2", "too-hot")]
    assert [(case.asset_id, case.problem, case.state) for case in change.cases.new] == [
        ("b2", "overheating", "resolved")
    ]
    assert (change.alarms.gone, change.cases.gone) == ([], [])
    assert [(contact.channel, contact.people) for contact in report.proposed.contacts] == [("email", 1)]
    assert report.installed.contacts == []


@pytest.mark.parametrize(("within", "ending"), [("1d", "fixed_silently"), ("2h", "recovered_in_telemetry")])
async def test_a_product_is_told_to_mend_itself_in_a_backtest_only(
    plain_database_url: str, tmp_path: Path, within: str, ending: str
) -> None:
    """It was hot for half a day: whether a command would have helped is seen in what it sent then."""
    await live(plain_database_url, tmp_path)
    plan = plan_of(plain_database_url, tmp_path, changed=False)
    (tmp_path / "boiler.toml").write_text(BOILER[: BOILER.index("[[playbooks]]")] + MENDS_ITSELF % within)
    report = await backtest(replace(plan, desk=replace(plan.desk, profiles=load_profiles([tmp_path]))))
    assert report.installed.failed_notices == 0
    (hot,) = [case for case in report.installed.cases if case.problem == "overheating"]
    assert (hot.asset_id, hot.state, hot.resolution) == ("b1", "resolved", ending)
    assert [case.resolution for case in report.happened.cases if case.problem == "overheating"] != ["fixed_silently"]
    async with await AsyncConnection.connect(plain_database_url) as conn:
        assert await (await conn.execute("SELECT count(*) FROM device_command")).fetchone() == (0,)


async def test_a_fix_of_which_nothing_can_be_learnt_does_not_hold_a_backtest_up(
    plain_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look at it came again at the same moment of history, for ever."""

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("not to be followed")

    monkeypatch.setattr("crm_sync.following._fail", fail)
    await live(plain_database_url, tmp_path)
    plan = plan_of(plain_database_url, tmp_path, changed=False)
    (tmp_path / "boiler.toml").write_text(BOILER[: BOILER.index("[[playbooks]]")] + MENDS_ITSELF % "2h")
    report = await backtest(replace(plan, desk=replace(plan.desk, profiles=load_profiles([tmp_path]))))
    assert [case.asset_id for case in report.installed.cases if case.problem == "overheating"] == ["b1"]


async def _sell_b1(rig: Rig) -> None:
    """The boiler that overheats gets another owner, and goes on overheating."""
    async with await rig.connect() as conn, conn.transaction():
        sold = DeviceRecord(device_id="b1", owner=OwnerRecord(owner_ref="buyer", time_zone="Europe/Berlin"))
        await enter(conn, [sold], tenant_id="default", source="import", at=to_datetime(rig.clock.at_s))
    await rig.until_rows("SELECT device_id FROM forgotten_device", [("b1",)])


async def _remove_b3(rig: Rig) -> None:
    """The boiler that is silent is taken out of service."""
    async with await rig.connect() as conn, conn.transaction():
        assert await remove_device(conn, "default", "b3", to_datetime(rig.clock.at_s))
    await rig.until_rows("SELECT count(*) FROM forgotten_device", [(2,)])


async def test_a_product_that_changed_hands_or_was_removed_is_judged_as_it_was(
    plain_database_url: str, tmp_path: Path
) -> None:
    await live(plain_database_url, tmp_path, {HOT_DAY * 24 + 6: _sell_b1, SILENT_DAY * 24 + 20: _remove_b3})
    report = await backtest(plan_of(plain_database_url, tmp_path, changed=False))
    told = [(alarm.device_id, alarm.watch, alarm.state) for alarm in report.happened.alarms]
    assert told == [
        ("b1", "too-hot", "retracted"),
        ("b1", "too-hot", "cleared"),
        ("b3", "silence", "retracted"),
    ]
    assert [(alarm.device_id, alarm.watch, alarm.state) for alarm in report.installed.alarms] == told
    found = compare(report.happened, report.installed)
    assert (len(found.alarms.same), found.alarms.new, found.alarms.gone) == (3, [], [])
    cases = [(case.asset_id, case.state, case.resolution) for case in report.happened.cases]
    assert sorted((case.asset_id, case.state, case.resolution) for case in report.installed.cases) == sorted(cases)


async def test_by_device_time_imported_history_comes_to_the_same(plain_database_url: str, tmp_path: Path) -> None:
    await live(plain_database_url, tmp_path)
    async with await AsyncConnection.connect(plain_database_url) as conn:
        await conn.execute("UPDATE reading_boiler SET received_at = now()")
    assert (await backtest(plan_of(plain_database_url, tmp_path))).readings == 0
    report = await backtest(plan_of(plain_database_url, tmp_path, TimeBase.DEVICE))
    found = compare(report.happened, report.installed)
    assert (len(found.alarms.same), found.alarms.new, found.alarms.gone) == (2, [], [])


async def test_nothing_but_what_is_its_own_can_be_written(plain_database_url: str) -> None:
    async with set_apart(plain_database_url, as_of_history=True) as conn:
        await conn.execute(f"INSERT INTO inbox {ALARM}")
        for statement in (
            f"INSERT INTO public.inbox {ALARM}",
            "INSERT INTO tenant (tenant_id, name) VALUES ('x', 'x')",
            "DELETE FROM alarm",
            "SELECT nextval('public.service_case_number_seq')",
        ):
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await conn.execute(statement)
    async with await AsyncConnection.connect(plain_database_url) as conn:
        assert await (await conn.execute("SELECT count(*) FROM inbox")).fetchone() == (0,)


async def test_every_table_of_the_crm_side_is_hidden(plain_database_url: str) -> None:
    async with set_apart(plain_database_url, as_of_history=True) as conn:
        rows = await (
            await conn.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r' ORDER BY 1"
            )
        ).fetchall()
    assert [name for (name,) in rows] == sorted([*crm_tables(), "device_command"])
    assert {"inbox", "service_case", "outbox_message", "held_step", "watch_trust"} <= set(crm_tables())


async def test_grants_and_owners_are_those_of_the_moment(plain_database_url: str, tmp_path: Path) -> None:
    await register(plain_database_url, tmp_path)
    async with set_apart(plain_database_url, as_of_history=True) as conn:
        counts: list[object] = []
        for at_s in (BEGIN_S - 1.0, BEGIN_S + 1.0):
            await set_moment(conn, at_s)
            counts.append(await (await conn.execute("SELECT count(*) FROM ownership WHERE until IS NULL")).fetchone())
    assert counts == [(0,), (4,)]
