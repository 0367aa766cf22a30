"""Settings: three layers, every fault at once, and defaults that the shipped file says in full."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import cast

import pytest
from pydantic import BaseModel

from devices.clock import ScaledClock, SystemClock
from devices.errors import ConfigError
from gateway.settings import Settings, build_clock, load, load_settings, parse_instant_s


def test_defaults_are_usable_as_they_are() -> None:
    settings = load_settings(None, {})
    assert settings.listen.enabled
    assert settings.listen.host == "127.0.0.1"
    assert settings.database.url == ""


def test_the_users_file_wins_over_defaults_and_the_environment_over_both(tmp_path: Path) -> None:
    config = tmp_path / "careloop.toml"
    config.write_text('[listen]\nport = 2883\n[batch]\nmax_readings = 10\nmax_age = "1s"\n')
    loaded = load(config, {"CARELOOP_LISTEN__PORT": "3883", "CARELOOP_TENANT__ID": "acme", "CARELOOP_NOISE": "x"})
    assert loaded.settings.listen.port == 3883
    assert loaded.settings.batch.max_readings == 10
    assert loaded.settings.batch.max_age == 1.0
    assert loaded.settings.tenant.id == "acme"
    assert loaded.origins["listen.port"] == "CARELOOP_LISTEN__PORT"
    assert loaded.origins["batch.max_readings"] == str(config)
    assert loaded.origins["listen.host"] == "default"


def test_records_lead_to_the_console_where_that_has_a_public_address(tmp_path: Path) -> None:
    config = tmp_path / "careloop.toml"
    secret = f"whsec_{'QUJD' * 8}"
    table = f'[[crm.endpoints]]\nname = "{{}}"\nurl = "https://desk.example.com"\nsecret = "{secret}"\n'
    own = 'case_link = "https://elsewhere.example.com/{case_id}"\n'
    config.write_text(table.format("usual") + table.format("own") + own)
    given = {"CARELOOP_API__PUBLIC_URL": "https://care.example.com"}
    said = ["https://care.example.com/cases/{case_id}", "https://elsewhere.example.com/{case_id}"]
    assert [each.case_link for each in load_settings(config, given).crm.endpoints] == said
    for without in ({}, {**given, "CARELOOP_CONSOLE__ENABLED": "false"}):
        assert load_settings(config, without).crm.endpoints[0].case_link == ""


def test_records_are_told_in_the_companys_language_unless_their_endpoint_says_otherwise(tmp_path: Path) -> None:
    config = tmp_path / "careloop.toml"
    table = f'[[crm.endpoints]]\nname = "{{}}"\nurl = "https://desk.example.com"\nsecret = "whsec_{"QUJD" * 8}"\n'
    config.write_text(table.format("usual") + table.format("own") + 'language = "en"\n')
    endpoints = load_settings(config, {"CARELOOP_CRM__LANGUAGE": "it"}).crm.endpoints
    assert [each.language for each in endpoints] == ["it", "en"]


def test_every_fault_is_named_at_once_with_what_was_found(tmp_path: Path) -> None:
    config = tmp_path / "careloop.toml"
    config.write_text('[listen]\nport = 99999\n[batch]\nmax_age = "soon"\n[lisen]\nport = 1\n')
    with pytest.raises(ConfigError) as caught:
        load(config, {})
    faults = {fault.setting: fault for fault in caught.value.faults}
    assert set(faults) == {"listen.port", "batch.max_age", "lisen"}
    assert faults["listen.port"].found.startswith("99999")
    assert str(config) in faults["listen.port"].found


@pytest.mark.parametrize(
    ("text", "name", "found", "meant"),
    [
        ("[lisen]\nport = 1883", "lisen", "a table of that name", "perhaps listen"),
        ("[listen]\nprot = 1883", "listen.prot", "1883", "perhaps listen.port"),
        ("[listen]\nbanana = 1", "listen.banana", "1", "no setting of that name; "),
    ],
)
def test_a_name_that_is_none_is_told_with_the_one_that_was_meant(
    text: str, name: str, found: str, meant: str, tmp_path: Path
) -> None:
    (tmp_path / "careloop.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings(tmp_path / "careloop.toml", {})
    (fault,) = raised.value.faults
    assert fault.setting == name
    assert fault.found.startswith(found)
    assert meant in fault.allowed


@pytest.mark.parametrize(
    "text",
    [
        '[subscribe]\npassord = "hunter2"',
        "[subscribe]\npassword = 2222",
        '[api]\ntoken = ["hunter2"]',
        '[[crm.endpoints]]\nname = "a"\nurl = "https://a.example.com"\nsecrt = "hunter2"',
        '[[crm.endpoints]]\nname = "a"\nurl = "https://a.example.com"\nsecret = "hunter2"',
    ],
)
def test_no_fault_says_what_may_be_a_secret(text: str, tmp_path: Path) -> None:
    (tmp_path / "careloop.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings(tmp_path / "careloop.toml", {})
    assert raised.value.faults
    assert not re.search("hunter2|2222", f"{raised.value} {raised.value.faults}")


def test_a_file_that_is_no_toml_or_not_there_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[listen\n")
    for path in (broken, tmp_path / "nowhere.toml"):
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert caught.value.faults[0].found == str(path)


def test_listening_beyond_loopback_needs_tls() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"CARELOOP_LISTEN__HOST": "0.0.0.0"})
    assert caught.value.faults[0].setting == "listen.host"


def test_a_gateway_without_any_door_is_refused() -> None:
    with pytest.raises(ConfigError):
        load(None, {"CARELOOP_LISTEN__ENABLED": "false"})


def test_the_scaled_clock_needs_a_start_with_an_offset() -> None:
    with pytest.raises(ConfigError):
        load(None, {"CARELOOP_CLOCK__KIND": "scaled", "CARELOOP_CLOCK__START": "2026-01-01T00:00:00"})
    settings = load_settings(
        None,
        {
            "CARELOOP_CLOCK__KIND": "scaled",
            "CARELOOP_CLOCK__START": "2026-01-01T00:00:00Z",
            "CARELOOP_CLOCK__HELD": "true",
        },
    )
    clock = build_clock(settings.clock)
    assert isinstance(clock, ScaledClock)
    assert clock.now_s() == parse_instant_s("2026-01-01T00:00:00Z")
    assert isinstance(build_clock(load_settings(None, {}).clock), SystemClock)


def _names(model: type[BaseModel], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names |= _names(inner, f"{prefix}{name}.")
        else:
            names.add(f"{prefix}{name}")
    return names


def _said(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    said: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            said |= _said(cast("dict[str, object]", value), f"{prefix}{name}.")
        else:
            said[f"{prefix}{name}"] = value
    return said


LISTS_OF_TABLES = {
    "crm.endpoints",
    "crm.teams",
    "listen.gateways",
    "retention.models",
    "routes",
}  # shown in comments instead


def test_the_shipped_file_says_every_setting_and_no_other() -> None:
    text = files("gateway").joinpath("settings.default.toml").read_text("utf-8")
    said = set(_said(tomllib.loads(text)))
    assert said == _names(Settings) - LISTS_OF_TABLES
    for table in LISTS_OF_TABLES:
        assert f"# [[{table}]]" in text


def test_the_shipped_defaults_are_the_defaults_of_the_code() -> None:
    loaded = load_settings(None, {})
    for section in Settings.model_fields:
        value: object = getattr(loaded, section)
        if isinstance(value, BaseModel):
            assert value == type(value)(), section
