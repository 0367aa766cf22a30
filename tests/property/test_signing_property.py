"""Whatever strangers send, `verify` answers with a rejection or a belief, and with nothing else."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from crm_sync.signing import BadSignature, sign, verify

NAMES = st.sampled_from(["webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE"]) | st.text()
KEYS = st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=2)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
TIMES = st.integers(0, 10**10)


@given(KEYS, st.dictionaries(NAMES, st.text() | st.from_regex(r"v1,[A-Za-z0-9+/=]*")), st.binary(), st.floats())
def test_arbitrary_headers_and_bodies_are_refused_and_nothing_else(
    keys: list[bytes], headers: dict[str, str], body: bytes, now_s: float
) -> None:
    with contextlib.suppress(BadSignature):
        verify(keys, headers, body, now_s)


@given(KEYS, IDS, TIMES, st.binary())
def test_what_was_signed_is_believed(keys: list[bytes], message_id: str, timestamp_s: int, body: bytes) -> None:
    signed = sign(keys, message_id, timestamp_s, body)
    assert verify(keys[-1:], signed, body, float(timestamp_s)).message_id == message_id


@given(KEYS, IDS, TIMES, st.binary(min_size=1), st.data())
def test_one_flipped_bit_is_noticed(
    keys: list[bytes], message_id: str, timestamp_s: int, body: bytes, data: st.DataObject
) -> None:
    signed = sign(keys, message_id, timestamp_s, body)
    position = data.draw(st.integers(0, len(body) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = body[:position] + bytes([body[position] ^ 1 << bit]) + body[position + 1 :]
    try:
        verify(keys, signed, changed, float(timestamp_s))
    except BadSignature:
        return
    raise AssertionError("believed")
