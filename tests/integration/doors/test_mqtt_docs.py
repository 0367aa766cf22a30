"""What the pages about MQTT say is so."""

import re
import subprocess
from pathlib import Path

import aiomqtt

from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.settings import ListenSettings, TlsSettings
from tests.doors.intake import HeldIntake, eventually
from tests.doors.subscription import subscribed
from tests.services.mosquitto import Mosquitto

DOCS = Path(__file__).parent.parent.parent.parent / "docs"
MOSQUITTO = (DOCS / "brokers" / "mosquitto.md").read_text()
ENDPOINT = (DOCS / "mqtt.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", MOSQUITTO, re.DOTALL)
    assert found is not None
    return found[1]


async def test_mosquitto_takes_the_settings_and_the_rules_of_its_page(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    rules = mosquitto.folder / "acl"
    rules.write_text(block("acl"))
    passwords = mosquitto.folder / "passwords"
    passwords.touch()
    for name in ("careloop", "d1"):
        subprocess.run([mosquitto.binaries.mosquitto_passwd, "-b", passwords, name, "secret"], check=True)  # noqa: ASYNC221
    passwords.chmod(0o644)
    lines = [line for line in block("conf").splitlines() if line and not line.startswith(("#", "persistence"))]
    fixed = {line.split()[0] for line in lines}
    mosquitto.start(*lines, f"acl_file {rules}", f"password_file {passwords}")
    assert {"max_queued_messages", "max_inflight_messages", "autosave_on_changes"} <= fixed
    intake = HeldIntake(at_once=True)
    async with (
        subscribed(intake, mosquitto.port, username="careloop", password="secret"),
        aiomqtt.Client(mosquitto.host, mosquitto.port, username="d1", password="secret") as device,
    ):
        await device.publish("devices/d2/telemetry", b"as another", qos=1)
        await device.publish("devices/d1/telemetry", b"own", qos=1)
        await eventually(lambda: intake.payloads == [b"own"])


def test_every_reason_is_on_the_endpoints_page() -> None:
    missing = [code.name for code in ReasonCode if f"0x{code:02X}" not in ENDPOINT]
    assert missing == []


def test_every_setting_of_the_endpoint_is_on_its_page() -> None:
    names = {f"listen.{name}" for name in ListenSettings.model_fields} | {
        f"listen.tls.{name}" for name in TlsSettings.model_fields
    }
    told = {name for name in names if name in ENDPOINT}
    obvious = {"listen.enabled", "listen.host", "listen.port", "listen.tls"}
    assert names - told - obvious == set()
