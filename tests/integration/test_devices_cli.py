"""`careloop devices`, on a real database."""

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from psycopg import AsyncConnection

from devices.credentials import verify
from devices.errors import CareloopError, ConfigError, Retryable
from devices.registry.model import Credential
from devices.registry.queries import load_credentials
from gateway.cli.devices import devices


@pytest.fixture
def config(tmp_path: Path, plain_database_url: str) -> Path:
    path = tmp_path / "careloop.toml"
    path.write_text(
        f"[state]\nfolder = {json.dumps(str(tmp_path / 'state'))}\n[database]\nurl = {json.dumps(plain_database_url)}\n"
        "[listen]\nport = 1884\n"
    )
    return path


def call(config: Path, *arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(devices, [*map(str, arguments), "--config", str(config)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.output


def ask(config: Path, *arguments: object) -> Any:
    return json.loads(call(config, *arguments, "--json"))


def passwords_of(url: str, device_id: str) -> list[Credential]:
    async def load() -> list[Credential]:
        async with await AsyncConnection.connect(url) as conn:
            return await load_credentials(conn, device_id)

    return asyncio.run(load())


def test_adding_a_device_says_all_that_it_needs(config: Path, plain_database_url: str) -> None:
    added = ask(config, "add", "washer-1", "--model", "washing-machine", "--owner", "o-1", "--time-zone", "Asia/Tokyo")
    assert (added["username"], added["host"], added["port"]) == ("washer-1", "127.0.0.1", 1884)
    (credential,) = passwords_of(plain_database_url, "washer-1")
    assert verify(credential, added["password"])
    command = shlex.split(added["try_it"])
    assert command[command.index("-P") + 1] == added["password"]
    assert list(json.loads(command[command.index("-m") + 1])) == ["metrics"]
    shown = ask(config, "show", "washer-1")
    assert (shown["asset"]["owner_ref"], shown["asset"]["time_zone"]) == ("o-1", "Asia/Tokyo")
    assert shown["credentials"] == 1
    assert added["password"] not in call(config, "show", "washer-1")


def test_what_people_read_when_they_add_one(config: Path) -> None:
    printed = call(config, "add", "band-1")
    assert "user name  band-1" in printed
    assert "mosquitto_pub -h 127.0.0.1 -p 1884 -u band-1" in printed
    assert "careloop devices tail band-1" in printed


def test_a_device_is_added_once(config: Path) -> None:
    call(config, "add", "band-1")
    with pytest.raises(CareloopError, match="rotate"):
        call(config, "add", "band-1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["band 1"], "device_id"),
        (["band-1", "--model", "toaster"], "coffee-machine"),
        (["band-1", "--owner", "o", "--time-zone", "Vienna"], "time_zone"),
        (["band-1", "--time-zone", "Europe/Vienna"], "owner_ref"),
    ],
)
def test_wrong_words_are_configuration_faults(config: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        call(config, "add", *arguments)
    assert ask(config, "list") == []


def test_a_rotated_password_takes_the_place_of_the_old_one(config: Path, plain_database_url: str) -> None:
    first = ask(config, "add", "band-1")["password"]
    second = ask(config, "credentials", "rotate", "band-1")["password"]
    (credential,) = passwords_of(plain_database_url, "band-1")
    assert verify(credential, second)
    assert not verify(credential, first)
    third = ask(config, "credentials", "rotate", "band-1", "--keep-old")["password"]
    live = passwords_of(plain_database_url, "band-1")
    assert [[verify(one, secret) for one in live].count(True) for secret in (first, second, third)] == [0, 1, 1]
    assert ask(config, "credentials", "revoke", "band-1", "--old") == {"device_id": "band-1", "revoked": 1}
    (newest,) = passwords_of(plain_database_url, "band-1")
    assert verify(newest, third)


def test_revoking_and_removing(config: Path, plain_database_url: str) -> None:
    call(config, "add", "band-1")
    assert ask(config, "credentials", "revoke", "band-1") == {"device_id": "band-1", "revoked": 1}
    assert passwords_of(plain_database_url, "band-1") == []
    assert "removed band-1" in call(config, "remove", "band-1")
    for command in (["show"], ["remove"], ["credentials", "revoke"], ["credentials", "rotate"]):
        with pytest.raises(CareloopError, match="there is no device band-1"):
            call(config, *command, "band-1")
    call(config, "add", "band-1")
    assert len(passwords_of(plain_database_url, "band-1")) == 1


def test_listing_page_by_page(config: Path) -> None:
    for number in range(3):
        call(config, "add", f"band-{number}", "--model", "fitness-band")
    call(config, "add", "bike-1", "--model", "e-bike")
    assert [row["device_id"] for row in ask(config, "list")] == ["band-0", "band-1", "band-2", "bike-1"]
    assert [row["device_id"] for row in ask(config, "list", "--limit", 2, "--after", "band-1")] == ["band-2", "bike-1"]
    assert [row["device_id"] for row in ask(config, "list", "--model", "e-bike")] == ["bike-1"]
    printed = call(config, "list", "--limit", 2)
    assert "fitness-band" in printed
    assert "--after band-1" in printed


def test_importing_a_file(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    file.write_text("device_id,model,owner_ref,grants\nband-1,fitness-band,o-1,service:push\nband-2,e-bike,,\n")
    assert ask(config, "import", file)["added"] == 2
    assert "0 added" in call(config, "import", file)
    assert "service to push" in call(config, "show", "band-1")
    call(config, "remove", "band-2")
    assert "left as removed: band-2" in call(config, "import", file)


def test_a_faulty_file_changes_nothing(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    file.write_text("device_id\nband-1\nband 2\n")
    with pytest.raises(ConfigError, match="line 3"):
        call(config, "import", file)
    assert ask(config, "list") == []


def test_following_needs_a_running_gateway(config: Path) -> None:
    with pytest.raises(Retryable, match="no gateway"):
        call(config, "tail", "band-1")


def test_profiles_and_schema_need_no_database(tmp_path: Path) -> None:
    path = tmp_path / "careloop.toml"
    path.write_text("")
    assert {"fitness-band", "coffee-machine", "washing-machine", "e-bike"} <= set(ask(path, "profiles"))
    assert "walked-less" in call(path, "profiles")
    result = CliRunner().invoke(devices, ["schema"])
    assert "ReadingPayload" in json.loads(result.output)["$defs"]
