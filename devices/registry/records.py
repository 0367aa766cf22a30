"""The shape of a device in an import file, and how a CSV row or a JSON object becomes one."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from devices.clock import within_reach
from devices.credentials import SHORTEST_GENERATED
from devices.ids import is_device_id
from devices.profiles.model import Slug

_PURPOSE: Final = re.compile(r"service|improvement|marketing|share:[a-z0-9][a-z0-9_-]{0,39}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _valid_device_id(text: str) -> str:
    if not is_device_id(text):
        raise ValueError("1 to 64 of A-Z a-z 0-9 _ -")
    return text


def _valid_time_zone(text: str) -> str:
    try:
        _ = ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder of zones
        raise ValueError("an IANA time zone such as Europe/Vienna") from error
    return text


def _valid_language(text: str) -> str:
    if _LANGUAGE.fullmatch(text) is None:
        raise ValueError("a BCP 47 language tag such as de or pt-BR")
    return text


def _valid_purpose(text: str) -> str:
    if _PURPOSE.fullmatch(text) is None:
        raise ValueError("service, improvement, marketing or share:<partner>")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable characters")
    return text


Word = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]


Purpose = Annotated[str, AfterValidator(_valid_purpose)]
Moment = Annotated[AwareDatetime, AfterValidator(within_reach)]
Recipient = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Record(BaseModel):
    # Unknown fields are refused by name: careloop has no place for names, addresses or phone numbers.
    model_config = ConfigDict(frozen=True, extra="forbid")


class AssetRecord(_Record):
    """The product around a device."""

    asset_id: Word | None = None
    serial: Word | None = None
    purchased_on: date | None = None
    warranty_until: date | None = None
    lifecycle_stage: Word | None = None


class OwnerRecord(_Record):
    """Who has it, as a reference into the CRM."""

    owner_ref: Word
    account_ref: Word | None = None
    time_zone: Annotated[str, AfterValidator(_valid_time_zone)] | None = None
    language: Annotated[str, AfterValidator(_valid_language)] | None = None


class GrantRecord(_Record):
    """A word of the owner on one purpose and recipient."""

    purpose: Purpose
    recipient: Recipient
    state: Literal["given", "refused", "revoked"] = "given"
    basis: Word | None = None
    source: Word | None = None
    valid_from: Moment = _ALWAYS
    valid_until: Moment | None = None


class DeviceRecord(_Record):
    """One device with everything that hangs on it."""

    device_id: Annotated[str, AfterValidator(_valid_device_id)]
    model: Slug | None = None
    firmware: Word | None = None
    region: Word | None = None
    password: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(default=None, repr=False)
    generated: bool = False  # the password is 256 random bits, not what a person chose
    asset: AssetRecord = AssetRecord()
    owner: OwnerRecord | None = None
    grants: tuple[GrantRecord, ...] = ()

    @model_validator(mode="after")
    def _parts_agree(self) -> "DeviceRecord":
        if self.grants and self.owner is None:
            raise ValueError("grants need an owner: owner_ref is missing")
        if self.generated and len(self.password or "") < SHORTEST_GENERATED:
            raise ValueError(f"a generated password has at least {SHORTEST_GENERATED} characters of randomness")
        return self


_ASSET_COLUMNS: Final = frozenset(AssetRecord.model_fields)
_OWNER_COLUMNS: Final = frozenset(OwnerRecord.model_fields)
_DEVICE_COLUMNS: Final = frozenset(DeviceRecord.model_fields) - {"asset", "owner"}
COLUMNS: Final = _DEVICE_COLUMNS | _ASSET_COLUMNS | _OWNER_COLUMNS
"""Columns that a CSV file may have."""


def nest(row: Mapping[str, str]) -> dict[str, object]:
    """The fields of a CSV row in the shape of DeviceRecord; empty cells are absent. Raises ValueError."""
    filled = {column: cell.strip() for column, cell in row.items() if cell.strip()}
    fields: dict[str, object] = {column: filled[column] for column in _DEVICE_COLUMNS if column in filled}
    if "grants" in filled:
        fields["grants"] = list(_grants(filled["grants"]))
    fields["asset"] = {column: filled[column] for column in _ASSET_COLUMNS if column in filled}
    owner = {column: filled[column] for column in _OWNER_COLUMNS if column in filled}
    if owner:
        fields["owner"] = owner
    return fields


def _grants(cell: str) -> Iterable[dict[str, str]]:
    """``service:crm=given;share:acme:email=refused``; without ``=``, given."""
    for part in cell.split(";"):
        if not part.strip():
            continue
        key, _, state = part.strip().partition("=")
        purpose, colon, recipient = key.rpartition(":")
        if not colon:
            raise ValueError("grants such as service:crm=given;service:email=refused")
        yield {"purpose": purpose, "recipient": recipient, "state": state or "given"}
