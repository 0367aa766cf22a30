"""Settings that would do nothing, or not what they say, are refused before anything is started."""

from pathlib import Path

import pytest

from devices.errors import ConfigError
from gateway.check import check_settings
from gateway.maintenance.settings import ModelRetention
from gateway.running import announce_start
from gateway.settings import load_settings


def faults_of(tmp_path: Path, text: str) -> dict[str, str]:
    """What is wrong with a settings file, by setting."""
    config = tmp_path / "careloop.toml"
    config.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_settings(load_settings(config, {}))
    return {fault.setting: fault.found for fault in caught.value.faults}


def test_retention_of_a_model_without_a_name_but_not_of_one_whose_profile_is_gone(tmp_path: Path) -> None:
    text = """
        [[retention.models]]
        model = "fitness-band"
        readings = "90d"
        [[retention.models]]
        model = "band-of-2019"
        readings = "90d"
        [[retention.models]]
        readings = "90d"
    """
    assert faults_of(tmp_path, text) == {"retention.models.2.model": "nothing"}
    two_models = load_settings(None, {}).retention.model_copy(
        update={"models": (ModelRetention(model="band-of-2019"), ModelRetention(model="fitnes-band"))}
    )
    assert two_models.strangers({"fitness-band", "band-of-2019"}) == ["fitnes-band"]


def test_a_route_that_could_never_be_reached(tmp_path: Path) -> None:
    text = """
        [[routes]]
        pattern = "plant/{any}/{device_id}"
        codec = "senml"
        [[routes]]
        pattern = "devices/{device_id}/telemetry"
        codec = "flat"
        [[routes]]
        pattern = "plant/+/{device_id}"
        codec = "flat"
        [[routes]]
        codec = "sparkplug"
        [[routes]]
        codec = "thingsboard"
        [[routes]]
        codec = "sparkplug"
    """
    assert faults_of(tmp_path, text) == {
        "routes.2.pattern": "plant/+/{device_id}",
        "routes.5.pattern": "nothing, twice",
    }


def test_a_broker_without_a_name_or_a_port(tmp_path: Path) -> None:
    text = '[subscribe]\nenabled = true\nhost = ""\nport = 0\n'
    assert set(faults_of(tmp_path, text)) == {"subscribe.host", "subscribe.port"}


@pytest.mark.parametrize("folder", ["a file", "a file/state"])
def test_a_state_folder_that_cannot_be_one(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").touch()
    settings = load_settings(None, {"CARELOOP_STATE__FOLDER": str(tmp_path / folder)})
    with pytest.raises(ConfigError) as caught:
        announce_start(settings)
    assert [fault.setting for fault in caught.value.faults] == ["state.folder"]
