"""Rows of the registry, as the rest of careloop sees them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from devices.credentials import Scheme

GrantState = Literal["given", "refused", "revoked"]
Source = Literal["import", "add", "auto"]


@dataclass(frozen=True, slots=True)
class Device:
    """A device that may be heard; `model` is None where no profile is named."""

    device_id: str
    tenant_id: str
    model: str | None
    region: str | None
    partition: int


@dataclass(frozen=True, slots=True)
class Credential:
    """What a password is checked against; the password itself is nowhere."""

    credential_id: int
    tenant_id: str
    device_id: str
    scheme: Scheme
    salt: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class FirmwareSeen:
    """A device said at `since` (device time), received at `received_at`, that it runs `firmware`."""

    tenant_id: str
    device_id: str
    firmware: str
    since: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Asset:
    """The product that somebody bought."""

    asset_id: str
    tenant_id: str
    device_id: str | None
    model: str | None
    region: str | None
    serial: str | None
    purchased_on: date | None
    warranty_until: date | None
    lifecycle_stage: str | None


@dataclass(frozen=True, slots=True)
class Owner:
    """A person reference: who it is, only the CRM knows."""

    owner_ref: str
    tenant_id: str
    account_ref: str | None
    time_zone: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class AssetView:
    """An asset with the firmware that its device runs, and its present owner (all None where it has none)."""

    tenant_id: str
    asset_id: str
    device_id: str
    model: str | None
    region: str | None
    serial: str | None
    purchased_on: date | None
    warranty_until: date | None
    lifecycle_stage: str | None
    firmware: str | None
    owner_ref: str | None
    account_ref: str | None
    time_zone: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person said about one purpose and recipient, and since when."""

    owner_ref: str
    purpose: str
    recipient: str
    state: GrantState
    basis: str | None
    source: str | None
    recorded_at: datetime
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device on one line; `credentials` is how many passwords it may sign in with."""

    device_id: str
    model: str | None
    region: str | None
    source: Source
    registered_at: datetime
    firmware: str | None
    asset_id: str | None
    owner_ref: str | None
    credentials: int
