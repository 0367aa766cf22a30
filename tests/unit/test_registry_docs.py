"""The pages about registry, profiles and payloads mention everything that there is."""

from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from devices.errors import QuarantineReason
from devices.payloads.model import EventPayload, ReadingPayload
from devices.profiles.model import Action, Command, Event, Metric, MetricKind, Playbook, Profile, Severity, Watch
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
