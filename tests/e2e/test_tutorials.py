"""The tutorials do what they say: samples run, the profile is one, the detector detects, and the site builds."""

import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from devices.payloads.model import Readings
from devices.profiles import load_profiles
from gateway.database.postmaster import wait_until
from gateway.detect.detector import SeriesDetector
from gateway.detect.engine import Engine
from gateway.detect.settings import DetectSettings
from gateway.settings import load_settings
from tests.detect.stories import Story, hours, judge, profile_of
from tests.services.gateway import GatewayProcess, run_careloop
from tests.services.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
PYTHON = Path(sys.executable)


@contextmanager
def kettle(gateway: GatewayProcess, device_id: str, password: str, times: int) -> Generator["subprocess.Popen[str]"]:
    """The sample of the first tutorial while it runs."""
    where = ["127.0.0.1", str(gateway.port), device_id, password, str(times)]
    with subprocess.Popen(
        [PYTHON, TUTORIALS / "samples/device.py", *where], stdout=subprocess.PIPE, text=True
    ) as sample:
        try:
            yield sample
        finally:
            sample.kill()


def test_the_device_of_the_first_tutorial_is_stored_though_its_connection_breaks(
    shared_gateway: GatewayProcess,
) -> None:
    gateway = shared_gateway
    password = json.loads(gateway.command("devices", "add", "kettle-1", "--json"))["password"]
    with kettle(gateway, "kettle-1", password, 60) as sample:
        assert sample.stdout is not None
        said = [next(sample.stdout) for _ in range(5)]
        log_in("kettle-1", password, gateway.port)  # which takes over, so that the sample is cut off
        said += sample.stdout
        assert sample.wait(PATIENCE_S) == 0
    assert [line.split()[0] for line in said] == ["stored"] * 60
    assert gateway.ask("/v1/devices/kettle-1")["stored"] == 60


def test_the_device_of_the_first_tutorial_says_when_its_password_is_wrong(shared_gateway: GatewayProcess) -> None:
    shared_gateway.command("devices", "add", "kettle-2")
    with kettle(shared_gateway, "kettle-2", "wrong", 1) as sample:
        assert sample.stdout is not None
        assert next(sample.stdout).startswith("refused: ")


def log_in(device_id: str, password: str, port: int) -> None:
    """Be that device for a moment."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device_id)
    client.username_pw_set(device_id, password)
    client.connect("127.0.0.1", port)
    wait_until(lambda: client.loop() != mqtt.MQTT_ERR_SUCCESS or client.is_connected(), PATIENCE_S)
    assert client.is_connected()
    client.disconnect()


def printed(page: str, title: str) -> str:
    """The block of a tutorial that bears this title."""
    found = re.search(rf'```\w+ title="{re.escape(title)}"\n(.*?)```', (TUTORIALS / page).read_text(), re.DOTALL)
    assert found is not None
    return dedent(found[1])


def test_the_profile_of_the_tutorial_is_one(tmp_path: Path) -> None:
    (tmp_path / "kettle.toml").write_text(printed("profile.md", "profiles/kettle.toml"))
    kettle = load_profiles((tmp_path,))["kettle"]
    assert [watch.name for watch in kettle.watches] == ["too-hot", "used-less", "gone-quiet"]
    assert kettle.playbooks[0].problem == kettle.watches[0].problem


def test_that_profile_tells_of_the_printed_readings_what_the_tutorial_says(tmp_path: Path) -> None:
    (tmp_path / "kettle.toml").write_text(printed("profile.md", "profiles/kettle.toml"))
    (tmp_path / "hot.ndjson").write_text(printed("profile.md", "hot.ndjson"))
    done = run_careloop("detect", "--profile", tmp_path / "kettle.toml", tmp_path / "hot.ndjson")
    (told,) = map(json.loads, done.stdout.splitlines())
    assert told["state"] == "raised"
    assert f"*{told['explanation']}*" in (TUTORIALS / "profile.md").read_text()


def test_the_package_of_the_detectors_tutorial_registers_it() -> None:
    package = tomllib.loads(printed("detector.md", "my-detector/pyproject.toml"))["project"]
    assert {"name", "version"} <= set(package)  # without them pip refuses it
    ((name, where),) = package["entry-points"]["careloop.detectors"].items()
    assert f"my-detector/{where.split(':')[0].replace('.', '/')}.py" in (TUTORIALS / "detector.md").read_text()
    assert tomllib.loads(printed("detector.md", "profiles/kettle.toml"))["watches"][0]["detector"] == name


def test_the_detector_of_the_tutorial_tells_of_a_jump() -> None:
    jump: Any = runpy.run_path(str(TUTORIALS / "samples/jump.py"))["Jump"]()
    assert isinstance(jump, SeriesDetector)
    values = np.full(60, 20.0)
    values[30] = 80.0
    profile = profile_of({"name": "watch", "detector": "jump", "parameters": {"by": 20}})
    engine = Engine({profile.model: profile}, DetectSettings(), detectors={"jump": jump})
    story = Story("jump", "gauge", {"by": 20}, hours(60), values, hours(60)[30], hours(60)[32])
    told = judge(engine, profile, story.ts_s, story.values)
    assert [change.event for change in told] == ["raised", "updated", "cleared"][:: 1 if len(told) == 3 else 2]
    assert told[0].explanation.text.endswith("jumped to 80")


def test_the_site_is_built_without_a_broken_link_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [PYTHON.with_name("mkdocs"), "build", "--strict", "-d", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    loads = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', re.IGNORECASE)
    assert [page.name for page in pages if loads.search(page.read_text())] == []
    device, detector = (text_of(tmp_path / "site/tutorials" / name) for name in ("device.html", "detector.html"))
    assert "class Jump" in detector
    assert "import paho.mqtt.client" in device
    assert "WiFiClientSecure network" in device
    assert not [page.name for page in pages if "--8" in text_of(page)]


def text_of(page: Path) -> str:
    """What a page of the built site says, without its markup."""
    return unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_what_the_board_says_is_a_reading_and_fits_into_its_buffers() -> None:
    sketch = (TUTORIALS / "samples/esp32.ino").read_text()
    form = re.search(r'snprintf\(text, sizeof text, "(.*)",', sketch)
    room, packet = re.search(r"char text\[(\d+)\]", sketch), re.search(r"MQTTClient mqtt\((\d+)\)", sketch)
    assert form is not None
    assert room is not None
    assert packet is not None
    plain = form[1].replace('\\"', '"').replace("%lld", "%d").replace("%lu", "%d")
    longest = plain % (9_999_999_999_999, 2**32 - 1, -327.6, -127)
    assert Readings.validate_json(longest)
    assert len(longest) < int(room[1])
    assert len(longest) + len("devices//telemetry") + 64 + 16 < int(packet[1])  # an id may have 64 characters


def test_the_settings_that_let_the_board_in_are_settings(tmp_path: Path) -> None:
    (tmp_path / "careloop.toml").write_text(printed("device.md", "careloop.toml"))
    listen = load_settings(tmp_path / "careloop.toml", {}).listen
    assert Path(listen.tls.certificate).name == "gateway.pem"
    assert Path(listen.tls.key).name == "gateway.key"
    assert f"PORT = {listen.port};" in (TUTORIALS / "samples/esp32.ino").read_text()
