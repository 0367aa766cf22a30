"""The pages about registry, profiles and payloads mention everything that there is."""

import re
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from devices.errors import QuarantineReason
from devices.payloads import DecodedEvent, DecodedReading
from devices.payloads.json import JsonCodec
from devices.payloads.model import EventPayload, ReadingPayload
from devices.profiles.model import Action, Command, Event, Metric, MetricKind, Playbook, Profile, Severity, Watch
from devices.registry.import_ import read_records
from devices.registry.records import COLUMNS, AssetRecord, DeviceRecord, GrantRecord, OwnerRecord
from gateway.cli.devices import devices
from gateway.detect.detector import load_detectors

DOCS = Path(__file__).resolve().parents[2] / "docs"


def names_of(*models: type[BaseModel]) -> set[str]:
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def commands_of(group: click.Group, prefix: str) -> set[str]:
    found: set[str] = set()
    for name, command in group.commands.items():
        found |= commands_of(command, f"{prefix} {name}") if isinstance(command, click.Group) else {f"{prefix} {name}"}
    return found


WORDS = {
    "registry.md": names_of(DeviceRecord, AssetRecord, OwnerRecord, GrantRecord) - {"asset", "owner"} | COLUMNS,
    "profiles.md": names_of(Profile, Metric, Event, Command, Watch, Playbook, Action)
    - {"automatic", "metrics", "events", "commands", "watches", "playbooks"}
    | {str(word) for word in (*MetricKind, *Severity)}
    | set(load_detectors()),
    "payload.md": names_of(ReadingPayload, EventPayload) | {str(reason) for reason in QuarantineReason},
}


@pytest.mark.parametrize("page", WORDS)
def test_every_word_is_explained(page: str) -> None:
    text = (DOCS / page).read_text()
    assert sorted(word for word in WORDS[page] if f"`{word}`" not in text) == []


def test_every_command_and_option_is_mentioned() -> None:
    text = (DOCS / "registry.md").read_text()
    assert sorted(command for command in commands_of(devices, "careloop devices") if f"`{command}" not in text) == []
    options = {option for command in (devices.commands["add"], devices.commands["list"]) for option in flags(command)}
    assert sorted(option for option in options if f"`{option}" not in text) == []


def flags(command: click.Command) -> set[str]:
    return {parameter.opts[0] for parameter in command.params if isinstance(parameter, click.Option)}


def examples(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_examples_of_payloads_are_what_they_say() -> None:
    reading, event = examples("payload.md", "json")
    assert isinstance(JsonCodec().decode_readings(reading.encode())[0], DecodedReading)
    assert isinstance(JsonCodec().decode_events(event.encode())[0], DecodedEvent)


def test_the_examples_of_imports_can_be_imported(tmp_path: Path) -> None:
    for suffix in ("csv", "json"):
        (example,) = examples("registry.md", suffix)
        path = tmp_path / f"fleet.{suffix}"
        path.write_text(example.replace("4be1…e07c", "4be1" * 16))
        (record,) = read_records(path)
        assert record.device_id == "washer-1"
        assert record.grants[0].recipient == "email"
