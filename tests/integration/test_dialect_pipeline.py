"""Messages of dialects in the pipeline: taken apart, stored, quarantined, answered, and read again after a birth."""

import struct
from collections.abc import Sequence

import pytest

from devices.errors import QuarantineReason
from gateway.authority import Authority, Grant
from gateway.intake import Packet, Route, Verdict
from gateway.pipeline.packets import bunches_of
from gateway.pipeline.settings import PipelineSettings
from tests.ingest.rig import NOW_S, Door, Rig

TS_MS = round(NOW_S * 1000)


class Answering(Door):
    """A door through which something can be said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes) -> bool:
        """Remember it."""
        self.said.append((topic, payload))
        return True


def sparkplug(*metrics: tuple[str, int | None, float], seq: int) -> bytes:
    """A payload of doubles: name, alias, value."""
    out = b"\x08" + varint(TS_MS)
    for name, alias, value in metrics:
        metric = bytes([0x0A, len(name)]) + name.encode() if name else b""
        metric += bytes([0x10, alias]) if alias is not None else b""
        metric += b"\x18" + varint(TS_MS + seq) + b"\x20\x0a\x69" + struct.pack("<d", value)
        out += bytes([0x12, len(metric)]) + metric
    return out + b"\x18" + varint(seq)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


async def send(rig: Rig, door: Door, *messages: tuple[str, str, bytes, str]) -> list[Verdict]:
    """Messages as topic, device, payload, codec; their verdicts."""
    before = len(door.settled)
    packets = [
        Packet(door, door.next_token(), Route.TELEMETRY, device, topic, payload, rig.clock.now_s(), codec)
        for topic, device, payload, codec in messages
    ]
    rig.pipeline.submit(bunches_of(packets))
    await rig.until(lambda: len(door.settled) >= before + len(packets))
    return door.verdicts[before:]


def node(kind: str, payload: bytes, device: str = "k1") -> tuple[str, str, bytes, str]:
    return f"spBv1.0/g/{kind}/{device}", device, payload, "sparkplug"


QUARANTINE = "SELECT device_id, topic, codec, reason, outcome FROM quarantine ORDER BY quarantine_id"


async def test_data_without_a_birth_waits_for_it_and_is_read_by_itself(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        door = Answering()
        early = sparkplug(("", 3, 55.0), seq=9)
        (verdict,) = await send(rig, door, node("NDATA", early))
        assert verdict.quarantined == 1
        assert verdict.reason is QuarantineReason.NO_BIRTH
        assert [topic for topic, _ in door.said] == ["spBv1.0/g/NCMD/k1"]
        waiting = ("k1", "spBv1.0/g/NDATA/k1", "sparkplug", "no_birth")
        assert await rig.rows(QUARANTINE) == [(*waiting, None)]
        birth = sparkplug(("celsius", 3, 20.0), ("boils", 4, 1.0), seq=0)
        (verdict,) = await send(rig, door, node("NBIRTH", birth))
        assert (verdict.stored, verdict.quarantined) == (2, 0)  # a status and a reading
        await rig.until_rows(QUARANTINE, [(*waiting, "stored")])
        assert await rig.rows("SELECT celsius, boils FROM reading_kettle ORDER BY ts") == [(20.0, 1.0), (55.0, None)]


async def test_what_came_before_a_death_is_not_read_with_a_later_birth(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        door = Answering()
        await send(rig, door, node("NDATA", sparkplug(("", 3, 55.0), seq=9)))
        rig.clock.at_s += 1
        await send(rig, door, node("NDEATH", sparkplug(seq=0)))
        rig.clock.at_s += 1
        await send(rig, door, node("NDATA", sparkplug(("", 3, 66.0), seq=1)))
        rig.clock.at_s += 1
        await send(rig, door, node("NBIRTH", sparkplug(("celsius", 3, 20.0), seq=0)))
        await rig.until_rows(
            "SELECT reason, outcome FROM quarantine ORDER BY quarantine_id",
            [("no_birth", None), ("no_birth", "stored")],
        )


async def test_what_a_range_forbids_is_kept_translated_and_needs_no_birth_to_be_read_again(
    plain_database_url: str,
) -> None:
    async with Rig(plain_database_url).running() as rig:
        door = Answering()
        (verdict,) = await send(rig, door, node("NBIRTH", sparkplug(("celsius", 3, 900.0), seq=0)))
        assert verdict.reason is QuarantineReason.OUT_OF_RANGE
        assert await rig.rows("SELECT codec, raw FROM quarantine") == [
            ("json", b'[{"metrics":{"celsius":900.0},"ts":%d}]' % TS_MS)
        ]


async def test_one_message_of_many_devices_has_one_verdict(plain_database_url: str) -> None:
    settings = PipelineSettings(authority=Authority([Grant("a1", ("k*",))]))
    async with Rig(plain_database_url, settings=settings).running() as rig:
        door = Answering()
        content = (
            b'{"k1":[{"ts":1,"values":{"celsius":1}}],"k2":{"celsius":2},"other":{"x":1},'
            b'"not an id":{"x":1},"nobody":7}'
        )
        json_message = ("devices/a1/telemetry", "a1", b'{"metrics":{"x":1}}', "json")
        verdicts = await send(
            rig, door, json_message, ("v1/gateway/telemetry", "a1", content, "thingsboard"), json_message
        )
        assert [token for token, _ in door.settled] == [1, 2, 3]
        assert [(verdict.stored, verdict.quarantined) for verdict in verdicts] == [(1, 0), (2, 2), (1, 0)]
        rows = await rig.rows("SELECT device_id, codec, reason, seen FROM quarantine ORDER BY reason")
        assert rows == [("a1", "thingsboard", "foreign_topic", 1), ("a1", "thingsboard", "malformed", 1)]
        assert await rig.rows("SELECT device_id, celsius FROM reading_kettle ORDER BY device_id") == [
            ("k1", 1.0),
            ("k2", 2.0),
        ]


async def test_all_devices_that_a_gateway_may_not_speak_for_are_named(plain_database_url: str) -> None:
    """They share the message's bytes, and so its row; before, it named the first, and counted one message often."""
    settings = PipelineSettings(authority=Authority([Grant("a1", ("k*",))]))
    async with Rig(plain_database_url, settings=settings).running() as rig:
        content = (
            b'{"m1":{"x":1},"k1":{"celsius":1},"m2":{"x":1},"no id":{"x":1},"m3":[{"x":1},{"x":2}],"also none":{"x":1}}'
        )
        await send(rig, Answering(), ("v1/gateway/telemetry", "a1", content, "thingsboard"))
        rows = await rig.rows("SELECT raw, reason, detail, seen FROM quarantine")
    detail = (
        "a1 may not speak for m1, m2, m3: see listen.gateways; "
        "'no id', 'also none' is no device id: 1 to 64 of A-Z a-z 0-9 _ -"
    )
    assert rows == [(content, "foreign_topic", detail, 1)]


@pytest.mark.parametrize(
    ("device", "payload", "reason"),
    [
        ("k1", b"x" * 300_000, QuarantineReason.OVERSIZED),
        ("k1", b"[", QuarantineReason.MALFORMED),
        ("k9", b'[{"n":"celsius","v":1}]', QuarantineReason.UNKNOWN_DEVICE),
    ],
)
async def test_what_is_wrong_waits_in_quarantine(
    plain_database_url: str, device: str, payload: bytes, reason: QuarantineReason
) -> None:
    async with Rig(plain_database_url).running() as rig:
        (verdict,) = await send(rig, Answering(), (f"plant/{device}", device, payload, "senml"))
        assert (verdict.stored, verdict.quarantined, verdict.reason) == (0, 1, reason)


async def test_a_dialect_that_breaks_its_promise_costs_that_message_only(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(plain_database_url)

    def fail(_message: object) -> Sequence[object]:
        raise RuntimeError

    monkeypatch.setattr(rig.codecs["senml"], "translate", fail)
    async with rig.running():
        message = ("plant/k1", "k1", b"[]", "senml")
        good = ("devices/k1/telemetry", "k1", b'{"metrics":{"celsius":1}}', "json")
        verdicts = await send(rig, Answering(), message, good)
        assert [(verdict.stored, verdict.quarantined) for verdict in verdicts] == [(0, 1), (1, 0)]


async def test_the_microsecond_of_a_dialect_s_time_is_kept(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        payload = b'[{"n":"celsius","v":1,"t":1760000000.123457},{"n":"celsius","v":2,"t":-0.000001}]'
        await send(rig, Answering(), ("plant/k1", "k1", payload, "senml"))
        rows = await rig.rows("SELECT (extract(epoch FROM ts) * 1000000)::bigint FROM reading_kettle ORDER BY ts")
        assert rows == [(round(NOW_S * 1e6) - 1,), (1_760_000_000_123_457,)]
