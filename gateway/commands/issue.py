"""A person issues a command: what it may be called, when it expires, and what became of it before."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final
from uuid import uuid4

from devices.commands.model import MOST_DATA_BYTES, CommandView, NewCommand
from devices.commands.queries import Connection, find_command, find_pending, put_command
from devices.errors import CareloopError
from devices.ids import is_device_id
from devices.profiles.model import Profile
from devices.registry.queries import load_devices
from gateway.commands.settings import CommandSettings

_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants a device to do."""

    device_id: str
    name: str
    person: str
    data: Mapping[str, object] = field(default_factory=dict[str, object])
    expires_s: float | None = None  # None: as the profile says, else the settings
    command_id: str = ""  # of the person's own, so that asking twice asks once


@dataclass(frozen=True, slots=True)
class Rules:
    """What wishes are held to."""

    tenant_id: str
    profiles: Mapping[str, Profile]
    settings: CommandSettings


async def issue(conn: Connection, rules: Rules, wish: Wish, now_s: float) -> tuple[CommandView, bool]:
    """Put a command, or find the one that was put under this id; whether it is new.

    Raises CareloopError with the reason `unknown_device`, `unknown_command`, `wrong_command` or `command_pending`.
    """
    profile = await _profile_of(conn, rules, wish.device_id)
    answer_within_s, expires_s = _times(rules, profile, wish)
    command = NewCommand(
        command_id=wish.command_id or f"cmd_{uuid4().hex}",
        tenant_id=rules.tenant_id,
        device_id=wish.device_id,
        name=wish.name,
        issued_by=f"person:{wish.person}",
        issued_at_s=now_s,
        expires_at_s=now_s + expires_s,
        answer_within_s=answer_within_s,
        data=wish.data,
    )
    is_new = await put_command(conn, command)
    found = await find_command(conn, rules.tenant_id, command.command_id)
    if found is None:
        pending = await find_pending(conn, rules.tenant_id, wish.device_id, wish.name)
        which = "one of its kind" if pending is None else pending.command_id
        raise CareloopError("command_pending", f"{wish.device_id} has {which} before it: one {wish.name} at a time")
    if _meaning(found.device_id, found.name, found.data) != _meaning(wish.device_id, wish.name, wish.data):
        raise CareloopError("wrong_command", f"{command.command_id} is the id of another command")
    return found, is_new


async def _profile_of(conn: Connection, rules: Rules, device_id: str) -> Profile | None:
    known = await load_devices(conn, device_id)
    if not known or known[0].tenant_id != rules.tenant_id:
        raise CareloopError("unknown_device", f"there is no device {device_id}")
    return rules.profiles.get(known[0].model or "")


def _times(rules: Rules, profile: Profile | None, wish: Wish) -> tuple[float | None, float]:
    if wish.command_id and not is_device_id(wish.command_id):
        raise CareloopError("wrong_command", "a command's id is 1 to 64 of A-Z a-z 0-9 _ -")
    if len(json.dumps(wish.data)) > MOST_DATA_BYTES:
        raise CareloopError("wrong_command", f"data takes more than {MOST_DATA_BYTES} bytes")
    if wish.expires_s is not None and wish.expires_s <= 0:
        raise CareloopError("wrong_command", "a command expires after it is issued")
    if profile is None or profile.automatic:
        if not 0 < len(wish.name) <= _LONGEST_NAME or not is_device_id(wish.name):
            raise CareloopError("wrong_command", f"a name is 1 to {_LONGEST_NAME} of A-Z a-z 0-9 _ -")
        return None, wish.expires_s or rules.settings.expires_after
    said = profile.commands.get(wish.name)
    if said is None:
        known = ", ".join(sorted(profile.commands)) or "none"
        raise CareloopError("unknown_command", f"{profile.model} does not obey {wish.name}; it obeys: {known}")
    return said.answer_within, wish.expires_s or said.expires_after


def _meaning(device_id: str, name: str, data: Mapping[str, object]) -> bytes:
    text = json.dumps([device_id, name, dict(data)], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).digest()
