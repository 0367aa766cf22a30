"""Importing devices, assets, owners and grants from files."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from devices.credentials import new_secret, verify
from devices.errors import ConfigError
from devices.registry.import_ import ImportReport, import_registry
from devices.registry.passwords import remove_device, revoke_credentials
from devices.registry.queries import asset_of, device_exists, grant_state, load_credentials, load_devices

Connection = AsyncConnection[TupleRow]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

TABLES = ("device", "device_credential", "asset", "owner", "ownership", "grant_record", "firmware_history")


@pytest.fixture
async def conn(plain_database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(plain_database_url) as connection:
        yield connection


def fleet(count: int) -> list[dict[str, object]]:
    return [
        {
            "device_id": f"washer-{number}",
            "model": "washing-machine",
            "firmware": "2.1.0",
            "region": "AT",
            "password": new_secret(),
            "generated": True,
            "asset": {"serial": f"W{number}", "purchased_on": "2025-11-02", "lifecycle_stage": "in_use"},
            "owner": {"owner_ref": f"o-{number // 2}", "time_zone": "Europe/Vienna", "language": "de"},
            "grants": [{"purpose": "service", "recipient": "email", "basis": "consent"}],
        }
        for number in range(count)
    ]


def write_json(folder: Path, devices: Sequence[Mapping[str, object]]) -> Path:
    path = folder / "fleet.json"
    path.write_text(json.dumps({"devices": devices}))
    return path


async def bring(conn: Connection, path: Path, at: datetime = NOON) -> ImportReport:
    return await import_registry(conn, path, at=at)


async def everything(conn: Connection) -> list[list[TupleRow]]:
    query = SQL("SELECT * FROM {} ORDER BY 1, 2")
    return [await (await conn.execute(query.format(Identifier(table)))).fetchall() for table in TABLES]


async def test_a_file_says_everything_about_a_device(conn: Connection, tmp_path: Path) -> None:
    devices = fleet(3)
    report = await bring(conn, write_json(tmp_path, devices))
    assert (report.devices, report.added, report.passwords, report.grants) == (3, 3, 3, 2)
    asset = await asset_of(conn, "washer-2")
    assert asset is not None
    assert (asset.asset_id, asset.model, asset.region, asset.serial) == ("washer-2", "washing-machine", "AT", "W2")
    assert (asset.purchased_on, asset.lifecycle_stage, asset.firmware) == (date(2025, 11, 2), "in_use", "2.1.0")
    assert (asset.owner_ref, asset.time_zone, asset.language) == ("o-1", "Europe/Vienna", "de")
    (credential,) = await load_credentials(conn, "washer-2")
    assert verify(credential, str(devices[2]["password"]))
    assert credential.scheme == "sha256"
    assert await grant_state(conn, "default", "o-1", "service", "email", NOON - 300 * DAY) == "given"


async def test_importing_again_changes_nothing(conn: Connection, tmp_path: Path) -> None:
    path = write_json(tmp_path, fleet(5))
    await bring(conn, path)
    before = await everything(conn)
    report = await bring(conn, path, NOON + DAY)
    assert report == ImportReport(devices=5)
    assert await everything(conn) == before


async def test_ten_thousand_devices_in_one_go(conn: Connection, tmp_path: Path) -> None:
    path = write_json(tmp_path, fleet(10_001))
    assert (await bring(conn, path)).added == 10_001
    assert (await bring(conn, path)).passwords == 0
    assert len(await load_devices(conn)) == len(await load_credentials(conn)) == 10_001


async def test_csv_says_the_same_as_json(conn: Connection, tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(
        "\ufeffdevice_id,model,password,serial,warranty_until,owner_ref,time_zone,grants\r\n"
        'band-1,fitness-band,sesame,"S,1",2027-01-31,o-1,Asia/Tokyo,service:crm;service:email=refused\r\n'
        "\r\n"
        "band-2,,,,,,,\r\n",
        encoding="utf-8",
        newline="",
    )
    assert (await bring(conn, path)).added == 2
    asset = await asset_of(conn, "band-1")
    assert asset is not None
    assert (asset.serial, asset.warranty_until, asset.time_zone) == ("S,1", date(2027, 1, 31), "Asia/Tokyo")
    (credential,) = await load_credentials(conn, "band-1")
    assert credential.scheme == "scrypt"
    assert verify(credential, "sesame")
    assert await grant_state(conn, "default", "o-1", "service", "crm", NOON) == "given"
    assert await grant_state(conn, "default", "o-1", "service", "email", NOON) == "refused"
    assert (await bring(conn, path)) == ImportReport(devices=2)


async def test_a_file_overwrites_what_it_names_and_leaves_the_rest(conn: Connection, tmp_path: Path) -> None:
    await bring(conn, write_json(tmp_path, fleet(1)))
    change = {"device_id": "washer-0", "region": "DE", "owner": {"owner_ref": "o-0", "language": "fr"}}
    report = await bring(conn, write_json(tmp_path, [change]))
    assert (report.added, report.changed, report.handovers) == (0, 1, 0)
    asset = await asset_of(conn, "washer-0")
    assert asset is not None
    assert (asset.model, asset.serial, asset.time_zone) == ("washing-machine", "W0", "Europe/Vienna")
    assert asset.language == "fr"
    assert (await load_devices(conn))[0].region == "DE"


async def test_an_old_file_brings_nothing_back_that_was_taken_away(conn: Connection, tmp_path: Path) -> None:
    path = write_json(tmp_path, fleet(2))
    await bring(conn, path)
    await remove_device(conn, "default", "washer-0", NOON)
    await revoke_credentials(conn, "default", "washer-1", NOON)
    report = await bring(conn, path, NOON + DAY)
    assert (report.left_removed, report.passwords) == (("washer-0",), 0)
    assert not await device_exists(conn, "washer-0")
    assert await load_credentials(conn) == []


def granting(state: str, **fields: str) -> list[dict[str, object]]:
    grant = {"purpose": "service", "recipient": "email", "state": state} | fields
    return [{"device_id": "washer-0", "owner": {"owner_ref": "o-0"}, "grants": [grant]}]


async def test_a_grant_taken_back_must_be_given_anew(conn: Connection, tmp_path: Path) -> None:
    async def state_after(*devices: dict[str, object]) -> str | None:
        await bring(conn, write_json(tmp_path, devices))
        return await grant_state(conn, "default", "o-0", "service", "email", NOON + 9 * DAY)

    assert await state_after(*granting("given")) == "given"
    assert await state_after(*granting("revoked", valid_from="2026-03-02T00:00:00Z")) == "revoked"
    assert await state_after(*granting("given")) == "revoked", "the file from before says nothing new"
    assert await state_after(*granting("given", source="another list")) == "revoked", "without a date it is no newer"
    assert await state_after(*granting("given", valid_from="2026-03-05T00:00:00+01:00")) == "given"


async def test_every_fault_is_told_with_its_line_and_nothing_is_written(conn: Connection, tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(
        "device_id,model,owner_ref,time_zone,language,grants,password,generated\n"
        "band 1,,,,,,,\n"
        "band-2,Fitness Band,o-1,Vienna,,,,\n"
        "band-3,,o-2,Europe/Vienna,deutsch!,service=given,,\n"
        "band-4,,,,,service:email=given,,\n"
        "band-5,,o-2,Asia/Tokyo,,service:email=maybe,short,true\n"
        "band-6,,o-3,Europe/Vienna,,service:email=given,,\n"
        "band-6,,o-3,Asia/Tokyo,,service:email=refused,,\n"
        "band-7,\n"
    )
    with pytest.raises(ConfigError) as raised:
        await bring(conn, path)
    places = [fault.setting.removeprefix("fleet.csv ") for fault in raised.value.faults]
    assert sorted(places) == sorted(
        [
            "line 2 device_id",
            "line 3 model",
            "line 3 owner.time_zone",
            "line 4 grants",
            "line 5",
            "line 6 grants.0.state",
            "line 8 device_id",
            "line 8 owner.time_zone",
            "line 8 grants",
            "line 9",
        ]
    )
    assert "short" not in str(raised.value), "a password is never shown"
    assert await load_devices(conn) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("fleet.json", "{", "JSON"),
        ("fleet.json", "[]", "devices"),
        ("fleet.json", '{"devices": [7]}', r"devices\[0\]"),
        ("fleet.json", '{"devices": [{"device_id": "a", "email": "x@y.z"}]}', "email"),
        ("fleet.json", '{"devices": [{"device_id": "a", "password": 5}]}', "password"),
        ("fleet.csv", "", "device_id"),
        ("fleet.csv", "device_id,phone\na,1\n", "phone"),
        ("fleet.csv", "device_id,device_id\na,b\n", "two columns"),
        ("fleet.csv", 'device_id,serial\na,"b\n', "line"),
        ("fleet.xlsx", "", "csv"),
    ],
)
async def test_what_is_no_import_file(conn: Connection, tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        await bring(conn, path)


async def test_a_missing_file_is_a_fault(conn: Connection, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        await bring(conn, tmp_path / "nowhere.csv")


async def test_ids_of_another_tenant_are_refused(conn: Connection, tmp_path: Path) -> None:
    path = write_json(tmp_path, fleet(1))
    await import_registry(conn, path, at=NOON, tenant_id="other")
    with pytest.raises(ConfigError, match="another tenant"):
        await bring(conn, path)
