"""Sparkplug B: values, births, counting, deaths. Messages are written here by hand; pysparkplug's come in elsewhere."""

import json
import struct
from dataclasses import dataclass, field

import pytest

from devices.errors import QuarantineReason
from devices.payloads import Bad
from devices.payloads.dialect import Message, Recall, Translation
from devices.payloads.sparkplug import SparkplugCodec
from devices.payloads.sparkplug.nodes import EdgeNodes
from devices.payloads.sparkplug.payload import read_payload
from devices.payloads.sparkplug.wire import bytes_field, varint_field

NOW_US = 1_760_000_000_000_000
TS_MS = 1_760_000_000_000
INT8, INT32, INT64, UINT32, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME = 1, 3, 4, 7, 8, 9, 10, 11, 12, 13


def double(value: float) -> bytes:
    return b"\x69" + struct.pack("<d", value)


def metric(
    name: str = "", value: bytes = b"", datatype: int = 0, alias: int | None = None, ts: int | None = TS_MS
) -> bytes:
    out = bytes_field(1, name.encode()) if name else b""
    out += varint_field(2, alias) if alias is not None else b""
    out += varint_field(3, ts) if ts is not None else b""
    out += varint_field(4, datatype) if datatype else b""
    return bytes_field(2, out + value)


def payload(*metrics: bytes, seq: int | None = None, ts: int | None = TS_MS) -> bytes:
    out = varint_field(1, ts) if ts is not None else b""
    return out + b"".join(metrics) + (varint_field(3, seq) if seq is not None else b"")


BD_SEQ = metric("bdSeq", varint_field(11, 7), INT64)
TEMPERATURE = metric("Temperature", double(20.5), DOUBLE, alias=1)
RPM = metric("rpm", varint_field(10, 900), INT32, alias=2)


def death(bd_seq: int) -> bytes:
    return payload(metric("bdSeq", varint_field(11, bd_seq), INT64), ts=1)


@dataclass
class Node:
    """An edge node and what came of its messages."""

    codec: SparkplugCodec = field(default_factory=SparkplugCodec)
    now_us: int = NOW_US

    def send(self, kind: str, content: bytes, device: str = "", *, is_replay: bool = False) -> Translation:
        """What comes of a message."""
        topic = f"spBv1.0/plant/{kind}/edge-1" + (f"/{device}" if device else "")
        return self.codec.translate(Message(topic, content, device or "edge-1", self.now_us, is_replay))

    def born(self) -> "Node":
        """The node and a device have told their births."""
        assert not self.send("NBIRTH", payload(BD_SEQ, TEMPERATURE, seq=0)).bad
        assert not self.send("DBIRTH", payload(RPM, seq=1), "pump").bad
        return self


def metrics(translation: Translation) -> dict[str, dict[str, float]]:
    """The last reading of each device."""
    return {said.device_id: dict(reading.metrics) for said in translation.said for reading in said.readings}


def statuses(translation: Translation) -> list[tuple[str, str]]:
    return [(said.device_id, said.status.status) for said in translation.said if said.status]


def codes(translation: Translation) -> list[str]:
    return [event.code for said in translation.said for event in said.events]


def reasons(translation: Translation) -> list[QuarantineReason]:
    return [bad.reason for bad in translation.bad]


@pytest.mark.parametrize(
    ("datatype", "value", "said"),
    [
        (INT8, varint_field(10, 0xFF), -1.0),  # as many bits as the type has…
        (INT8, varint_field(10, 0xFFFF_FFFF), -1.0),  # …or all of the field's
        (INT8, varint_field(10, 0xFFFF_FFFF_FFFF_FFFF), -1.0),  # …or as a signed number, which takes ten bytes
        (INT8, varint_field(10, 127), 127.0),
        (INT32, varint_field(10, 0x8000_0000), -(2.0**31)),
        (INT64, varint_field(11, 2**64 - 5), -5.0),
        (UINT32, varint_field(10, 0xFFFF_FFFF), 2.0**32 - 1),
        (UINT32, varint_field(11, 0xFFFF_FFFF), 2.0**32 - 1),
        (UINT64, varint_field(11, 2**64 - 1), 2.0**64),
        (FLOAT, b"\x65" + struct.pack("<f", 0.5), 0.5),
        (DOUBLE, double(-1e300), -1e300),
        (BOOLEAN, varint_field(14, 1), 1.0),
        (BOOLEAN, varint_field(10, 1), 1.0),
        (DATETIME, varint_field(11, TS_MS), float(TS_MS)),
        (0, double(3.0), 3.0),  # needs no type
    ],
)
def test_numbers(datatype: int, value: bytes, said: float) -> None:
    translation = Node().send("NBIRTH", payload(BD_SEQ, metric("a", value, datatype), seq=0))
    assert metrics(translation) == {"edge-1": {"a": said}}


@pytest.mark.parametrize(
    ("datatype", "value", "said"),
    [
        (STRING, bytes_field(15, b"idle"), "idle"),
        (17, bytes_field(16, b"\x00\xff"), "AP8="),
        (23, bytes_field(16, struct.pack("<2h", -1, 2)), [-1, 2]),
        (32, bytes_field(16, b"\x03\0\0\0\xa0"), [True, False, True]),
        (33, bytes_field(16, b"a\0b\0"), ["a", "b"]),
        (
            16,
            bytes_field(
                17,
                bytes_field(2, b"x")
                + varint_field(3, INT8)
                + bytes_field(4, bytes_field(1, varint_field(1, 0xFF)) + bytes_field(1, bytes_field(6, b"t"))),
            ),
            {"columns": ["x"], "rows": [[-1, "t"]]},
        ),
    ],
    ids=str,
)
def test_what_is_no_number_is_an_event_by_its_name(datatype: int, value: bytes, said: object) -> None:
    translation = Node().send("NBIRTH", payload(BD_SEQ, metric("a/b", value, datatype), seq=0))
    (one,) = translation.said
    assert [event.code for event in one.events] == ["a_b"]
    assert json.loads(one.events[0].data or b"") == {"value": said}
    assert one.events[0].ts_us == TS_MS * 1000


def test_a_template_s_metrics_are_named_by_their_path() -> None:
    inner = metric("rpm", double(5.0), DOUBLE, ts=None)
    template = metric("motor", bytes_field(18, inner), 19)
    assert metrics(Node().send("NBIRTH", payload(BD_SEQ, template, seq=0))) == {"edge-1": {"motor_rpm": 5.0}}


def test_a_template_s_definition_is_no_reading() -> None:
    inner = metric("rpm", double(0.0), DOUBLE, ts=None)
    definition = metric("_types_/motor", bytes_field(18, inner + varint_field(5, 1)), 19)
    instance = metric("m1", bytes_field(18, inner + varint_field(5, 0)), 19)
    assert metrics(Node().send("NBIRTH", payload(BD_SEQ, definition, instance, seq=0))) == {"edge-1": {"m1_rpm": 0.0}}


def test_names_become_storable_and_stay_different() -> None:
    names = ["Flow/Rate (l/min)", "a b", "a/b", "Node Control/Rebirth"]
    told = [metric(name, double(float(number)), DOUBLE) for number, name in enumerate(names)]
    (found,) = metrics(Node().send("NBIRTH", payload(BD_SEQ, *told, seq=0))).values()
    assert list(found.values()) == [0.0, 1.0, 2.0]
    assert next(iter(found)) == "Flow_Rate_l_min"
    assert all(name.startswith("a_b_") for name in list(found)[1:])


def test_null_is_absent_and_the_device_was_there() -> None:
    null = metric("a", varint_field(7, 1), DOUBLE)
    assert metrics(Node().send("NBIRTH", payload(BD_SEQ, null, seq=0))) == {"edge-1": {}}


def test_metrics_of_different_times_are_different_readings() -> None:
    told = [metric("a", double(1.0), DOUBLE), metric("b", double(2.0), DOUBLE, ts=TS_MS - 1000)]
    (said,) = Node().send("NBIRTH", payload(BD_SEQ, *told, seq=0)).said
    assert [(reading.ts_us, dict(reading.metrics)) for reading in said.readings] == [
        (TS_MS * 1000, {"a": 1.0}),
        ((TS_MS - 1000) * 1000, {"b": 2.0}),
    ]


def test_without_any_time_the_receipt_counts() -> None:
    (said,) = Node().send("NBIRTH", payload(metric("a", double(1.0), DOUBLE, ts=None), seq=0, ts=None)).said
    assert [reading.ts_us for reading in said.readings] == [None]


def test_a_wide_birth_is_several_readings_of_one_moment() -> None:
    told = [metric(f"m{number}", double(1.0), DOUBLE) for number in range(1200)]
    (said,) = Node().send("NBIRTH", payload(BD_SEQ, *told, seq=0)).said
    assert [len(reading.metrics) for reading in said.readings] == [500, 500, 200]
    assert {reading.ts_us for reading in said.readings} == {TS_MS * 1000}


def test_the_firmware_is_told_by_its_name() -> None:
    told = metric("Properties/Firmware Version", bytes_field(15, b"2.1"), STRING)
    (said,) = Node().send("NBIRTH", payload(BD_SEQ, told, seq=0)).said
    assert [reading.firmware for reading in said.readings] == ["2.1"]


def test_births_are_online_and_explain_aliases() -> None:
    node = Node()
    birth = node.send("NBIRTH", payload(BD_SEQ, TEMPERATURE, seq=0))
    assert statuses(birth) == [("edge-1", "online")]
    assert birth.recalls == [Recall("edge-1", "spBv1.0/plant/NDATA/edge-1", "edge-1", NOW_US)]
    birth = node.send("DBIRTH", payload(RPM, seq=1), "pump")
    assert statuses(birth) == [("pump", "online")]
    assert birth.recalls == [Recall("pump", "spBv1.0/plant/DDATA/edge-1/pump", "edge-1", NOW_US)]
    data = node.send("DDATA", payload(metric("", varint_field(10, 2**32 - 9), alias=2), seq=2), "pump")
    assert metrics(data) == {"pump": {"rpm": -9.0}}
    assert metrics(node.send("NDATA", payload(metric("", double(1.0), alias=1), seq=3))) == {
        "edge-1": {"Temperature": 1.0}
    }


def test_an_alias_that_no_birth_explains_is_kept_and_asked_about() -> None:
    node = Node()
    content = payload(metric("", double(1.0), alias=9), metric("named", double(2.0)), seq=40)
    data = node.send("NDATA", content)
    assert metrics(data) == {"edge-1": {"named": 2.0}}
    (bad,) = data.bad
    assert bad == Bad(content, QuarantineReason.NO_BIRTH, "no birth explains alias 9")
    (reply,) = data.replies
    assert reply.topic == "spBv1.0/plant/NCMD/edge-1"
    (asked,) = read_payload(reply.payload).metrics
    assert (asked.name, asked.datatype, asked.value) == ("Node Control/Rebirth", BOOLEAN, True)


def test_a_name_without_its_type_needs_a_birth_where_the_type_matters() -> None:
    told = [metric("signed", varint_field(10, 255)), metric("plain", double(1.0))]
    data = Node().send("NDATA", payload(*told, seq=0))
    assert metrics(data) == {"edge-1": {"plain": 1.0}}
    assert data.bad[0].detail == "no birth explains 'signed'"


def test_after_a_gap_aliases_are_believed_again_with_the_next_birth() -> None:
    node = Node().born()
    data = payload(metric("", varint_field(10, 1), alias=2), seq=4)
    gap = node.send("DDATA", data, "pump")
    assert codes(gap) == ["sparkplug.gap"]
    assert reasons(gap) == [QuarantineReason.NO_BIRTH]
    assert len(gap.replies) == 1
    assert reasons(node.send("DDATA", payload(metric("", double(1.0), alias=2), seq=5), "pump")) == [
        QuarantineReason.NO_BIRTH
    ]
    node.born()
    again = node.send("DDATA", data, "pump", is_replay=True)
    assert metrics(again) == {"pump": {"rpm": 1.0}}
    assert not again.bad
    assert metrics(node.send("DDATA", payload(metric("", varint_field(10, 3), alias=2), seq=2), "pump")) == {
        "pump": {"rpm": 3.0}
    }


def test_numbers_count_to_255_and_begin_again_and_a_repeated_one_is_no_gap() -> None:
    node = Node().born()
    for seq in (2, 2, *range(3, 256), 0, 1):
        assert not codes(node.send("NDATA", payload(seq=seq)))


def test_a_rebirth_is_asked_for_ever_more_seldom() -> None:
    node = Node()
    asked: list[float] = []
    for second in range(3600):
        node.now_us = NOW_US + second * 1_000_000
        if node.send("NDATA", payload(seq=second % 256)).replies:
            asked.append(second)
    assert asked == [0, 5, 15, 35, 75, 155, 315, 635, 1235, 1835, 2435, 3035]


def test_a_death_takes_the_devices_along() -> None:
    node = Node().born()
    dead = node.send("NDEATH", death(7))
    assert statuses(dead) == [("edge-1", "offline"), ("pump", "offline")]
    assert all(said.status is not None and said.status.ts_us is None for said in dead.said)  # its time is the will's
    assert reasons(node.send("NDATA", payload(metric("", double(1.0), alias=1), seq=0))) == [QuarantineReason.NO_BIRTH]


@pytest.mark.parametrize(("bd_seq", "dies"), [(7, True), (8, True), (6, False), (200, False), (100, True)])
def test_the_death_of_an_earlier_connection_kills_nobody(bd_seq: int, dies: bool) -> None:
    dead = Node().born().send("NDEATH", death(bd_seq))
    assert (statuses(dead) != []) == dies
    assert (codes(dead) == ["sparkplug.old_death"]) != dies


def test_a_device_dies_alone() -> None:
    node = Node().born()
    assert statuses(node.send("DDEATH", payload(seq=2), "pump")) == [("pump", "offline")]
    assert metrics(node.send("NDATA", payload(metric("", double(1.0), alias=1), seq=3))) == {
        "edge-1": {"Temperature": 1.0}
    }


def test_a_wrong_metric_costs_itself() -> None:
    told = [metric("bad", double(float("nan")), DOUBLE), metric("good", double(1.0), DOUBLE)]
    birth = Node().send("NBIRTH", payload(BD_SEQ, *told, seq=0))
    assert metrics(birth) == {"edge-1": {"good": 1.0}}
    assert reasons(birth) == [QuarantineReason.NOT_A_NUMBER]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\x00\xff", QuarantineReason.MALFORMED),
        (b"\x12\xff\xff\xff\xff\x7fa", QuarantineReason.MALFORMED),
        (b"\x0b", QuarantineReason.MALFORMED),
        (b"\x08" + b"\xff" * 11, QuarantineReason.MALFORMED),
        (bytes_field(2, bytes_field(1, b"\xff")), QuarantineReason.MALFORMED),
        (bytes_field(2, varint_field(1, 1)), QuarantineReason.MALFORMED),
        (b"\x12\x00" * 20_001, QuarantineReason.OVERSIZED),
        (payload(metric("a", double(1.0), DOUBLE, ts=10**17), seq=0), QuarantineReason.BAD_TIMESTAMP),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_read(content: bytes, reason: QuarantineReason) -> None:
    assert reasons(Node().send("NBIRTH", content)) == [reason]


def test_templates_nest_only_so_deep() -> None:
    inner = metric("a", double(1.0), DOUBLE)
    for _ in range(50):
        inner = metric("t", bytes_field(18, inner), 19)
    assert reasons(Node().send("NBIRTH", payload(inner, seq=0))) == [QuarantineReason.MALFORMED]


@pytest.mark.parametrize("topic", ["spBv1.0/g/NOTHING/e", "spBv1.0/g/DDATA/e/", "a", "spBv1.0/g/NDATA/e/d"])
def test_other_topics_are_none_of_it(topic: str) -> None:
    translation = SparkplugCodec().translate(Message(topic, payload(seq=0), "", NOW_US))
    assert reasons(translation) == [QuarantineReason.UNKNOWN_TOPIC]


@pytest.mark.parametrize("topic", ["spBv1.0/g/NCMD/e", "spBv1.0/g/DCMD/e/d", "spBv1.0/STATE/h"])
def test_what_hosts_say_is_nobody_s_telemetry(topic: str) -> None:
    assert SparkplugCodec().translate(Message(topic, payload(seq=0), "e", NOW_US)) == Translation()


def test_what_is_remembered_is_bounded() -> None:
    codec = SparkplugCodec()
    codec.nodes = EdgeNodes(most=1000)
    told = [metric(f"m{number}", double(1.0), DOUBLE) for number in range(100)]
    for number in range(200):
        codec.translate(Message(f"spBv1.0/plant/NBIRTH/edge-{number}", payload(*told, seq=0), "", NOW_US))
    assert len(codec.nodes) <= 10
    assert codec.nodes.get("plant", "edge-199") is not None
