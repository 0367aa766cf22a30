"""Products of a model that has no profile are the automatic profile's, wherever trust asks for them."""

from collections.abc import AsyncIterator

import pytest
import structlog

from crm_sync.inbox import AlarmNotice
from crm_sync.keeping import Keeper
from crm_sync.trust import queries
from crm_sync.trust.models import trusted_model
from crm_sync.trust.queries import ModeSet, WatchKey
from crm_sync.trust.rules import TrustRules
from devices.profiles import load_profiles
from devices.profiles.model import WatchMode
from gateway.authority import Authority, Grant
from gateway.cohorts.layer import DIPS, FleetLayer
from gateway.cohorts.queries import count_devices, read_states
from gateway.cohorts.settings import FleetSettings
from gateway.cohorts.state import decode_dips
from gateway.cohorts.turn import Now
from tests.services.case_world import DAY, NOON, CaseWorld, notice, open_world

USAGE = WatchKey("default", "automatic", "usage-drop")


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    """A coffee machine, and five products that an import named: three on the device, two on the asset alone."""
    async with open_world(plain_database_url) as opened:
        opened.trust = TrustRules()
        for number in range(1, 6):
            await opened.own(f"x9-{number}", f"own-{number}")
        async with opened.pool.connection() as conn:
            await conn.execute("UPDATE asset SET model = 'X9' WHERE device_id LIKE 'x9-%'")
            await conn.execute("UPDATE device SET model = 'X9' WHERE device_id LIKE 'x9-%'")
            await conn.execute("UPDATE device SET model = NULL WHERE device_id IN ('x9-4', 'x9-5')")
        yield opened


async def keep(world: CaseWorld) -> None:
    await Keeper(world.desk, world.pool, world.clock, "default", structlog.get_logger()).keep()


def used_less(device_id: str = "x9-1") -> AlarmNotice:
    """A generic watch of the automatic profile says that a product is used less."""
    return notice(device_id=device_id, watch="usage-drop-cups", kind="usage_drop", metric="cups", problem="usage")


def test_a_model_without_a_profile_is_the_automatic_ones() -> None:
    profiles = load_profiles()
    assert [trusted_model(profiles, model) for model in ("coffee-machine", "X9", "automatic", None)] == [
        "coffee-machine",
        "automatic",
        "automatic",
        "automatic",
    ]


async def test_their_device_days_count_for_the_automatic_watches(world: CaseWorld) -> None:
    await keep(world)
    await world.happens(used_less())
    (episode,) = await world.rows("SELECT model, watch FROM watch_episode")
    assert episode == {"model": "automatic", "watch": "usage-drop"}
    for _ in range(2):
        world.clock.at_s += DAY
        await keep(world)
    async with world.pool.connection() as conn:
        automatic = await queries.find_standing(conn, USAGE)
        own = await queries.find_standing(conn, WatchKey("default", "coffee-machine", "pump-weak"))
    assert automatic is not None
    assert own is not None
    assert (automatic.devices, own.devices) == (5, 1)
    assert automatic.device_days > 5
    (budget,) = await world.rows("SELECT devices FROM trust_budget")
    assert budget["devices"] == 6


async def test_who_only_speaks_for_others_counts_as_no_device(world: CaseWorld) -> None:
    for device_id in ("hub-1", "hub_1", "hubx1", "cm-hub"):
        await world.own(device_id, "own-1")
    async with world.pool.connection() as conn:
        await conn.execute("UPDATE device SET model = NULL WHERE device_id LIKE 'hub%'")
        await conn.execute("UPDATE asset SET model = NULL WHERE device_id LIKE 'hub%'")
    world.trust = TrustRules(edge_nodes=("hub-*", "hub_1", "*-hub", "x9-1"))  # of which two have a model
    await keep(world)
    (budget,) = await world.rows("SELECT devices FROM trust_budget")
    assert budget["devices"] == 6 + 2  # hubx1 and cm-hub
    async with world.pool.connection() as conn:
        counted = await count_devices(conn, "default", ("hub-*", "hub_1", "*-hub", "x9-1"))
        everybody = await count_devices(conn, "default", ())
    assert sum(counted.values()) == 8
    assert sum(everybody.values()) == 10


async def test_a_dip_is_measured_by_devices_without_edge_nodes(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        for edge_nodes in ((), ("x9-4", "x9-5")):
            layer = FleetLayer(FleetSettings(), "default", load_profiles(), edge_nodes)
            await conn.execute("UPDATE asset SET model = NULL WHERE device_id IN ('x9-4', 'x9-5')")
            await layer.look(conn, Now(NOON, NOON))
            dips = decode_dips((await read_states(conn))["default", DIPS])
            assert dips.scopes["*"].size == 6 - len(edge_nodes)


def test_who_may_speak_for_others_is_known_by_its_pattern() -> None:
    granted = Authority([Grant("edge-*", ("{gateway}-*",)), Grant("*", ("{gateway}-*",)), Grant("hub", ("pump-7",))])
    assert granted.edge_nodes == ("edge-*", "hub")


@pytest.mark.parametrize(("mode", "signs"), [(WatchMode.SHADOW, 0), (WatchMode.AUTO, 1)])
async def test_nothing_is_concluded_from_their_alarms_in_shadow(world: CaseWorld, mode: WatchMode, signs: int) -> None:
    layer = FleetLayer(FleetSettings(), "default", load_profiles())
    async with world.pool.connection() as conn:
        await queries.add_watches(conn, {USAGE: WatchMode.AUTO}, NOON)
        await queries.set_mode(conn, USAGE, ModeSet(mode, "person:ada", "to try it"), NOON)
        await layer.take_in(conn, [used_less()], Now(NOON, NOON))
    assert len(await world.rows("SELECT * FROM dip_sign")) == signs
