"""Conversations with the listen door that are valid in part."""

from hypothesis import strategies as st

from tests.doors import raw

VALID = {
    version: [
        raw.publish(version=version),
        raw.publish("devices/d1/telemetry", b"x" * 400, 9, version=version),
        raw.publish("ä/ö", b"", qos=0, version=version),
        raw.subscribe("devices/d1/commands/+", "a/#", version=version),
        raw.unsubscribe("a", "b", version=version),
        raw.PINGREQ,
        b"\x40\x02\0\7",
        raw.GOODBYE,
    ]
    for version in (4, 5)
}
VALID[5] += [
    raw.publish(extra=b"\x01\1\x02\0\0\0\x09\x03\0\1c\x08\0\1r\x09\0\2\0\1\x26\0\1k\0\1v"),
    raw.publish(extra=b"\x23\0\x03"),
    raw.publish("", extra=b"\x23\0\x03"),
    b"\xe0\x09\x04\x07\x11\0\0\0\0\x1f\0\0",
    b"\x40\x0a\0\7\x10\x06\x1f\0\3no!",
]
CONNECTS = [
    raw.connect(4),
    raw.connect(5, extra=b"\x11\0\0\0\x09\x21\0\5\x27\0\0\x10\0\x22\0\1\x19\1\x17\0\x26\0\1k\0\1v"),
    raw.connect(5, will=("devices/d1/status", b"gone"), will_flags=0x28),
    raw.connect(4, will=("devices/d1/status", b"gone")),
]


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Valid packets, of which any may be mutated: bytes changed, cut out, doubled, or put in."""
    connect = draw(st.sampled_from(CONNECTS))
    packets = [connect, *draw(st.lists(st.sampled_from(VALID[connect[8]]), max_size=10))]
    for at in range(len(packets)):
        if draw(st.integers(0, 3)) == 0:
            packets[at] = draw(mutations(packets[at]))
    return b"".join(packets)


@st.composite
def mutations(draw: st.DrawFn, packet: bytes) -> bytes:
    at = draw(st.integers(0, len(packet)))
    stop = min(len(packet), at + draw(st.integers(0, 8)))
    put = draw(st.one_of(st.binary(max_size=8), st.just(packet[at:stop] * 2), st.sampled_from(NASTY)))
    return packet[:at] + put + packet[stop:]


NASTY = [
    b"\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x01",
    b"\xff\xff",
    b"\0\0",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"$share/",
]
