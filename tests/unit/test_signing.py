"""Signatures: the specification's vector, a second opinion, and everything that must not pass."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from crm_sync.signing import BadSignature, SignatureReason, parse_secret, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "QUJD" * 8
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
KEYS = [parse_secret(SECRET)]


def headers(**changed: str) -> dict[str, str]:
    given = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": SIGNATURE}
    return given | {f"webhook-{name}": value for name, value in changed.items()}


def refusal(given: dict[str, str], body: bytes = BODY, now_s: float = TIMESTAMP) -> str:
    with pytest.raises(BadSignature) as raised:
        verify(KEYS, given, body, now_s)
    return raised.value.reason


def test_signs_as_the_specifications_example() -> None:
    assert sign(KEYS, ID, TIMESTAMP, BODY) == headers()


def test_the_library_agrees() -> None:
    body = '{"wörter": "größer als €"}'
    signed = sign([parse_secret(OTHER)], "msg_1", TIMESTAMP, body.encode())
    library = Webhook(OTHER).sign("msg_1", datetime.fromtimestamp(TIMESTAMP, UTC), body)
    assert signed["webhook-signature"] == library


def test_believes_header_names_in_any_case() -> None:
    given = {name.title(): value for name, value in headers().items()}
    assert verify(KEYS, given, BODY, TIMESTAMP).message_id == ID


def test_while_a_secret_is_replaced_either_is_believed() -> None:
    old, new = parse_secret(SECRET), parse_secret(OTHER)
    signed = sign([new, old], ID, TIMESTAMP, BODY)
    for keys in ([old], [new], [old, new]):
        assert verify(keys, signed, BODY, TIMESTAMP).timestamp_s == TIMESTAMP


@pytest.mark.parametrize("offset_s", [-300, 0, 300])
def test_five_minutes_of_difference_are_tolerated(offset_s: float) -> None:
    assert verify(KEYS, headers(), BODY, TIMESTAMP + offset_s).timestamp_s == TIMESTAMP


def test_older_and_newer_is_refused() -> None:
    assert refusal(headers(), now_s=TIMESTAMP + 301) is SignatureReason.TOO_OLD
    assert refusal(headers(), now_s=TIMESTAMP - 301) is SignatureReason.TOO_NEW


def test_unknown_versions_and_malformed_entries_are_passed_over() -> None:
    given = f"v1a,AAAA v2,{SIGNATURE[3:]} garbage , v1, v1,,, v1,\x80 {SIGNATURE}"
    assert verify(KEYS, headers(signature=given), BODY, TIMESTAMP).message_id == ID


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_header_is_needed(missing: str) -> None:
    given = headers()
    del given[missing]
    assert refusal(given) is SignatureReason.MISSING_HEADER


@pytest.mark.parametrize(
    "timestamp", ["", "1614265330.9", "1e9", "+1614265330", " 1614265330", "١٦١٤٢٦٥٣٣٠", "9" * 5000]
)
def test_only_whole_seconds_are_a_timestamp(timestamp: str) -> None:
    assert refusal(headers(timestamp=timestamp)) is SignatureReason.BAD_TIMESTAMP


@pytest.mark.parametrize("message_id", ["", "msg.1", "msg 1", "msg\x00", "nächste", "m" * 257])
def test_ids_hold_no_dots_and_nothing_odd(message_id: str) -> None:
    assert refusal(headers(id=message_id)) is SignatureReason.BAD_ID


@pytest.mark.parametrize(
    "signature",
    [
        "",
        SIGNATURE[3:],
        SIGNATURE.replace("v1", "v2"),
        SIGNATURE[:-2],
        SIGNATURE + "=",
        SIGNATURE.replace(" ", "\t"),
        "v1," + SIGNATURE,
        "v1,\udcff",
        " ".join(["v1,AAAA"] * 16 + [SIGNATURE]),  # only so many are looked at
    ],
)
def test_anything_else_does_not_match(signature: str) -> None:
    if signature != SIGNATURE:
        assert refusal(headers(signature=signature)) is SignatureReason.NO_MATCH


def test_another_body_id_or_time_does_not_match() -> None:
    assert refusal(headers(), BODY + b" ") is SignatureReason.NO_MATCH
    assert refusal(headers(id="msg_other")) is SignatureReason.NO_MATCH
    assert refusal(headers(timestamp=str(TIMESTAMP + 1))) is SignatureReason.NO_MATCH


def test_no_key_believes_nothing() -> None:
    with pytest.raises(BadSignature):
        verify([], headers(), BODY, TIMESTAMP)


def test_secrets_are_read_with_and_without_their_prefix() -> None:
    assert parse_secret(SECRET.removeprefix("whsec_")) == KEYS[0]
    assert parse_secret(SECRET) == KEYS[0]


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_AAAA", "whsec_" + "QUJD" * 30, "whsec_not base64!", "wörter"])
def test_what_is_no_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 random bytes") as raised:
        parse_secret(text)
    assert text == "" or text not in str(raised.value) or text == "whsec_"
