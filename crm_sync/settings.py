"""How careloop talks to CRMs, and when it does not."""

import re
from collections.abc import Mapping, Sequence
from datetime import time
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crm_sync.contact_settings import OutreachSettings
from crm_sync.endpoints import DeliverySettings, fault
from crm_sync.team_settings import WEEKDAYS, TeamSettings, TimeZoneName, Weekday
from crm_sync.voice_settings import VoiceSettings
from crm_sync.wording.catalogue import DEFAULT
from devices.profiles.model import SpanS


class MessageType(StrEnum):
    """What a message to a CRM says."""

    ALARM_RAISED = "alarm.raised"
    ALARM_CLEARED = "alarm.cleared"
    CASE_OPENED = "case.opened"
    CASE_UPDATED = "case.updated"
    CASE_RESOLVED = "case.resolved"
    CASE_RETRACTED = "case.retracted"
    OUTREACH_SUPPRESSED = "outreach.suppressed"
    CONSENT_REVOKED = "consent.revoked"
    DEVICE_SILENT = "device.silent"
    ENDPOINT_DISABLED = "endpoint.disabled"


CASE_TYPES: Final = (
    MessageType.CASE_OPENED,
    MessageType.CASE_UPDATED,
    MessageType.CASE_RESOLVED,
    MessageType.CASE_RETRACTED,
)
DEFAULT_TYPES: Final = (*CASE_TYPES, MessageType.ENDPOINT_DISABLED)
_DNS_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,8}")
KEEPERS: Final = frozenset({"rest", "hubspot", "salesforce", "zendesk", "dynamics365"})
"""Adapters to what keeps records of cases, and has nothing that other messages could become."""

_OF_KEEPERS: Final[Mapping[str, object]] = {"types": CASE_TYPES, "timeout": 30.0}
"""What is usual for them: a CRM's own rules run before it answers."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuietHoursSettings(_Section):
    """When an owner is left in peace, on the owner's own clock; no hour of the night if `start` equals `end`."""

    start: time = time(20)
    end: time = time(8)
    days: tuple[Weekday, ...] = ("sunday",)  # quiet from midnight to midnight

    @model_validator(mode="after")
    def _leaves_some_time(self) -> "QuietHoursSettings":
        if set(self.days) == set(WEEKDAYS):
            message = "at least one day of the week must not be quiet"
            raise ValueError(message)
        return self


class EndpointSettings(DeliverySettings):
    """One CRM, helpdesk or webhook receiver; where it is and how patiently it is told: DeliverySettings."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    adapter: str = "webhook"
    types: tuple[MessageType, ...] = DEFAULT_TYPES  # for CRMs: cases alone
    record_link: str = ""  # where people open a record of it: "https://desk.example.com/tickets/{external_id}"
    case_link: str = ""  # where people open our case; usually the console's page, under api.public_url
    language: str = DEFAULT  # of the lines beside the brief; usually crm.language
    wording_folder: str = ""  # usually crm.wording_folder
    spec_file: str = ""  # for `rest`: the TOML file that describes the helpdesk; for named CRMs: what differs there
    format: Literal["standard", "cloudevents"] = "standard"  # for `webhook`: Standard Webhooks, or CloudEvents 1.0
    origin: str = ""  # for CloudEvents: the DNS name that the receiver is asked to allow
    source: str = "/careloop"  # for CloudEvents: the attribute of that name
    account: Mapping[str, str | int] = {}  # for named CRMs: the fields, stages and names of this account

    @model_validator(mode="before")
    @classmethod
    def _keepers_take_cases(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        table = cast("dict[str, object]", given)
        return {**_OF_KEEPERS, **table} if table.get("adapter") in KEEPERS else table

    @model_validator(mode="after")
    def _has_a_secret(self) -> "EndpointSettings":
        if self.adapter == "webhook" and not (self.secret.get_secret_value() or self.secret_file):
            raise fault("neither secret nor secret_file", "exactly one of them", "secret")
        if self.format == "cloudevents" and not _DNS_NAME.fullmatch(self.origin):
            raise fault(self.origin or "nothing", "a DNS name such as service.example.com", "origin")
        return self


class ReconcileSettings(_Section):
    """How often open cases are held against their records by themselves, and what is then mended."""

    every: SpanS = 3600.0  # real; 0: never, `careloop crm reconcile` does it
    repair: tuple[Literal["open_there", "field"], ...] = ("open_there",)  # told again, once; the rest is for people


class CrmSettings(_Section):
    """When a case opens, whom it reaches, and when an owner may be contacted."""

    endpoints: tuple[EndpointSettings, ...] = ()  # the first that takes case.updated carries steps that the owner sees
    kill_switch: bool = False  # true: no case opens and no owner is contacted; what CRMs already know is kept true
    language: str = DEFAULT  # of the company, in which agents are told: a BCP 47 tag such as it
    wording_folder: str = ""  # with <language>.toml files of the company's own words
    stale_after: SpanS = 86400.0  # a device whose newest reading is older is history, and opens no case
    reopen_within: SpanS = 86400.0  # a relapse this soon after the resolution re-opens the case
    quiet_hours: QuietHoursSettings = QuietHoursSettings()
    outreach: OutreachSettings = OutreachSettings()
    voice: VoiceSettings = VoiceSettings()
    teams: tuple[TeamSettings, ...] = ()  # those that are not always there
    silent_fixes: bool = True  # false: playbooks send no commands to products
    silent_fixes_per_hour: Annotated[int, Field(ge=0)] = 100  # to all products together; beyond, people are told
    time_zones: tuple[TimeZoneName, ...] = ()  # for owners without one: a step must be allowed in all of these
    reconcile: ReconcileSettings = ReconcileSettings()
    inbox_batch: Annotated[int, Field(ge=1, le=1000)] = 200  # alarm notices per transaction
    poll_interval: Annotated[SpanS, Field(gt=0)] = 1.0  # real seconds between looks at an idle inbox

    @model_validator(mode="before")
    @classmethod
    def _endpoints_speak_its_language(cls, given: Any) -> Any:
        match given:
            case {"endpoints": list() | tuple()}:
                tree = cast("dict[str, Any]", given)
                usual = {name: tree[name] for name in ("language", "wording_folder") if name in tree}
                endpoints: Sequence[Any] = tree["endpoints"]
                told: list[Any] = [
                    {**usual, **cast("dict[str, Any]", each)} if isinstance(each, dict) else each for each in endpoints
                ]
                return {**tree, "endpoints": told}
            case _:
                return given

    @model_validator(mode="after")
    def _names_are_unique(self) -> "CrmSettings":
        names = [endpoint.name for endpoint in self.endpoints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"endpoint names stand twice: {', '.join(twice)}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _teams_are_known(self) -> "CrmSettings":
        names = [team.name for team in self.teams]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            message = f"team names stand twice: {', '.join(twice)}"
            raise ValueError(message)
        if unknown := sorted({team.fallback for team in self.teams if team.fallback} - set(names)):
            message = f"no team stands for the fallback {', '.join(unknown)}"
            raise ValueError(message)
        return self
