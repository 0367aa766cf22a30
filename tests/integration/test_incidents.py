"""Many devices at once are one incident and one major case: a bad firmware, a dip of the fleet; until it is over."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from crm_sync.holds import release_due
from devices.registry.queries import register_device
from gateway.cohorts.settings import FleetSettings
from gateway.detect.model import AlarmChange, Samples
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

    def judge(self, samples: Sequence[Samples]) -> list[AlarmChange]:
        changes = {(each.device_id, each.watch): each for each in super().judge(samples)}
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


@asynccontextmanager
async def fleet(url: str, *, kettles: int = 120, toasters: int = 0, hold: float = HOUR_S) -> AsyncIterator["Fleet"]:
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
        self.at_s = 0.0
        self.rig = self._rig()

    def _rig(self) -> Rig:
        devices: dict[str, str | None] = dict.fromkeys(self.kettles, "kettle") | dict.fromkeys(self.toasters)
        rig = Rig(self.url, HealingEngine(), self.settings, devices=devices)
        rig.clock.at_s = NOW_S + self.at_s
        return rig

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.rig = self._rig()
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

    async def pass_time(self, seconds: float) -> None:
        """Let the gateway's clock go on, and what is due be done."""
        self.at_s += seconds
        self.rig.clock.at_s = NOW_S + self.at_s
        before = self.rig.pipeline.stats.housekeepings
        await self.rig.until(lambda: self.rig.pipeline.stats.housekeepings > before + 1)
        self.world.clock.at_s = NOW_S + self.at_s
        async with self.world.pool.connection() as conn, conn.transaction():
            await release_due(conn, NOW_S + self.at_s)
        await self.work()

    async def cases(self, *, major: bool) -> list[dict[str, object]]:
        return [case for case in await self.world.cases() if str(case["asset_id"]).startswith("inc_") == major]


async def roll_out(world: Fleet, share: int) -> None:
    """All run 1.0 for two weeks, and then some get 2.0."""
    await world.tell(world.kettles, "1.0")
    await world.pass_time(14 * DAY_S)
    await world.tell(world.kettles[:share], "2.0")


async def test_a_bad_firmware_is_one_major_case_whose_members_open_none(plain_database_url: str) -> None:
    async with fleet(plain_database_url) as world, world.running():
        await roll_out(world, 60)
        for number in range(40):  # one after the other, as real faults come
            await world.pass_time(60.0)
            await world.tell(world.kettles[number : number + 1], "2.0", HIGH + 1)
        assert await world.rig.rows(INCIDENTS) == [("bad_firmware", "kettle", "2.0", None, ["heat"], "open")]
        ((members,),) = await world.rig.rows("SELECT count(*) FROM incident_member")
        assert members == 40
        (major,) = await world.cases(major=True)
        assert (major["state"], major["team"], major["severity"]) == ("open", "quality", "major")
        assert "40" not in str(major["title"])
        children = await world.cases(major=False)
        assert 1 <= len(children) <= 3
        assert {child["parent_id"] for child in children} == {major["case_id"]}
        assert {child["state"] for child in children} == {"open"}
        opened = [each for each in await world.world.messages() if each["type"] == "case.opened"]
        assert len(opened) == 1 + len(children)
        assert opened[-1]["data"]["major"] is True
        assert opened[-1]["data"]["cohort"]["firmware"] == "2.0"
        joined = [each["data"] for each in await world.world.messages() if each["data"]["change"] == "joined_major_case"]
        assert [each["parent"] for each in joined] == [major["case_id"]] * len(children)
        assert len(await world.world.messages()) < 12
