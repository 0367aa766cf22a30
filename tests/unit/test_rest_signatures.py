"""Hooks that are signed in the ways that vendors have: composed texts, prefixes, several signatures in one header."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
from pydantic import ValidationError

from crm_sync.adapters.contract import Hook
from crm_sync.adapters.rest.hearing import Inbound
from crm_sync.adapters.rest.reading import RestInbound
from crm_sync.signing import BadSignature

NOW_S = 1_800_000_000.0
BODY = b'{"id": 7, "status": "solved"}'
URL = "https://gateway.example.com/v1/callbacks/desk"
SECRET, OLD = "the secret of hooks", "the one before"


def inbound(secret: str = SECRET, previous: str = "", **how: Any) -> RestInbound:
    read = {"kind": "hmac", "header": "X-Signature", "id": "id", "status": "status", "statuses": {"solved": "resolved"}}
    return RestInbound(Inbound.model_validate({**read, **how}), secret, previous)


def mac(text: bytes, secret: str = SECRET, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), text, algorithm)


def believed(by: RestInbound, header: str, at_s: float = NOW_S, **more: str) -> bool:
    try:
        return bool(by.verify(Hook({"X-Signature": header, **more}, BODY), at_s))
    except BadSignature:
        return False


@pytest.mark.parametrize(
    ("how", "header"),
    [
        ({"prefix": "sha256="}, "sha256=" + mac(BODY).hex()),
        ({"prefix": "sha1=", "algorithm": "sha1"}, "sha1=" + mac(BODY, algorithm="sha1").hex()),
        ({"encoding": "base64"}, base64.b64encode(mac(BODY)).decode()),
        ({"encoding": "base64"}, base64.urlsafe_b64encode(mac(BODY)).decode().rstrip("=")),
        (
            {"signed": f"POST{URL}{{body}}", "encoding": "base64"},
            base64.b64encode(mac(b"POST" + URL.encode() + BODY)).decode(),
        ),
    ],
)
def test_one_signature(how: dict[str, Any], header: str) -> None:
    assert believed(inbound(**how), header)
    assert not believed(inbound("another secret", **how), header)
    assert not believed(inbound(**how), header[:-2] + ("00" if header[-2:] != "00" else "11"))
    assert not believed(inbound(**how), "")


STRIPE_LIKE: dict[str, Any] = {
    "signed": "{timestamp}.{body}",
    "signatures": r"v1=([0-9a-f]{64})",
    "timestamp_header": "X-Signature",
    "timestamp_pattern": r"t=(\d+)",
}


def composed(*secrets: str, at_s: float = NOW_S) -> str:
    stamp = str(int(at_s))
    shown = [f"v1={mac(f'{stamp}.'.encode() + BODY, secret).hex()}" for secret in secrets]
    return ",".join([f"t={stamp}", *shown, "v0=" + "00" * 32])


def test_several_signatures_and_the_timestamp_in_one_header() -> None:
    by = inbound(**STRIPE_LIKE)
    assert believed(by, composed(SECRET))
    assert believed(by, composed(OLD, SECRET))  # while the other side signs with both
    assert believed(inbound("new", SECRET, **STRIPE_LIKE), composed(SECRET))  # while we believe both
    assert not believed(by, composed(OLD))
    assert not believed(by, composed(SECRET).replace("v1=", "v0="))
    assert not believed(by, composed(SECRET).replace("t=18", "t=17"))
    assert not believed(by, composed(SECRET, at_s=NOW_S - 301))
    assert not believed(by, "v1=" + "00" * 32)


def test_a_malformed_signature_before_a_good_one_does_not_hide_it() -> None:
    good = base64.b64encode(mac(BODY)).decode()
    by = inbound(encoding="base64", signatures=r"s=([^ ]+)")
    assert believed(by, f"s=%%% s={good}")
    assert not believed(by, f"s=%%% {good}")
    assert not believed(by, " ".join(["s=AAAA"] * 8 + [f"s={good}"]))  # more than eight are nobody's rotation


def test_a_delivery_is_named_by_its_bytes_and_its_moment() -> None:
    by = inbound(**STRIPE_LIKE)
    names = {by.verify(Hook({"X-Signature": composed(SECRET, at_s=at_s)}, BODY), NOW_S) for at_s in (NOW_S, NOW_S - 1)}
    assert len(names) == 2
    assert all(len(name) == len(hashlib.sha256().hexdigest()) for name in names)


def test_a_file_that_signs_a_moment_says_where_it_stands() -> None:
    with pytest.raises(ValidationError, match="timestamp_header"):
        inbound(signed="{timestamp}.{body}")
