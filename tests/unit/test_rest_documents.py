"""Answers in other forms than JSON."""

import pytest

from crm_sync.adapters.contract import Hook
from crm_sync.adapters.http import Exchange
from crm_sync.adapters.rest.calls import Call, Listing
from crm_sync.adapters.rest.classify import CallFailed, Judge
from crm_sync.adapters.rest.documents import Format, read_document
from crm_sync.adapters.rest.hearing import Inbound
from crm_sync.adapters.rest.reading import RestInbound
from crm_sync.adapters.rest.template import Json, look_up

TICKETS = b"""<?xml version="1.0" encoding="UTF-8"?>
<!-- two of them --><d:tickets xmlns:d="urn:desk" page="1">
<d:ticket id="7"><key>case_a</key><note><![CDATA[a < b]]></note></d:ticket><d:ticket id="8"><key/></d:ticket>
</d:tickets>"""
FIRST, SECOND = {"@id": "7", "key": "case_a", "note": "a < b"}, {"@id": "8", "key": ""}


@pytest.mark.parametrize(
    ("written", "body", "told"),
    [
        (
            "xml",
            TICKETS,
            {
                "tickets": {
                    "@page": "1",
                    "ticket": [FIRST, SECOND],
                }
            },
        ),
        ("xml", b"<id unit='x'>7</id>", {"id": {"@unit": "x", "text": "7"}}),
        ("xml", b"  ", None),
        ("form", b"ok=1&id=4%C3%A9&tag=a&tag=b&empty=", {"ok": "1", "id": "4é", "tag": ["a", "b"], "empty": ""}),
        ("text", b"Ok 7", "Ok 7"),
        ("json", b'\xef\xbb\xbf{"id": 7}', {"id": 7}),
        ("json", b"", None),
    ],
)
def test_each_form_is_read(written: Format, body: bytes, told: Json) -> None:
    assert read_document(written, body) == told


@pytest.mark.parametrize(
    ("written", "body"),
    [
        ("xml", b"<html><p>welcome</html>"),
        ("xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        ("xml", b"<?xml version='1.0' encoding='UTF-16'?><a/>\x00"),
        ("xml", "<a/>".encode("utf-16")),
        ("xml", b"<a>" * 70 + b"</a>" * 70),
        ("form", b"no fields here"),
        ("form", b"&".join(b"a=1" for _ in range(1001))),
        ("json", b"<html>"),
        ("json", b"\xff"),
    ],
)
def test_what_is_written_otherwise_is_refused(written: Format, body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each parser has words of its own
        read_document(written, body)


def test_brackets_without_end_are_refused_and_not_gone_into() -> None:
    brackets = b"[" * 100_000
    with pytest.raises(ValueError, match="depth"):
        read_document("json", brackets)
    assert read_document("form", b"a=" + brackets) == {"a": brackets.decode()}


def test_a_call_is_judged_by_what_its_xml_says() -> None:
    call = Listing(path="/tickets", answers="xml", items="tickets.ticket", expect="tickets")
    judge = Judge((), 3)
    answer = judge.read("find", call, Exchange(status=200, body=TICKETS), 0.0)
    assert look_up("tickets.ticket[?key == 'case_a'].\"@id\" | [0]", answer) == "7"
    for body, code in ((b"<html><p>", "not_xml"), (b"<error/>", "refused")):
        with pytest.raises(CallFailed) as raised:
            judge.read("find", call, Exchange(status=200, body=body), 0.0)
        assert raised.value.outcome.code == code
    with pytest.raises(CallFailed) as raised:
        judge.read("read", Call(path="/"), Exchange(status=200, body=b"<a/>"), 0.0)
    assert raised.value.outcome.code == "not_json"


@pytest.mark.parametrize(
    ("written", "body", "paths"),
    [
        ("xml", b"<event><ticket><id>7</id><status>done</status></ticket></event>", ("event.ticket", "id", "status")),
        ("form", b"ticket_id=7&state=done", ("@", "ticket_id", "state")),
    ],
)
def test_a_hook_may_be_xml_or_a_form(written: str, body: bytes, paths: tuple[str, str, str]) -> None:
    events, called, status = paths
    read = {"kind": "token", "parameter": "token", "format": written, "events": events, "id": called, "status": status}
    inbound = RestInbound(Inbound.model_validate({**read, "statuses": {"done": "resolved"}}), "t0ken")
    assert inbound.verify(Hook({}, body, {"token": "t0ken"}), 0.0)
    (change,) = inbound.read(body)
    assert (change.external_id, change.status) == ("7", "resolved")
    with pytest.raises(ValueError):  # noqa: PT011 - each parser has words of its own
        inbound.read(b"neither")
