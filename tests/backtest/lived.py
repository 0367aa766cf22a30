"""A short history that was lived through the real pipeline, detectors and cases, hour by hour on a clock of its own."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from crm_sync.cases.desk import Desk
from crm_sync.inbox_worker import InboxWorker
from crm_sync.settings import CrmSettings
from crm_sync.trust.rules import TrustRules
from devices.clock import to_datetime
from devices.profiles import load_profiles
from devices.profiles.model import Profile
from devices.registry.import_ import import_registry
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from tests.ingest.rig import NOW_S, Rig
from tests.services.case_world import endpoint

HOUR_S: Final = 3600.0
DAYS: Final = 10
BEGIN_S: Final = NOW_S - DAYS * 24 * HOUR_S
HOT_DAY, WARM_DAY, SILENT_DAY = 5, 7, 8
DEVICES: Final = ("b1", "b2", "b3", "b4")

BOILER = """
model = "boiler"
title = "Boiler"
reporting_interval = "1h"
[metrics.celsius]
kind = "gauge"
unit = "Cel"
[[watches]]
name = "too-hot"
detector = "threshold"
metric = "celsius"
problem = "overheating"
severity = "major"
parameters = { above = 90.0 }
[[watches]]
name = "silence"
detector = "silence"
severity = "minor"
parameters = { after = "6h" }
[[playbooks]]
problem = "overheating"
title = "The boiler runs too hot"
actions = [{ kind = "agent_case" }, { kind = "self_help_message", channel = "email", template = "cool-down" }]
"""


def profiles_in(folder: Path) -> Mapping[str, Profile]:
    """The installed profiles, and the boiler's."""
    (folder / "boiler.toml").write_text(BOILER)
    return load_profiles([folder])


def celsius(device: str, hour: int) -> float | None:
    """b1 overheats for half a day, b2 runs a little warm, b3 falls silent; b4 is well."""
    day = hour // 24
    if device == "b3" and day >= SILENT_DAY:
        return None
    if device == "b1" and day == HOT_DAY and hour % 24 < 12:
        return 95.0
    return 85.0 if device == "b2" and day == WARM_DAY and hour % 24 < 12 else 60.0


def crm_settings() -> CrmSettings:
    """One CRM, which nobody calls."""
    return CrmSettings(endpoints=(endpoint(),))


Act = Callable[[Rig], Awaitable[None]]
NO_ACTS: Final[Mapping[int, Act]] = {}


async def live(url: str, folder: Path, acts: Mapping[int, Act] = NO_ACTS) -> None:
    """Live the history: every reading arrives in its hour, silences are judged, and cases are worked.

    `acts` happen before the readings of their hour.
    """
    profiles = profiles_in(folder)
    await register(url, folder)
    settings = PipelineSettings(
        batch=BatchSettings(max_readings=50, max_age=0.0),
        ingest=IngestSettings(outage_grace=0.0, checkpoint_every=3600.0),
    )
    rig = Rig(url, Engine(profiles, DetectSettings()), settings, profiles, devices=dict.fromkeys(DEVICES, "boiler"))
    rig.clock.at_s = BEGIN_S
    desk = Desk(crm_settings(), profiles, TrustRules())
    async with _pool(url) as pool, rig.running():
        worker = InboxWorker(desk, pool, rig.clock, structlog.get_logger(), real_s=lambda: 0.0)
        for hour in range(DAYS * 24):
            rig.clock.at_s = BEGIN_S + hour * HOUR_S
            if hour in acts:
                await acts[hour](rig)
                await worker.work_batch()
            told = {device: celsius(device, hour) for device in DEVICES}
            ts_ms = round(rig.clock.at_s * 1000)
            await rig.send(
                *(
                    rig.packet(device, {"ts": ts_ms, "metrics": {"celsius": value}})
                    for device, value in told.items()
                    if value is not None
                )
            )
            if hour // 24 == SILENT_DAY and hour % 6 == 0:
                await _look_after(rig)  # it looks every so often by the real clock, in which days pass here
            if rig.told_crm:
                rig.told_crm = 0
                await worker.work_batch()
        await _look_after(rig)
        await worker.work_batch()


async def _look_after(rig: Rig) -> None:
    """Wait until the pipeline has looked for silences."""
    looked = rig.pipeline.stats.housekeepings
    await rig.until(lambda: rig.pipeline.stats.housekeepings > looked + 1)


def _pool(url: str) -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
    return AsyncConnectionPool(url, min_size=1, max_size=2, open=False)


async def register(url: str, folder: Path) -> None:
    """Make the boilers known, each with an owner; b1's has not allowed to be written to."""
    listed = [
        {
            "device_id": device,
            "model": "boiler",
            "owner": {"owner_ref": f"person-{device}", "time_zone": "Europe/Berlin"},
            "grants": [{"purpose": "service", "recipient": "email", "state": "given"}] if device != "b1" else [],
        }
        for device in DEVICES
    ]
    path = folder / "registry.json"
    path.write_text(json.dumps({"devices": listed}))
    async with await AsyncConnection.connect(url) as conn:
        await import_registry(conn, path, at=to_datetime(BEGIN_S))
