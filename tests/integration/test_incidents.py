"""Many devices at once are one incident and one major case: a bad firmware, a dip of the fleet; until it is over."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from click.testing import CliRunner

from crm_sync.holds import release_due
from gateway.cli.incidents import incidents
from gateway.cohorts.settings import FleetSettings
from gateway.cohorts.shown import count_incidents, list_incidents, list_members
from gateway.detect.model import AlarmChange, Events, Samples
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.recorder import HIGH, RecordingEngine
from tests.ingest.rig import NOW_S, Rig, crash, reading
from tests.services.case_world import CaseWorld, open_world

DAY_S, HOUR_S = 86_400.0, 3600.0
LOW = 10.0
INCIDENTS = "SELECT kind, model, firmware, region, problems, state FROM incident ORDER BY number"


class HealingEngine(RecordingEngine):
    """Raises an alarm where a value is high, and clears it where it is low."""

    def __init__(self) -> None:
        super().__init__()
        self.hot: dict[tuple[str, str], AlarmChange] = {}

    def judge(self, samples: Sequence[Samples], events: Events | None = None) -> list[AlarmChange]:
        """Raise and clear."""
        changes = {(each.device_id, each.watch): each for each in super().judge(samples, events)}
        raised = [each for key, each in changes.items() if key not in self.hot]
        self.hot |= {(each.device_id, each.watch): each for each in raised}
        calm = {
            some.device_ids[int(device)]
            for some in samples
            for device, values in zip(some.device, some.values, strict=True)
            if (values < LOW).any()
        }
        over = [key for key in self.hot if key[0] in calm]
        cleared = [replace(self.hot.pop(key), event="cleared") for key in over]
        return raised + cleared

    def due(self, alive_s: float, now_s: float) -> list[AlarmChange]:
        """A silence is over like anything else."""
        changes = super().due(alive_s, now_s)
        self.hot |= {(each.device_id, each.watch): each for each in changes}
        return changes


@asynccontextmanager
async def fleet(url: str, *, kettles: int = 120, toasters: int = 0, hold: float = HOUR_S) -> AsyncGenerator["Fleet"]:
    async with open_world(url) as world:
        yield Fleet(url, world, kettles, toasters, hold)


class Fleet:
    """Devices of one model or two behind a pipeline, and the CRM side that hears of them."""

    def __init__(self, url: str, world: CaseWorld, kettles: int, toasters: int, hold: float) -> None:
        self.url, self.world = url, world
        self.kettles = [f"k{number:03d}" for number in range(kettles)]
        self.toasters = [f"t{number:03d}" for number in range(toasters)]
        self.settings = PipelineSettings(
            batch=BatchSettings(max_readings=1000, max_age=0.0),
            ingest=IngestSettings(outage_grace=0.0),
            fleet=FleetSettings(smallest=20, hold=hold),
        )
        self.at_s, self.is_open = 0.0, True
        self.rig = self._rig()

    def _rig(self) -> Rig:
        devices: dict[str, str | None] = dict.fromkeys(self.kettles, "kettle") | dict.fromkeys(self.toasters)
        rig = Rig(self.url, HealingEngine(), self.settings, devices=devices, doors_healthy=lambda: self.is_open)
        rig.clock.at_s = NOW_S + self.at_s
        return rig

    def begin_anew(self) -> None:
        """A gateway that knows only what the database knows."""
        self.rig = self._rig()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The pipeline at work."""
        async with self.rig.running():
            yield

    async def tell(self, devices: Iterable[str], firmware: str, celsius: float = 50.0) -> None:
        """Every device sends a reading, now."""
        readings = {"firmware": firmware, **reading(self.at_s, celsius=celsius)}
        await self.rig.send(*(self.rig.packet(device, readings) for device in devices))
        await self.work()

    async def work(self) -> None:
        """Let the CRM side work what there is."""
        self.world.clock.at_s = NOW_S + self.at_s
        await self.world.work()

    def later(self, seconds: float) -> None:
        """Let the gateway's clock go on."""
        self.at_s += seconds
        self.rig.clock.at_s = NOW_S + self.at_s

    async def pass_time(self, seconds: float) -> None:
        """Let the gateway's clock go on, and what is due be done."""
        self.later(seconds)
        before = self.rig.pipeline.stats.housekeepings
        await self.rig.until(lambda: self.rig.pipeline.stats.housekeepings > before + 1)
        self.world.clock.at_s = NOW_S + self.at_s
        async with self.world.pool.connection() as conn, conn.transaction():
            await release_due(conn, NOW_S + self.at_s)
        await self.work()

    async def cases(self, *, major: bool) -> list[dict[str, object]]:
        """Major cases, or all others."""
        return [case for case in await self.world.cases() if str(case["asset_id"]).startswith("inc_") == major]


async def roll_out(world: Fleet, share: int) -> None:
    """All run 1.0 for two weeks, and then some get 2.0."""
    await world.tell(world.kettles, "1.0")
    world.later(14 * DAY_S)
    await world.tell(world.kettles[:share], "2.0")
    world.later(60.0)


async def fall_ill(world: Fleet, *groups: Sequence[str], firmware: str = "2.0") -> None:
    """Devices become too hot, group after group, a minute apart."""
    for group in groups:
        world.later(60.0)
        await world.tell(group, firmware, HIGH + 1)


async def test_a_bad_firmware_is_one_major_case_whose_members_open_none(database_url: str) -> None:
    async with fleet(database_url) as world, world.running():
        await roll_out(world, 60)
        await fall_ill(world, *([device] for device in world.kettles[:10]), world.kettles[10:40])
        assert await world.rig.rows(INCIDENTS) == [("bad_firmware", "kettle", "2.0", None, ["heat"], "open")]
        assert await world.rig.rows("SELECT count(*) FROM incident_member") == [(40,)]
        (major,) = await world.cases(major=True)
        assert (major["state"], major["team"], major["severity"]) == ("open", "quality", "major")
        assert major["title"] == "kettle: firmware 2.0 brings trouble: heat"
        children = await world.cases(major=False)
        assert len(children) == 1  # the first one, before anybody could suspect the firmware
        assert (children[0]["parent_id"], children[0]["state"]) == (major["case_id"], "open")
        told = [each["data"] | {"type": each["type"]} for each in await world.world.messages()]
        assert [(each["type"], each["change"]) for each in told][:3] == [
            ("case.opened", "opened"),
            ("case.opened", "opened"),
            ("case.updated", "joined_major_case"),
        ]
        assert (told[1]["major"], told[1]["cohort"]["firmware"]) == (True, "2.0")
        assert (told[2]["parent"], told[2]["asset"]["model"]) == (major["case_id"], "kettle")
        assert {each["change"] for each in told[3:]} <= {"more_devices"}
        assert len(told) < 8
        assert [each["members"]["devices"] for each in told if "members" in each] == [5, 10, 20, 40]


async def test_people_and_programs_are_shown_what_there_is(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await roll_out(world, 60)
        await fall_ill(world, *([device] for device in world.kettles[:8]))
        async with await world.rig.connect() as conn:
            (incident,) = await list_incidents(conn, "default", state="open")
            members = await list_members(conn, "default", incident.incident_id, limit=3)
            rest = await list_members(conn, "default", incident.incident_id, after=members[-1].alarm_id)
            totals = await count_incidents(conn, "default")
        (major,) = await world.cases(major=True)
        assert (incident.devices, incident.alarms, incident.alarms_going_on, incident.child_cases) == (8, 8, 8, 1)
        assert (incident.case_id, incident.number) == (major["case_id"], 1)
        assert len({each.device_id for each in [*members, *rest]}) == 8
        assert (totals.in_state("open"), totals.in_state("ended"), totals.absorbed, totals.held) == (1, 0, 7, 0)
        settings = {"CARELOOP_DATABASE__URL": plain_database_url}
        listed = await asyncio.to_thread(CliRunner(env=settings).invoke, incidents, ["list"])
        assert "Kettle: firmware 2.0 brings trouble: heat" in listed.output
        shown = await asyncio.to_thread(
            CliRunner(env=settings).invoke, incidents, ["show", incident.incident_id, "--json"]
        )
        assert json.loads(shown.output)["members"][0]["problem"] == "heat"
        unknown = await asyncio.to_thread(CliRunner(env=settings).invoke, incidents, ["show", "inc_nothing"])
        assert "there is no incident inc_nothing" in str(unknown.exception)


async def test_a_crash_in_the_middle_changes_nothing(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world:
        await world.rig.prepare()
        for part in (range(3), range(3, 6), range(6, 30)):
            task = asyncio.create_task(world.rig.pipeline.run())
            await world.rig.until(lambda: world.rig.pipeline.healthy, task)
            if part.start == 0:
                await roll_out(world, 60)
            await fall_ill(world, *([world.kettles[number]] for number in part))
            await crash(world.rig, task)
            world.begin_anew()
        assert await world.rig.rows(INCIDENTS) == [("bad_firmware", "kettle", "2.0", None, ["heat"], "open")]
        assert await world.rig.rows("SELECT count(*) FROM incident_member") == [(30,)]
        assert len(await world.cases(major=True)) == 1
        assert len(await world.cases(major=False)) == 1


async def test_a_firmware_that_everybody_has_is_compared_with_the_time_before(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await roll_out(world, 120)
        await fall_ill(world, world.kettles[:4], world.kettles[4:40])
        assert await world.rig.rows(INCIDENTS) == [("bad_firmware", "kettle", "2.0", None, ["heat"], "open")]
        ((says,),) = await world.rig.rows("SELECT says FROM incident")
        assert "Nobody is left without it to compare with" in says


async def test_a_firmware_that_is_no_worse_is_nobodys_incident(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await roll_out(world, 60)
        for number in range(0, 12, 2):
            await fall_ill(world, world.kettles[60 + number : 62 + number], firmware="1.0")
            await fall_ill(world, world.kettles[number : number + 2])
        assert await world.rig.rows(INCIDENTS) == []
        assert len(await world.cases(major=False)) == 24


async def test_nothing_is_concluded_from_a_watch_that_is_only_being_tried(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await world.world.rows(
            "INSERT INTO watch_trust (tenant_id, model, watch, mode, mode_since, bar_at, counted_at)"
            " VALUES ('default', 'kettle', 'celsius-high', 'shadow', now(), now(), now()) RETURNING watch"
        )
        await roll_out(world, 60)
        await fall_ill(world, world.kettles[:40])
        assert await world.rig.rows(INCIDENTS) == []


async def test_who_waited_for_the_cohort_gets_a_case_when_nothing_comes_of_it(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await roll_out(world, 60)
        await fall_ill(world, *([device] for device in world.kettles[:3]))
        assert len(await world.cases(major=False)) == 1
        gates = await world.rig.rows("SELECT gate, outcome, reason FROM decision WHERE outcome = 'hold'")
        assert gates == [("cohort", "hold", "cohort_suspected")] * 2
        world.later(60.0)
        await world.tell(world.kettles[2:3], "2.0", LOW - 5)  # recovers while it waits
        await world.pass_time(2 * HOUR_S)
        assert len(await world.cases(major=False)) == 2


async def test_who_waits_no_more_just_as_the_incident_is_told_is_its_member(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await roll_out(world, 60)
        await fall_ill(world, *([device] for device in world.kettles[:3]))
        world.later(60.0)
        ill = {"firmware": "2.0", **reading(world.at_s, celsius=HIGH + 1)}
        await world.rig.send(*(world.rig.packet(device, ill) for device in world.kettles[3:40]))
        assert [row[-1] for row in await world.rig.rows(INCIDENTS)] == ["open"]  # and its notice waits to be worked
        world.later(2 * HOUR_S)
        async with world.world.pool.connection() as conn, conn.transaction():
            assert await release_due(conn, NOW_S + world.at_s) == 2
        await world.work()
        ((parent,),) = await world.rig.rows(
            "SELECT DISTINCT parent_id IS NOT NULL FROM service_case WHERE device_id ^@ 'k'"
        )
        assert parent
        assert (len(await world.cases(major=True)), len(await world.cases(major=False))) == (1, 1)
        assert await world.rig.rows("SELECT DISTINCT suppressed FROM case_alarm WHERE case_id IS NULL") == [
            ("incident",)
        ]


async def test_when_it_is_over_the_major_case_is_resolved_and_who_is_left_gets_a_case(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await roll_out(world, 60)
        await fall_ill(world, *([device] for device in world.kettles[:10]), world.kettles[10:40])
        world.later(60.0)
        await world.tell(world.kettles[1:20], "2.1", LOW - 5)
        await world.pass_time(2 * DAY_S)
        assert [case["state"] for case in await world.cases(major=True)] == ["open"]  # half of them are ill still
        await world.tell(world.kettles[20:39], "2.1", LOW - 5)
        await world.pass_time(2 * DAY_S)
        await world.rig.until_rows("SELECT state FROM incident", [("ended",)])
        await world.work()
        (major,) = await world.cases(major=True)
        assert (major["state"], major["resolution"]) == ("resolved", "recovered_in_telemetry")
        await world.pass_time(1.0)
        child, left = await world.cases(major=False)
        assert (child["device_id"], child["state"]) == ("k000", "open")  # ill still: its own telemetry ends it
        assert (left["device_id"], left["state"], left["parent_id"]) == ("k039", "open", None)
        farewell = (await world.world.messages())[-2]
        assert (farewell["type"], farewell["data"]["major"]) == ("case.resolved", True)


async def test_a_fleet_that_falls_silent_at_once_is_one_incident_without_members_cases(plain_database_url: str) -> None:
    async with fleet(plain_database_url, toasters=60) as world, world.running():
        world.rig.recorder.silent_after_s = 6 * HOUR_S
        await world.tell(world.kettles, "1.0")
        await world.tell(world.toasters, "1.0")
        await world.pass_time(5 * HOUR_S)
        await world.tell(world.kettles[:5], "1.0")  # a few are spared
        await world.pass_time(2 * HOUR_S)
        await world.rig.until_rows("SELECT count(*) FROM alarm", [(175,)])
        await world.work()
        assert await world.rig.rows(INCIDENTS) == [("fleet_dip", None, None, None, ["fleet_dip"], "open")]
        assert len(await world.cases(major=True)) == 1
        assert await world.cases(major=False) == []
        assert await world.world.types() == ["case.opened"]
        # It returns.
        world.rig.recorder.silent_after_s = 900 * DAY_S
        await world.tell([*world.kettles, *world.toasters], "1.0", LOW - 5)
        await world.pass_time(2 * DAY_S)
        await world.rig.until_rows("SELECT state FROM incident", [("ended",)])
        await world.work()
        assert await world.world.types() == ["case.opened", "case.resolved"]


async def test_a_dip_that_reaches_one_model_after_the_other_is_one_incident(plain_database_url: str) -> None:
    async with fleet(plain_database_url, toasters=60) as world, world.running():
        world.rig.recorder.silent_after_s = 6 * HOUR_S
        await world.tell(world.kettles, "1.0")
        await world.pass_time(4 * HOUR_S)
        await world.tell(world.toasters, "1.0")
        await world.pass_time(3 * HOUR_S)
        await world.rig.until_rows(INCIDENTS, [("fleet_dip", "kettle", None, None, ["fleet_dip"], "open")])
        await world.pass_time(4 * HOUR_S)
        await world.rig.until_rows(INCIDENTS, [("fleet_dip", None, None, None, ["fleet_dip"], "open")])
        await world.rig.until_rows("SELECT count(*) FROM incident_member", [(180,)])
        await world.work()
        changes = [each["data"]["change"] for each in await world.world.messages()]
        assert changes == ["opened", "widened"]
        assert (len(await world.cases(major=True)), await world.cases(major=False)) == (1, [])


async def test_an_outage_of_ours_is_nobodys_dip(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        world.rig.recorder.silent_after_s = 6 * HOUR_S
        await world.tell(world.kettles, "1.0")
        world.is_open = False
        await world.pass_time(5 * HOUR_S)
        await world.pass_time(5 * HOUR_S)
        world.is_open = True
        await world.pass_time(60.0)
        assert await world.rig.rows("SELECT count(*) FROM alarm") == [(0,)]
        assert await world.rig.rows(INCIDENTS) == []
