"""Consent records from JSON-LD: those that careloop wrote, and those that others wrote in the same terms of DPV."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from devices.clock import within_reach
from devices.errors import ConfigError, Fault
from devices.registry.consent import ConsentEvent, ConsentRecord, IndicatedBy
from devices.registry.dpv import BASES, BY, PURPOSES
from devices.registry.model import GrantState
from devices.registry.records import GrantRecord

_MEANT: Final[Mapping[str, str]] = {term: purpose for purpose, term in PURPOSES.items()} | {
    "dpv:RequestedServiceProvision": "service",
    "dpv:CustomerCare": "service",
    "dpv:CommunicationForCustomerCare": "service",
    "dpv:ServiceOptimisation": "improvement",
    "dpv:DirectMarketing": "marketing",
}
_STATES: Final[Mapping[str, tuple[GrantState, IndicatedBy]]] = {
    "dpv:ConsentGiven": ("given", "subject"),
    "dpv:RenewedConsentGiven": ("given", "subject"),
    "dpv:ConsentRefused": ("refused", "subject"),
    "dpv:ConsentWithdrawn": ("revoked", "subject"),
    "dpv:ConsentRevoked": ("revoked", "controller"),
    "dpv:ConsentInvalidated": ("revoked", "other"),
}
_INDICATED: Final[Mapping[str, IndicatedBy]] = {term: by for by, term in BY.items()}


def _many(value: object) -> object:
    return [] if value is None else cast("list[object]", value) if isinstance(value, list) else [value]


def _identified(value: object) -> object:
    """JSON-LD lets a thing be told in full, or by its identifier alone."""
    return {"dct:identifier": value} if isinstance(value, str) else value


def _aware(value: object) -> object:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(at, datetime):
        return at
    return within_reach(at if at.tzinfo else at.replace(tzinfo=UTC))


Texts = Annotated[list[str], BeforeValidator(_many)]
Instant = Annotated[datetime, BeforeValidator(_aware)]


class _Thing(BaseModel):
    model_config = ConfigDict(populate_by_name=False)


class _Identified(_Thing):
    identifier: Annotated[str, Field(alias="dct:identifier", min_length=1)]


class _Duration(_Thing):
    until: Annotated[Instant | None, Field(alias="rdf:value")] = None


class _Process(_Thing):
    purposes: Annotated[Texts, Field(alias="dpv:hasPurpose")] = []
    third: Annotated[_Identified | None, BeforeValidator(_identified), Field(alias="dpv:hasThirdParty")] = None
    personal_data: Annotated[Texts, Field(alias="dpv:hasPersonalData")] = []
    bases: Annotated[Texts, Field(alias="dpv:hasLegalBasis")] = []
    purpose: Annotated[str | None, Field(alias="careloop:purpose")] = None
    recipient: Annotated[str, Field(alias="careloop:recipient")] = "crm"

    def meant(self) -> str:
        """The purpose in careloop's words. Raises ValueError."""
        if self.purpose is not None:
            return self.purpose
        if self.third is not None:
            return f"share:{self.third.identifier}"
        meant = {_MEANT[term] for term in self.purposes if term in _MEANT}
        if len(meant) != 1:
            raise ValueError(f"dpv:hasPurpose {self.purposes} is none that careloop knows, or several")
        return meant.pop()

    def basis(self) -> str | None:
        """The legal basis in careloop's words, else as it stands."""
        named = [next((name for name, term in BASES.items() if term == basis), basis) for basis in self.bases]
        return named[0] if named else None


class _Status(_Thing):
    id: Annotated[str | None, Field(alias="@id")] = None
    types: Annotated[Texts, Field(alias="@type")]
    by: Annotated[str | None, Field(alias="dpv:isIndicatedBy")] = None
    at: Annotated[Instant | None, Field(alias="dpv:isIndicatedAtTime")] = None
    duration: Annotated[_Duration | None, Field(alias="dpv:hasDuration")] = None
    method: Annotated[str | None, Field(alias="dpv:hasIndicationMethod")] = None
    issued: Annotated[Instant | None, Field(alias="dct:issued")] = None
    source: Annotated[str | None, Field(alias="dct:source")] = None
    creator: Annotated[str | None, Field(alias="dct:creator")] = None
    state: Annotated[GrantState | None, Field(alias="careloop:state")] = None
    holds_from: Annotated[Instant | None, Field(alias="careloop:holdsFrom")] = None
    basis: Annotated[str | None, Field(alias="careloop:basis")] = None
    notice: Annotated[str | None, Field(alias="careloop:notice")] = None
    notice_version: Annotated[str | None, Field(alias="careloop:noticeVersion")] = None
    notice_language: Annotated[str | None, Field(alias="careloop:noticeLanguage")] = None
    personal_data: Annotated[Texts, Field(alias="careloop:personalData")] = []

    def event(self, named: str, process: _Process, now: datetime) -> ConsentEvent | None:
        """The word that it tells of; None where it follows from others, as an expiry does. Raises ValueError.

        One without an id of its own is known by its record and what it says: read twice, it is one word.
        """
        said = next((_STATES[kind] for kind in self.types if kind in _STATES), None)
        if said is None:
            return None
        at = self.holds_from or self.at
        if at is None:
            raise ValueError("dpv:isIndicatedAtTime is missing")
        ours = self.state is not None
        return ConsentEvent(
            event_id=_uuid(self.id or f"{named}/{said[0]}/{at.astimezone(UTC).isoformat()}#word"),
            state=said[0],
            at=at.astimezone(UTC),
            until=None if self.duration is None else self.duration.until,
            recorded_at=now if self.issued is None else min(now, self.issued),
            basis=self.basis if ours else process.basis(),
            source=self.source,
            method=self.method,
            notice=self.notice,
            notice_version=self.notice_version,
            notice_language=self.notice_language,
            personal_data=tuple(self.personal_data if ours else process.personal_data),
            indicated_by=_INDICATED.get(self.by or "", said[1]),
            recorded_by=self.creator,
        )


class _Record(_Thing):
    types: Annotated[Texts, Field(alias="@type")]
    id: Annotated[str | None, Field(alias="@id")] = None
    identifier: Annotated[str | None, Field(alias="dct:identifier")] = None
    subject: Annotated[_Identified, BeforeValidator(_identified), Field(alias="dpv:hasDataSubject")]
    processes: Annotated[
        list[_Process], BeforeValidator(_many), Field(alias="dpv:hasProcess", min_length=1, max_length=1)
    ]
    statuses: Annotated[list[_Status], BeforeValidator(_many), Field(alias="dpv:hasConsentStatus", min_length=1)]

    def record(self, now: datetime) -> ConsentRecord:
        """What it tells. Raises ValueError."""
        if "dpv:ConsentRecord" not in self.types:
            raise ValueError(f"@type is {', '.join(self.types)}")
        named = self.identifier or self.id
        if named is None:
            raise ValueError("dct:identifier is missing")
        (process,) = self.processes
        about = GrantRecord(purpose=process.meant(), recipient=process.recipient)  # checks both
        events = [event for status in self.statuses if (event := status.event(named, process, now)) is not None]
        if not events:
            raise ValueError("no event says that it was given, refused or withdrawn")
        events.sort(key=lambda event: (event.at, event.recorded_at))
        return ConsentRecord(_uuid(named), self.subject.identifier, about.purpose, about.recipient, events)


def read_document(document: object, now: datetime) -> list[ConsentRecord]:
    """The records of a document: one, a list of them, or a `@graph`. Raises ConfigError with every fault."""
    records: list[ConsentRecord] = []
    faults: list[Fault] = []
    for number, each in enumerate(_things(document), 1):
        try:
            records.append(_Record.model_validate(each).record(now))
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                where = ".".join(str(part) for part in fault["loc"])
                found = "missing" if fault["type"] == "missing" else repr(fault["input"])[:100]
                faults.append(Fault(f"record {number}: {where}", found, fault["msg"]))
        except ValueError as error:
            faults.append(Fault(f"record {number}", str(error)[:200], "a consent record in the terms of DPV"))
    if not records and not faults:
        faults.append(Fault("document", "no dpv:ConsentRecord", "one at least"))
    if faults:
        raise ConfigError(faults)
    return records


def _things(document: object) -> Iterable[object]:
    if isinstance(document, dict):
        table = cast("dict[str, object]", document)
        return _things(table["@graph"]) if "@graph" in table else [table]
    if not isinstance(document, list):
        return []
    return [one for each in cast("list[object]", document) for one in _things(each)]


def _uuid(text: str) -> uuid.UUID:
    """An id as a UUID; one of another form becomes the UUID that stands for it."""
    try:
        return uuid.UUID(text.removeprefix("urn:uuid:").rpartition("/")[2])
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_URL, text)
