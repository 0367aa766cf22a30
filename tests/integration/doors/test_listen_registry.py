"""Devices and passwords that are added or revoked while the gateway runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import structlog
from psycopg import AsyncConnection

from devices.credentials import Hashed, hash_chosen, hash_generated
from devices.registry.passwords import add_credentials, remove_device, revoke_credentials, revoke_old_credentials
from devices.registry.queries import Connection, register_device
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.pipeline.directory import DeviceDirectory
from gateway.registry_watch import RegistryWatch, watch_registry
from tests.doors import raw
from tests.doors.door import listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.raw import DISCONNECT, PINGRESP, RawClient

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def conn(plain_database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(plain_database_url, autocommit=True) as conn:
        yield conn


async def add(conn: Connection, device_id: str, secret: str) -> None:
    await register_device(conn, "default", device_id, None, "add")
    await add_credentials(conn, "default", [(device_id, hash_generated(secret))])


class Followed:
    """An authenticator that follows a database."""

    def __init__(self, url: str, *, with_certificates: bool = False) -> None:
        self.authenticator = RegistryAuthenticator(with_certificates=with_certificates)
        self.lost: list[str] = []
        self._url = url

    async def connect(self) -> Connection:
        """A connection to follow on."""
        return await AsyncConnection.connect(self._url, autocommit=True)

    async def follow(self, on_lost: Callable[[str], None] | None = None) -> None:
        """Follow until cancelled."""
        on_lost = on_lost or self.lost.append
        log = structlog.get_logger()
        await watch_registry(DeviceDirectory(), self.authenticator, self.connect, on_lost, asyncio.Event(), log)

    def knows(self, device_id: str, secret: str) -> bool:
        """Whether this would be let in."""
        return self.authenticator.authenticate(device_id, secret.encode(), "", ()) == device_id


@pytest.fixture(params=[False, True], ids=["passwords", "certificates too"])
async def followed(
    request: pytest.FixtureRequest, conn: Connection, plain_database_url: str
) -> AsyncIterator[Followed]:
    await add(conn, "d1", "first")
    followed = Followed(plain_database_url, with_certificates=request.param)
    task = asyncio.create_task(followed.follow())
    await eventually(lambda: followed.knows("d1", "first"))
    yield followed
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_device_that_is_added_is_let_in(followed: Followed, conn: Connection) -> None:
    await add(conn, "d2", "second")
    await eventually(lambda: followed.knows("d2", "second"))
    assert followed.lost == []


async def test_many_devices_that_are_added_at_once_are_let_in(followed: Followed, conn: Connection) -> None:
    async with conn.transaction():
        for number in range(50):
            await register_device(conn, "default", f"m{number}", None, "import")
        await add_credentials(conn, "default", [(f"m{number}", hash_generated(f"s{number}")) for number in range(50)])
    await eventually(lambda: all(followed.knows(f"m{number}", f"s{number}") for number in range(50)))


async def test_a_device_that_is_removed_is_kept_out_and_told_of(followed: Followed, conn: Connection) -> None:
    await remove_device(conn, "default", "d1", NOW)
    await eventually(lambda: not followed.knows("d1", "first"))
    await eventually(lambda: followed.lost == ["d1"])
    assert followed.authenticator.authenticate(None, None, "", ("d1",)) is None


async def test_a_new_password_in_place_of_the_old_one(followed: Followed, conn: Connection) -> None:
    async with conn.transaction():
        await revoke_credentials(conn, "default", "d1", NOW)
        await add_credentials(conn, "default", [("d1", hash_generated("renewed"))])
    await eventually(lambda: followed.knows("d1", "renewed"))
    assert not followed.knows("d1", "first")
    assert followed.lost == ["d1"]


async def test_what_changed_while_the_database_was_away_is_caught_up_with(followed: Followed, conn: Connection) -> None:
    cut = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    """
    async with conn.transaction():
        await add(conn, "d2", "second")
        assert (await conn.execute(cut)).rowcount == 1
    await eventually(lambda: followed.knows("d2", "second"))


@pytest.mark.parametrize("renewed", [hash_generated("renewed"), hash_chosen("renewed")], ids=["generated", "chosen"])
async def test_the_end_of_an_overlap_cuts_only_who_came_with_the_old_password(
    conn: Connection, plain_database_url: str, renewed: Hashed
) -> None:
    followed = Followed(plain_database_url)
    for device_id in ("d1", "d2"):
        await add(conn, device_id, "first")
        await add_credentials(conn, "default", [(device_id, renewed)])
    await RegistryWatch(DeviceDirectory(), followed.authenticator, followed.lost.append).read_all(conn)
    async with listening(HeldIntake(), followed.authenticator) as door, RawClient(door.port) as behind:
        task = asyncio.create_task(followed.follow(door.disconnect))
        async with RawClient(door.port) as renewing:
            await behind.log_in(raw.connect(password="first"))
            await renewing.log_in(raw.connect(username="d2", password="renewed"))
            for device_id in ("d2", "d1"):
                await revoke_old_credentials(conn, "default", device_id, NOW)
            assert [(answer.kind, answer.code) for answer in await behind.read_to_end()] == [(DISCONNECT, 0x87)]
            assert not followed.knows("d2", "first")
            renewing.send(raw.PINGREQ)
            assert (await renewing.read()).kind == PINGRESP
            await revoke_credentials(conn, "default", "d2", NOW)
            assert [(answer.kind, answer.code) for answer in await renewing.read_to_end()] == [(DISCONNECT, 0x87)]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_revoked_device_loses_its_connection(conn: Connection, plain_database_url: str) -> None:
    await add(conn, "d1", "first")
    await add(conn, "d2", "second")
    followed = Followed(plain_database_url)
    await RegistryWatch(DeviceDirectory(), followed.authenticator, followed.lost.append).read_all(conn)
    async with listening(HeldIntake(), followed.authenticator) as door, RawClient(door.port) as client:
        task = asyncio.create_task(followed.follow(door.disconnect))
        async with RawClient(door.port) as other:
            await client.log_in(raw.connect(password="first"))
            await other.log_in(raw.connect(username="d2", password="second"))
            await revoke_credentials(conn, "default", "d1", NOW)
            assert [(answer.kind, answer.code) for answer in await client.read_to_end()] == [(DISCONNECT, 0x87)]
            other.send(raw.PINGREQ)
            assert (await other.read()).kind == PINGRESP
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
