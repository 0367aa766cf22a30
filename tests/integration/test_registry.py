"""The registry in a real database: what a running gateway reads and writes, and who hears of changes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.credentials import hash_chosen, hash_generated, new_secret, verify
from devices.errors import Rejected
from devices.ids import partition_of
from devices.registry.entries import enter
from devices.registry.model import FirmwareSeen, Grant
from devices.registry.passwords import add_credentials, remove_device, revoke_credentials
from devices.registry.queries import (
    CHANNEL,
    asset_of,
    device_exists,
    grant_state,
    grants_of,
    load_credentials,
    load_devices,
    record_firmware,
    register_device,
)
from devices.registry.records import DeviceRecord
from tests.services.grants import record_grant

Connection = AsyncConnection[TupleRow]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def conn(plain_database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(plain_database_url) as connection:
        yield connection


def owned(device_id: str, owner_ref: str, **fields: object) -> DeviceRecord:
    return DeviceRecord.model_validate({"device_id": device_id, "owner": {"owner_ref": owner_ref}} | fields)


async def test_registering_twice_changes_nothing(conn: Connection) -> None:
    first = await register_device(conn, "default", "band-1", "fitness-band", "auto")
    assert await register_device(conn, "default", "band-1", None, "auto") == first
    assert await load_devices(conn) == [first]
    assert (first.model, first.partition) == ("fitness-band", partition_of("band-1"))
    assert await device_exists(conn, "band-1")
    assert not await device_exists(conn, "band-2")


async def test_a_registered_device_is_an_asset_of_its_own(conn: Connection) -> None:
    await register_device(conn, "default", "band-1", "fitness-band", "auto")
    asset = await asset_of(conn, "band-1")
    assert asset is not None
    assert (asset.asset_id, asset.model, asset.owner_ref) == ("band-1", "fitness-band", None)
    assert await asset_of(conn, "band-2") is None


async def test_a_removed_device_comes_back_only_when_it_is_added_again(conn: Connection) -> None:
    await register_device(conn, "default", "band-1", None, "add")
    assert await remove_device(conn, "default", "band-1", NOON)
    assert not await remove_device(conn, "default", "band-1", NOON)
    with pytest.raises(Rejected, match="removed"):
        await register_device(conn, "default", "band-1", None, "auto")
    assert await load_devices(conn) == []
    await register_device(conn, "default", "band-1", None, "add")
    assert await device_exists(conn, "band-1")


async def test_a_removed_device_can_no_longer_sign_in(conn: Connection) -> None:
    await register_device(conn, "default", "band-1", None, "add")
    await add_credentials(conn, "default", [("band-1", hash_generated(new_secret()))])
    await remove_device(conn, "default", "band-1", NOON)
    assert await load_credentials(conn) == []
    await register_device(conn, "default", "band-1", None, "add")
    assert await load_credentials(conn, "band-1") == []


async def test_credentials_verify_only_their_own_secret(conn: Connection) -> None:
    secret = new_secret()
    await register_device(conn, "default", "band-1", None, "add")
    await register_device(conn, "default", "band-2", None, "add")
    await add_credentials(conn, "default", [("band-1", hash_generated(secret)), ("band-2", hash_chosen("sesame"))])
    (mine,) = await load_credentials(conn, "band-1")
    (other,) = await load_credentials(conn, "band-2")
    assert len(await load_credentials(conn)) == 2
    assert verify(mine, secret)
    assert not verify(other, secret)
    assert verify(other, b"sesame")
    assert await revoke_credentials(conn, "default", "band-1", NOON) == 1
    assert await load_credentials(conn, "band-1") == []


async def test_firmware_is_kept_where_it_changes(conn: Connection) -> None:
    await register_device(conn, "default", "band-1", None, "add")

    async def seen(firmware: str, since: datetime) -> None:
        await record_firmware(conn, [FirmwareSeen("default", "band-1", firmware, since, NOON)])

    await seen("1.0", NOON)
    await seen("1.0", NOON + DAY)
    await seen("1.1", NOON + 2 * DAY)
    await seen("0.9", NOON - DAY)  # a backlog from before
    await record_firmware(conn, [])
    rows = await (await conn.execute("SELECT firmware, since FROM firmware_history ORDER BY since")).fetchall()
    assert rows == [("0.9", NOON - DAY), ("1.0", NOON), ("1.1", NOON + 2 * DAY)]
    asset = await asset_of(conn, "band-1")
    assert asset is not None
    assert asset.firmware == "1.1"


async def test_the_last_word_of_an_owner_counts(conn: Connection) -> None:
    await enter(conn, [owned("band-1", "o-1")], tenant_id="default", source="import", at=NOON)

    def word(state: str, valid_from: datetime, valid_until: datetime | None = None) -> Grant:
        assert state in {"given", "refused", "revoked"}
        return Grant("o-1", "service", "email", state, "consent", "app", NOON, valid_from, valid_until)  # pyright: ignore[reportArgumentType]

    async def state(at: datetime, recipient: str = "email") -> str | None:
        return await grant_state(conn, "default", "o-1", "service", recipient, at)

    assert await state(NOON) is None
    await record_grant(conn, "default", word("given", NOON))
    assert await state(NOON) == "given"
    assert await state(NOON - DAY) is None
    assert await state(NOON, "sms") is None
    await record_grant(conn, "default", word("revoked", NOON + DAY))
    assert await state(NOON) == "given"
    assert await state(NOON + DAY) == "revoked"
    await record_grant(conn, "default", word("given", NOON + 2 * DAY, NOON + 3 * DAY))
    assert await state(NOON + 2 * DAY) == "given"
    assert await state(NOON + 3 * DAY) is None, "a grant that ran out does not bring back an older word"
    assert [grant.state for grant in await grants_of(conn, "default", "o-1")] == ["given"]


async def test_another_owner_starts_without_the_grants_of_the_one_before(conn: Connection) -> None:
    given = {"grants": [{"purpose": "service", "recipient": "email"}]}
    await enter(conn, [owned("band-1", "o-1", **given)], tenant_id="default", source="import", at=NOON)
    report = await enter(conn, [owned("band-1", "o-2")], tenant_id="default", source="import", at=NOON + DAY)
    assert report.handovers == 1
    asset = await asset_of(conn, "band-1")
    assert asset is not None
    assert asset.owner_ref == "o-2"
    assert await grant_state(conn, "default", "o-2", "service", "email", NOON + DAY) is None
    assert await grant_state(conn, "default", "o-1", "service", "email", NOON + DAY) == "given"
    rows = await (await conn.execute("SELECT owner_ref, since, until FROM ownership ORDER BY since")).fetchall()
    assert rows == [("o-1", NOON, NOON + DAY), ("o-2", NOON + DAY, None)]


async def test_an_exchanged_module_stays_in_the_asset_and_the_old_one_leaves_it(conn: Connection) -> None:
    def washer(device_id: str) -> DeviceRecord:
        return owned(device_id, "o-1", asset={"asset_id": "washer-7", "serial": "W7"})

    await enter(conn, [washer("module-1")], tenant_id="default", source="import", at=NOON)
    await register_device(conn, "default", "module-2", None, "auto")
    report = await enter(conn, [washer("module-2")], tenant_id="default", source="import", at=NOON + DAY)
    assert report.handovers == 0
    assert await asset_of(conn, "module-1") is None
    asset = await asset_of(conn, "module-2")
    assert asset is not None
    assert (asset.asset_id, asset.serial, asset.owner_ref) == ("washer-7", "W7", "o-1")


async def test_two_assets_may_swap_their_devices(conn: Connection) -> None:
    def pair(first: str, second: str) -> list[DeviceRecord]:
        return [
            owned(first, "o-1", asset={"asset_id": "A"}),
            owned(second, "o-2", asset={"asset_id": "B"}),
        ]

    await enter(conn, pair("m-1", "m-2"), tenant_id="default", source="import", at=NOON)
    report = await enter(conn, pair("m-2", "m-1"), tenant_id="default", source="import", at=NOON + DAY)
    assert report.handovers == 0
    asset = await asset_of(conn, "m-2")
    assert asset is not None
    assert (asset.asset_id, asset.owner_ref) == ("A", "o-1")


async def test_a_running_gateway_hears_of_changes_when_they_are_committed(plain_database_url: str) -> None:
    async with (
        await AsyncConnection.connect(plain_database_url, autocommit=True) as listener,
        await AsyncConnection.connect(plain_database_url) as conn,
    ):
        await listener.execute(f"LISTEN {CHANNEL}".encode())

        async def next_payload() -> str:
            heard = [notice.payload async for notice in listener.notifies(timeout=120, stop_after=1)]
            assert len(heard) == 1
            return heard[0]

        await register_device(conn, "default", "band-1", None, "auto")
        await conn.commit()
        assert await next_payload() == "band-1"
        await register_device(conn, "default", "band-1", None, "auto")  # changes nothing, so it says nothing
        await conn.commit()
        records = [owned(f"band-{number}", "o-1") for number in range(2, 5)]
        await enter(conn, records, tenant_id="default", source="import", at=NOON)
        await conn.commit()
        assert await next_payload() == "*"
        await add_credentials(conn, "default", [("band-2", hash_generated(new_secret()))])
        await conn.commit()
        assert await next_payload() == "band-2"
        await remove_device(conn, "default", "band-3", NOON)
        await conn.commit()
        assert await next_payload() == "band-3"
