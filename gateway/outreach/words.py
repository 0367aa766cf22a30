"""What the gateway and its CRM process say to each other: after the first word, a line of JSON each."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from crm_sync.settings import CrmSettings
from crm_sync.stats import CrmStats
from crm_sync.trust.rules import TrustRules
from devices.clock import Clock, ClockSetting
from devices.profiles.model import Profile
from gateway.settings import LogSettings


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that the CRM process is put together from: its first word, in which settings keep their secrets."""

    url: str
    pool_size: int
    tenant_id: str
    crm: CrmSettings
    trust: TrustRules
    log: LogSettings
    profiles: Mapping[str, Profile]
    clock: Clock


class Wake(msgspec.Struct, frozen=True, tag="wake"):
    """Alarms were committed to the inbox."""


class SetClock(msgspec.Struct, frozen=True, tag="clock"):
    """The scaled clock was set; `number` comes back in `ClockIsSet`."""

    number: int
    setting: ClockSetting


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End in good order."""


class ClockIsSet(msgspec.Struct, frozen=True, tag="clock_is_set"):
    """The clock follows."""

    number: int


class Pulse(msgspec.Struct, frozen=True, tag="pulse"):
    """How the CRM process is, every second."""

    stats: CrmStats
    loop_lag_s: float  # the longest of late
    pool: dict[str, int]  # connections, and who waits for one


Order = Wake | SetClock | Stop
Answer = ClockIsSet | Pulse


def encode(word: Order | Answer) -> bytes:
    """One line."""
    return msgspec.json.encode(word) + b"\n"


def decode_order(line: bytes) -> Order:
    """What the gateway says. Raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Order)


def decode_answer(line: bytes) -> Answer:
    """What the CRM process says. Raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Answer)
