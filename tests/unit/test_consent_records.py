"""Consent records as JSON-LD: what is written can be read again, and what others write is understood."""

import json
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from devices.errors import ConfigError
from devices.registry.consent import ConsentEvent, ConsentRecord, ConsentState, record_id_of
from devices.registry.dpv import CONTEXT, Controller, write_record
from devices.registry.dpv_reading import read_document
from devices.registry.model import GrantState
from devices.registry.records import GrantRecord

AT = datetime(2026, 3, 3, 11, tzinfo=UTC)
CONTROLLER = Controller("acme", "Acme Appliances GmbH")


def event(state: GrantState, days: float = 0, **changes: object) -> ConsentEvent:
    at = AT + timedelta(days=days)
    plain = ConsentEvent(uuid.uuid5(uuid.NAMESPACE_DNS, f"{state}{days}"), state, at, None, at, basis="consent")
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]


def record(*events: ConsentEvent, purpose: str = "service", recipient: str = "email") -> ConsentRecord:
    return ConsentRecord(record_id_of("default", "crm-1", purpose, recipient), "crm-1", purpose, recipient, events)


def test_the_last_word_counts_and_runs_out() -> None:
    given = event("given", until=AT + timedelta(days=10))
    assert record(given).state_at(AT - timedelta(days=1)) is None
    assert record(given).state_at(AT + timedelta(days=9)) is ConsentState.GIVEN
    assert record(given).state_at(AT + timedelta(days=10)) is ConsentState.EXPIRED
    assert record(given, event("revoked", 2)).state_at(AT + timedelta(days=3)) is ConsentState.WITHDRAWN
    assert record(event("refused", 1), event("given", 0, historic=True)).state_at(AT + timedelta(days=3)) == "refused"


def test_a_record_has_what_the_specification_wants() -> None:
    given = event("given", method="box ticked in the app", notice="https://acme.example/privacy", notice_version="7")
    written = write_record(record(given, event("revoked", 2)), CONTROLLER, AT + timedelta(days=3))
    json.dumps(written)
    assert written["@type"] == "dpv:ConsentRecord"
    assert written["dct:conformsTo"] == "https://w3id.org/dpv/schema/dpv-27560#record"
    assert written["dct:identifier"] == str(record().record_id)
    assert written["dpv:hasDataSubject"] == {"@type": "dpv:DataSubject", "dct:identifier": "crm-1"}
    process = written["dpv:hasProcess"]
    assert isinstance(process, dict)
    assert process["dpv:hasPurpose"] == "dpv:ServiceProvision"
    assert process["dpv:hasLegalBasis"] == "dpv:Consent"
    assert process["dpv:hasPersonalData"] == ["pd:DeviceBased", "pd:EmailAddress"]
    assert process["dpv:hasDataController"]["dpv:hasName"] == "Acme Appliances GmbH"
    assert written["dpv:hasNotice"] == [
        {"@type": "dpv:ConsentNotice", "dct:identifier": "https://acme.example/privacy", "dct:hasVersion": "7"}
    ]
    statuses: Any = written["dpv:hasConsentStatus"]
    first, second = statuses
    assert first["@type"] == ["dpv:ConsentGiven", "dpv:ExpressedConsent"]
    assert first["dpv:isIndicatedAtTime"] == "2026-03-03T11:00:00.000Z"
    assert first["dpv:hasIndicationMethod"] == "box ticked in the app"
    assert first["dpv:isIndicatedBy"] == "dpv:DataSubject"
    assert second["@type"] == ["dpv:ConsentWithdrawn"]


def test_every_prefix_that_is_used_is_explained() -> None:
    given = event("given", until=AT, method="m", notice="n", source="app", personal_data=("pd:EmailAddress",))
    text = json.dumps(write_record(record(given, purpose="share:acme"), CONTROLLER, AT))
    names = re.findall(r'"([a-z]+):[A-Za-z]+"', text)
    assert set(names) - {"share"} <= {key for key in CONTEXT if ":" not in key}


def test_what_has_run_out_is_said_to_have_expired() -> None:
    written = write_record(record(event("given", until=AT + timedelta(days=1))), CONTROLLER, AT + timedelta(days=2))
    assert written["dpv:hasConsentStatus"][-1]["@type"] == ["dpv:ConsentExpired"]  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize(
    "written",
    [
        record(event("given"), event("revoked", 1)),
        record(
            event("given", until=AT + timedelta(days=1), method="call", source="hotline", personal_data=("pd:UID",))
        ),
        record(event("refused", indicated_by="other", recorded_by="person:ann"), purpose="marketing", recipient="sms"),
        record(event("revoked", indicated_by="controller"), purpose="share:acme", recipient="crm-a"),
        record(event("given", basis="because", notice="n", notice_version="2", notice_language="de")),
    ],
)
def test_what_is_written_is_read_again(written: ConsentRecord) -> None:
    document = json.loads(json.dumps(write_record(written, CONTROLLER, AT + timedelta(days=9))))
    (read,) = read_document(document, AT + timedelta(days=9))
    assert read == replace(written, events=list(written.events))


def test_a_record_of_another_system_is_understood() -> None:
    """In the form of the guide's own examples: no names of ours, plain times, a graph."""
    foreign = {
        "@graph": [
            {
                "@id": "https://example.com/a6f58318-72e6-46a2-bfd7-f36d795e30cd",
                "@type": "dpv:ConsentRecord",
                "dct:identifier": "a6f58318-72e6-46a2-bfd7-f36d795e30cd",
                "dpv:hasDataSubject": "crm-7",
                "dpv:hasProcess": {
                    "@type": "dpv:Process",
                    "dpv:hasPurpose": ["dpv:DirectMarketing"],
                    "dpv:hasLegalBasis": "dpv:ExplicitlyExpressedConsent",
                    "dpv:hasPersonalData": "pd:EmailAddress",
                },
                "dpv:hasConsentStatus": [
                    {"@type": "dpv:ConsentWithdrawn", "dpv:isIndicatedAtTime": "2024-04-20"},
                    {
                        "@type": ["dpv:ConsentGiven", "dpv:ExpressedConsent"],
                        "dpv:isIndicatedBy": "dpv:DataSubject",
                        "dpv:isIndicatedAtTime": "2024-01-01T16:08:50",
                    },
                    {"@type": "dpv:ConsentRequested", "dpv:isIndicatedAtTime": "2023-12-31"},
                ],
            }
        ]
    }
    (read,) = read_document(foreign, AT)
    assert (read.owner_ref, read.purpose, read.recipient) == ("crm-7", "marketing", "crm")
    assert str(read.record_id) == "a6f58318-72e6-46a2-bfd7-f36d795e30cd"
    assert [(each.state, each.basis) for each in read.events] == [
        ("given", "explicit_consent"),
        ("revoked", "explicit_consent"),
    ]
    assert read.state_at(AT) is ConsentState.WITHDRAWN
    assert read.events[0].personal_data == ("pd:EmailAddress",)
    (again,) = read_document(foreign, AT + timedelta(days=1))
    assert [each.event_id for each in again.events] == [each.event_id for each in read.events]  # kept once


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ([], "no dpv:ConsentRecord"),
        ({"@type": "dpv:ConsentRecord"}, "missing"),
        ("text", "no dpv:ConsentRecord"),
        ({"@type": "dpv:ConsentReceipt"}, "missing"),
    ],
)
def test_what_is_no_record_is_refused_with_its_fault(broken: object, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(broken, AT)
    assert says in str(caught.value.faults)


def test_a_purpose_that_nobody_here_knows_is_refused() -> None:
    written = write_record(record(event("given")), CONTROLLER, AT)
    process = written["dpv:hasProcess"]
    assert isinstance(process, dict)
    del process["careloop:purpose"]
    process["dpv:hasPurpose"] = "dpv:PaymentManagement"
    with pytest.raises(ConfigError, match=r"PaymentManagement|setting") as caught:
        read_document(written, AT)
    assert "PaymentManagement" in str(caught.value.faults)


@pytest.mark.parametrize(
    "status",
    [
        {"dpv:isIndicatedAtTime": "0001-01-01T00:00:00+05:00"},
        {"dpv:isIndicatedAtTime": "2026-01-01", "dpv:hasDuration": {"rdf:value": "9999-12-31T23:59:59-05:00"}},
    ],
)
def test_a_moment_that_could_never_be_read_again_is_refused(status: dict[str, object]) -> None:
    foreign = write_record(record(event("given")), CONTROLLER, AT)
    with pytest.raises(ConfigError) as caught:
        read_document(foreign | {"dpv:hasConsentStatus": {"@type": "dpv:ConsentGiven", **status}}, AT)
    assert "beyond any calendar" in str(caught.value.faults)
    with pytest.raises(ValidationError, match="beyond any calendar"):
        GrantRecord.model_validate(
            {"purpose": "service", "recipient": "email", "valid_until": "9999-12-31T23:59:59-05:00"}
        )
