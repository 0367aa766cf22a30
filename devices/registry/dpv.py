"""Consent records as JSON-LD, in the terms of the W3C community group's Data Privacy Vocabulary.

Structure and terms follow its guide to ISO/IEC TS 27560:2023, https://w3id.org/dpv/guides/consent-27560, and DPV 2.2,
https://w3id.org/dpv. What DPV has no word for (our purpose, and the channel or CRM that it is about) bears a name of
our own beside it, so that a record that is read again is the one that was written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from devices.registry.consent import ConsentEvent, ConsentRecord, ConsentState, IndicatedBy
from devices.registry.model import GrantState

SCHEMA: Final = "https://w3id.org/dpv/schema/dpv-27560#record"
CONTEXT: Final[Mapping[str, object]] = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "dct": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "careloop": "urn:x-careloop:consent:",
    **{
        name: {"@type": "@id"}
        for name in (
            "dct:conformsTo",
            "dpv:hasPurpose",
            "dpv:hasPersonalData",
            "dpv:isIndicatedBy",
        )
    },
    **{
        name: {"@type": "xsd:dateTime"}
        for name in ("dct:created", "dct:modified", "dct:issued", "dpv:isIndicatedAtTime")
    },
}

PURPOSES: Final[Mapping[str, str]] = {
    "service": "dpv:ServiceProvision",
    "improvement": "dpv:ImproveExistingProductsAndServices",
    "marketing": "dpv:Marketing",
}
BASES: Final[Mapping[str, str]] = {
    "consent": "dpv:Consent",
    "explicit_consent": "dpv:ExplicitlyExpressedConsent",
    "contract": "dpv:Contract",
    "legitimate_interest": "dpv:LegitimateInterest",
    "legal_obligation": "dpv:LegalObligation",
    "vital_interest": "dpv:VitalInterest",
}
_CHANNEL_DATA: Final[Mapping[str, str]] = {
    "email": "pd:EmailAddress",
    "sms": "pd:TelephoneNumber",
    "phone": "pd:TelephoneNumber",
    "push": "pd:DeviceBased",
}
_STATES: Final[Mapping[GrantState, str]] = {
    "given": "dpv:ConsentGiven",
    "refused": "dpv:ConsentRefused",
    "revoked": "dpv:ConsentWithdrawn",
}
BY: Final[Mapping[IndicatedBy, str]] = {
    "subject": "dpv:DataSubject",
    "controller": "dpv:DataController",
    "other": "dpv:Entity",
}


@dataclass(frozen=True, slots=True)
class Controller:
    """Who answers for the processing."""

    identifier: str
    name: str = ""


def write_record(record: ConsentRecord, controller: Controller, now: datetime) -> dict[str, object]:
    """One record, with all that is known of it at `now`."""
    events = [_event(each) for each in record.events]
    if record.state_at(now) is ConsentState.EXPIRED:
        events.append(_expiry(record))
    written: dict[str, object] = {
        "@context": CONTEXT,
        "@id": f"urn:uuid:{record.record_id}",
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": SCHEMA,
        "dct:identifier": str(record.record_id),
        "dct:created": _instant(min(event.recorded_at for event in record.events)),
        "dct:modified": _instant(max(event.recorded_at for event in record.events)),
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": record.owner_ref},
        "dpv:hasProcess": _process(record, controller),
        "dpv:hasConsentStatus": events,
    }
    if notices := [*_notices(record.events)]:
        written["dpv:hasNotice"] = notices
    return written


def _process(record: ConsentRecord, controller: Controller) -> dict[str, object]:
    shared = record.purpose.startswith("share:")
    bases = dict.fromkeys(_basis(event) for event in record.events if event.basis)
    said = dict.fromkeys(term for event in record.events for term in event.personal_data)
    process: dict[str, object] = {
        "@type": "dpv:Process",
        "dpv:hasPurpose": PURPOSES.get(record.purpose, "dpv:Purpose"),
        "dpv:hasPersonalData": list(said) or _personal_data(record.recipient),
        "dpv:hasDataController": {"@type": "dpv:DataController", "dct:identifier": controller.identifier}
        | ({"dpv:hasName": controller.name} if controller.name else {}),
        "careloop:purpose": record.purpose,
        "careloop:recipient": record.recipient,
    }
    if bases:
        process["dpv:hasLegalBasis"] = list(bases) if len(bases) > 1 else next(iter(bases))
    if shared:
        process["dpv:hasThirdParty"] = {
            "@type": "dpv:ThirdParty",
            "dct:identifier": record.purpose.removeprefix("share:"),
        }
    return process


def _personal_data(recipient: str) -> list[str]:
    contact = _CHANNEL_DATA.get(recipient)
    return list(dict.fromkeys(["pd:DeviceBased", *([contact] if contact else [])]))


def _basis(event: ConsentEvent) -> str:
    return BASES.get((event.basis or "").lower().replace(" ", "_"), event.basis or "")


def _event(event: ConsentEvent) -> dict[str, object]:
    status = {"given": "dpv:ConsentGiven", "refused": "dpv:ConsentRefused", "revoked": "dpv:ConsentWithdrawn"}[
        event.state
    ]
    if event.state == "revoked" and event.indicated_by != "subject":
        status = "dpv:ConsentRevoked"  # DPV: by somebody else than the data subject
    types = [status, "dpv:ExpressedConsent"] if event.state == "given" else [status]
    written: dict[str, object] = {
        "@id": f"urn:uuid:{event.event_id}",
        "@type": types,
        "dpv:isIndicatedBy": BY[event.indicated_by],
        "dpv:isIndicatedAtTime": _instant(event.at if event.at.timestamp() > 0 else event.recorded_at),
        "dpv:hasDuration": {"@type": "dpv:EndlessDuration"}
        if event.until is None
        else {"@type": "dpv:UntilTimeDuration", "rdf:value": _instant(event.until)},
        "dct:issued": _instant(event.recorded_at),
        "careloop:state": event.state,
        "careloop:holdsFrom": _instant(event.at),
    }
    optional = {
        "dpv:hasIndicationMethod": event.method,
        "dct:source": event.source,
        "dct:creator": event.recorded_by,
        "careloop:basis": event.basis,
        "careloop:notice": event.notice,
        "careloop:noticeVersion": event.notice_version,
        "careloop:noticeLanguage": event.notice_language,
        "careloop:personalData": list(event.personal_data) or None,
        "careloop:historic": event.historic or None,
    }
    return written | {name: value for name, value in optional.items() if value is not None}


def _expiry(record: ConsentRecord) -> dict[str, object]:
    last = [event for event in record.events if not event.historic][-1]
    assert last.until is not None  # it has expired
    return {
        "@type": ["dpv:ConsentExpired"],
        "dpv:isIndicatedBy": "dpv:DataController",
        "dpv:isIndicatedAtTime": _instant(last.until),
    }


def _notices(events: Sequence[ConsentEvent]) -> Iterator[dict[str, object]]:
    for notice, version, language in dict.fromkeys(
        (event.notice, event.notice_version, event.notice_language) for event in events
    ):
        said = {"dct:identifier": notice, "dct:hasVersion": version, "dct:language": language}
        known: dict[str, object] = {name: value for name, value in said.items() if value is not None}
        if known:
            yield {"@type": "dpv:ConsentNotice"} | known


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
