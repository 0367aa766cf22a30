"""Connections that go dead without a word: nobody waits on them for ever."""

import asyncio
from collections.abc import Iterator
from functools import partial

import psycopg
import pytest
import structlog
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from devices.registry.queries import register_device
from gateway import registry_watch
from gateway.database import patience
from gateway.database.hold import build_pool
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.pipeline.directory import DeviceDirectory
from gateway.registry_watch import watch_registry
from gateway.store import store
from tests.doors.door import listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.paho import PahoDevice
from tests.ingest.rig import Rig, reading
from tests.ledger.wire import Roads, Wire
from tests.services.patience import PATIENCE_S

DEAD = [(True, False), (False, True), (True, True)]
WAYS = ["upwards", "downwards", "both-ways"]


@pytest.fixture
def roads() -> Iterator[Roads]:
    made = Roads()
    yield made
    made.close()


@pytest.fixture
def wire(roads: Roads, plain_database_url: str) -> Iterator[Wire]:
    """A road to the database."""
    made = Wire(roads, int(str(conninfo_to_dict(plain_database_url)["port"])))
    yield made
    made.close()


def through(wire: Wire, url: str) -> str:
    return make_conninfo("", **{**conninfo_to_dict(url), "host": "127.0.0.1", "port": wire.port})


@pytest.mark.parametrize(("up", "down"), DEAD, ids=WAYS)
async def test_a_dead_connection_to_the_database_holds_readings_up_for_a_moment_only(
    plain_database_url: str, wire: Wire, monkeypatch: pytest.MonkeyPatch, *, up: bool, down: bool
) -> None:
    """It used to be two minutes, and then for ever, in the question to the other dead connection."""
    monkeypatch.setattr(store, "_PATIENCE_S", 0.5)
    rig = Rig(plain_database_url, via=through(wire, plain_database_url))
    async with rig.running():
        await rig.tell("k1", reading(0, celsius=20))
        await eventually(lambda: len(wire.pairs) == 2)  # a slow machine may have made the store open another
        assert wire.deaden(up=up, down=down) == 2  # the lock's, too
        verdicts = await rig.tell("k1", *(reading(at_s, celsius=20) for at_s in range(1, 20)))
        rows = await rig.rows("SELECT count(*), count(DISTINCT ts) FROM reading_kettle")
    assert [verdict.stored + verdict.duplicates for verdict in verdicts] == [1] * 19
    assert rows == [(20, 20)]


async def test_a_slow_database_is_given_more_time_with_each_attempt(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PATIENCE_S", 0.2)
    async with Rig(plain_database_url).running() as rig, await rig.connect() as other:
        await other.set_autocommit(False)
        await other.execute("LOCK TABLE pipeline_counter IN EXCLUSIVE MODE")
        telling = asyncio.create_task(rig.tell("k1", reading(0, celsius=20)))
        await eventually(lambda: rig.store.patience_s >= 0.8)
        await other.rollback()
        verdicts = await telling
    assert [verdict.stored + verdict.duplicates for verdict in verdicts] == [1]


async def test_a_pool_gets_rid_of_dead_connections(
    plain_database_url: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that told the CRM of cases used to wait on one for ever."""
    monkeypatch.setattr(patience, "CHECK_S", 0.2)
    monkeypatch.setattr(patience, "FRESH_S", 0.0)  # each has just answered what every session is told first
    async with build_pool(through(wire, plain_database_url), 3) as pool:
        await pool.wait()
        assert wire.deaden(up=False, down=True) == 2
        async with asyncio.timeout(PATIENCE_S), pool.connection() as conn:
            assert await (await conn.execute("SELECT 7")).fetchone() == (7,)


async def test_a_statement_that_nobody_answers_ends_its_connection(plain_database_url: str, wire: Wire) -> None:
    async with await patience.PatientConnection.connect(through(wire, plain_database_url), autocommit=True) as conn:
        conn.patience_s = 0.3
        wire.deaden(up=True, down=True)
        with pytest.raises(psycopg.OperationalError):
            await conn.execute("SELECT 1")
        assert conn.closed


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(plain_database_url: str) -> None:
    """Else the server would go on with it after its client has given up."""
    async with build_pool(plain_database_url, 2) as pool, pool.connection() as conn:
        assert await (await conn.execute("SHOW statement_timeout")).fetchone() == ("30s",)
    assert patience.STATEMENT_S < patience.ANSWER_S


async def test_the_server_looks_for_signs_of_life_too(plain_database_url: str) -> None:
    """Else a gateway whose machine has vanished would keep its lock for two hours, and the standby wait for it."""
    async with Rig(plain_database_url).running() as rig:
        conn = await rig.store.connection()
        shown = [
            await (await conn.execute(f"SHOW tcp_keepalives_{name}".encode())).fetchone() for name in ("idle", "count")
        ]
    assert shown == [("10",), ("3",)]


async def test_the_registry_is_followed_again_when_its_connection_has_gone_dead(
    plain_database_url: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revoked credential used to go on working: nobody noticed that no news could come any more."""
    monkeypatch.setattr(registry_watch, "_ASK_S", 0.2)
    monkeypatch.setattr(registry_watch, "_ANSWER_S", 1.0)
    directory, loaded = DeviceDirectory(), asyncio.Event()
    connect = partial(AsyncConnection.connect, through(wire, plain_database_url), autocommit=True)
    watching = asyncio.create_task(
        watch_registry(
            directory, RegistryAuthenticator(), connect, lambda _device: None, loaded, structlog.get_logger()
        )
    )
    try:
        await asyncio.wait_for(loaded.wait(), PATIENCE_S)
        wire.deaden(up=True, down=True)
        async with await AsyncConnection.connect(plain_database_url) as conn:
            await register_device(conn, "default", "late-1", None, "add")
        await eventually(lambda: directory.get("late-1") is not None)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize(("up", "down"), DEAD, ids=WAYS)
async def test_keep_alive_ends_a_devices_dead_connection_and_it_comes_back(
    roads: Roads, *, up: bool, down: bool
) -> None:
    intake = HeldIntake(at_once=True)
    async with listening(intake) as door:
        road = Wire(roads, door.port)
        device = PahoDevice(5, comes_back=True)
        try:
            with device.running(road.port, keep_alive=1):
                await eventually(lambda: device.connected)
                assert road.deaden(up=up, down=down) >= 1
                device.publish(b"{}")
                await eventually(lambda: len(device.connected) >= 2)
                await eventually(lambda: len(device.acknowledged) == 1)
                await eventually(lambda: door.connections == 1)
        finally:
            road.close()
    assert b"{}" in intake.payloads


async def test_a_device_that_is_cut_off_and_never_comes_back_is_let_go(roads: Roads) -> None:
    async with listening(HeldIntake()) as door:
        road = Wire(roads, door.port)
        try:
            with PahoDevice(5).running(road.port, keep_alive=1) as device:
                await eventually(lambda: len(device.connected) == 1)
                road.deaden(up=True, down=True)
                await eventually(lambda: door.connections == 0)
                await eventually(lambda: road.ended_by_far == 1)
        finally:
            road.close()
