"""A registry in memory follows the one in the database, a little at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
from psycopg import AsyncConnection

from devices.credentials import Hashed
from devices.ids import partition_of
from devices.registry.changes import Known, changes
from devices.registry.passwords import add_credentials, remove_device, revoke_credentials
from devices.registry.queries import Connection, register_device
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.pipeline.directory import DeviceDirectory
from gateway.registry_watch import RegistryWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HASHED = Hashed("sha256", b"salt", b"digest")
MANY = 2500

FILL = """
INSERT INTO device (tenant_id, device_id, partition, source)
SELECT 'default', *, 'import' FROM unnest(%s::text[], %s::smallint[])
"""


@pytest.fixture
async def conn(plain_database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(plain_database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def many(conn: Connection) -> list[str]:
    """Devices, of which each has none to three credentials."""
    names = sorted(f"device-{number}" for number in range(MANY))
    await conn.execute(FILL, (names, [partition_of(name) for name in names]))
    await add_credentials(conn, "default", [(name, HASHED) for at, name in enumerate(names) for _ in range(at % 4)])
    return names


async def read(conn: Connection, since: str | None = None) -> tuple[str, list[Known]]:
    mark, found = "", list[Known]()
    async with aclosing(changes(conn, since)) as parts:
        async for part in parts:
            if isinstance(part, str):
                mark = part
            else:
                assert 0 < len(part) <= 1000
                found += part
    return mark, found


async def test_every_device_comes_once_with_all_that_it_signs_in_with(conn: Connection, many: list[str]) -> None:
    _, found = await read(conn)
    assert [known.device_id for known in found] == many
    assert [len(known.credentials) for known in found] == [at % 4 for at in range(MANY)]
    newest_first = [credential.credential_id for credential in found[3].credentials]
    assert newest_first == sorted(newest_first, reverse=True)
    assert all(known.device is not None for known in found)


async def test_later_only_what_has_changed_comes(conn: Connection, many: list[str]) -> None:
    mark, _ = await read(conn)
    await remove_device(conn, "default", many[7], NOW)
    await revoke_credentials(conn, "default", many[11], NOW)
    await add_credentials(conn, "default", [(many[4], HASHED)])
    await register_device(conn, "default", many[20], "e-bike", "add")
    await register_device(conn, "default", "newcomer", None, "add")
    mark, found = await read(conn, mark)
    by_id = {known.device_id: known for known in found}
    assert set(by_id) == {many[7], many[11], many[4], many[20], "newcomer"}
    assert by_id[many[7]].device is None
    assert by_id[many[11]].credentials == ()
    assert len(by_id[many[4]].credentials) == 1
    changed = by_id[many[20]].device
    assert changed is not None
    assert changed.model == "e-bike"
    assert (await read(conn, mark))[1] == []


async def test_a_change_that_was_under_way_at_the_mark_is_not_missed(
    conn: Connection, many: list[str], plain_database_url: str
) -> None:
    async with await AsyncConnection.connect(plain_database_url) as other:
        await register_device(other, "default", "slow", None, "add")
        mark, found = await read(conn)
        assert len(found) == len(many)
        await register_device(conn, "default", "quick", None, "add")  # a later transaction that commits earlier
        mark, found = await read(conn, mark)
        assert [known.device_id for known in found] == ["quick"]
        await other.commit()
    _, found = await read(conn, mark)
    assert "slow" in {known.device_id for known in found}


async def test_others_have_a_turn_meanwhile(conn: Connection, many: list[str]) -> None:
    directory = DeviceDirectory()
    seen: set[int] = set()

    async def look() -> None:
        while len(directory) < len(many):
            seen.add(len(directory))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await RegistryWatch(directory, RegistryAuthenticator(), lambda _device_id: None).read_all(conn)
    await looking
    assert len(seen - {0}) >= 2


async def test_a_device_that_is_in_the_database_no_longer_is_cut_off(conn: Connection, many: list[str]) -> None:
    lost: list[str] = []
    directory, authenticator = DeviceDirectory(), RegistryAuthenticator(with_certificates=True)
    watch = RegistryWatch(directory, authenticator, lost.append)
    await watch.read_all(conn)
    await conn.execute("DELETE FROM device_credential WHERE device_id = %s", (many[5],))
    await conn.execute("DELETE FROM device WHERE device_id = %s", (many[5],))
    await watch.read_all(conn)
    assert lost == [many[5]]
    assert directory.get(many[5]) is None
    assert len(directory) == MANY - 1
    assert authenticator.authenticate(None, None, "", (many[5],)) is None
