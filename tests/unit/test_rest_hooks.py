"""Signatures of a helpdesk's own hooks, in the encodings that there are."""

import base64
import hmac
from typing import Final, Literal

import pytest

from crm_sync.adapters.contract import Hook
from crm_sync.adapters.rest.hearing import Inbound
from crm_sync.adapters.rest.reading import RestInbound
from crm_sync.signing import BadSignature

KEY: Final = "a secret of theirs"
NOW_S: Final = 1_800_000_000.0
BODY: Final = b'{"id": 5, "state": "\xc3\xa4"}'


def digest_of(number: int) -> bytes:
    return hmac.digest(KEY.encode(), b"%d\n" % number + BODY, "sha512")


NUMBER: Final = next(n for n in range(1000) if {b"+"[0], b"/"[0]} <= set(base64.b64encode(digest_of(n))))
"""Of a digest that the two alphabets write differently."""
DIGEST: Final = digest_of(NUMBER)


def inbound(encoding: Literal["hex", "base64"]) -> RestInbound:
    described = Inbound(
        kind="hmac",
        header="X-Sign",
        algorithm="sha512",
        encoding=encoding,
        signed=f"{NUMBER}\n{{body}}",
        id="id",
        status="state",
        statuses={"ä": "accepted"},
    )
    return RestInbound(described, KEY)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("hex", DIGEST.hex()),
        ("hex", DIGEST.hex().upper()),
        ("base64", base64.b64encode(DIGEST).decode()),
        ("base64", base64.b64encode(DIGEST).decode().rstrip("=")),
        ("base64", base64.urlsafe_b64encode(DIGEST).decode()),
        ("base64", base64.urlsafe_b64encode(DIGEST).decode().rstrip("=")),
    ],
)
def test_a_signature_is_read_as_it_is_written(encoding: Literal["hex", "base64"], shown: str) -> None:
    hooks = inbound(encoding)
    assert hooks.verify(Hook({"x-sign": shown}, BODY, {}), NOW_S)
    assert [each.status for each in hooks.read(BODY)] == ["accepted"]
    with pytest.raises(BadSignature):
        hooks.verify(Hook({"x-sign": shown}, BODY + b" ", {}), NOW_S)


@pytest.mark.parametrize("shown", ["", "=", "====", "ä", "AAAA AAAA", "a", "-_-_", "\x00"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_what_is_no_signature_is_refused_and_nothing_else(encoding: Literal["hex", "base64"], shown: str) -> None:
    with pytest.raises(BadSignature):
        inbound(encoding).verify(Hook({"x-sign": shown}, BODY, {}), NOW_S)


@pytest.mark.parametrize(
    ("events", "body"),
    [
        ("@", b"id=5&state=%C3%A4&empty="),
        ("payload", b"from=desk&payload=%7B%22id%22%3A5%2C%22state%22%3A%22%C3%A4%22%7D"),
        ("payload", b"payload=%5B%7B%22id%22%3A5%2C%22state%22%3A%22%C3%A4%22%7D%5D"),
    ],
)
def test_a_hook_may_come_as_a_form(events: str, body: bytes) -> None:
    described = Inbound(
        kind="token",
        header="X-Token",
        format="form",
        events=events,
        id="id",
        status="state",
        statuses={"ä": "accepted"},
    )
    (told,) = RestInbound(described, KEY).read(body)
    assert (told.external_id, told.status) == ("5", "accepted")


@pytest.mark.parametrize("body", [b"", b"payload=%7B", b"payload=none", b"\x00=\x00"])
def test_a_form_without_news_tells_nothing(body: bytes) -> None:
    described = Inbound(
        kind="token", header="X-Token", format="form", events="payload", id="id", status="s", statuses={}
    )
    assert list(RestInbound(described, KEY).read(body)) == []


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&".join(b"a=1" for _ in range(1001))])
def test_what_is_no_form_is_said_to_be_unreadable(body: bytes) -> None:
    described = Inbound(kind="token", header="X-Token", format="form", id="id", status="s", statuses={})
    with pytest.raises(ValueError, match=r"decode|number of fields"):
        RestInbound(described, KEY).read(body)
