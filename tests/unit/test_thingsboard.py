"""ThingsBoard's payloads: telemetry in all its forms, attributes, questions, and what a gateway tells."""

import json

import pytest

from devices.errors import QuarantineReason
from devices.payloads.dialect import DecodedStatus, Message, Reply, Said, Translation
from devices.payloads.thingsboard import ThingsboardCodec

TS_MS = 1_760_000_000_000


def send(topic: str, content: object, device_id: str = "hub") -> Translation:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ThingsboardCodec().translate(Message(f"v1/{topic}", raw, device_id, TS_MS * 1000))


def telemetry(content: object) -> list[tuple[int | None, dict[str, float]]]:
    translation = send("devices/me/telemetry", content)
    assert not translation.bad
    return [(reading.ts_us, dict(reading.metrics)) for said in translation.said for reading in said.readings]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": 1, "b": True, "c": None}, [(None, {"a": 1.0, "b": 1.0})]),
        ({"ts": TS_MS, "values": {"a": 1}}, [(TS_MS * 1000, {"a": 1.0})]),
        ([{"ts": TS_MS, "values": {"a": 1}}, {"a": 2}], [(TS_MS * 1000, {"a": 1.0}), (None, {"a": 2.0})]),
        ({"ts": TS_MS, "values": {"a": 1}, "metadata": {"source": "x"}}, [(TS_MS * 1000, {"a": 1.0})]),
        ({"ts": 7}, [(None, {"ts": 7.0})]),  # only beside values it is the time
        ({"a": "23.5", "b": "-4"}, [(None, {"a": 23.5, "b": -4.0})]),
        ({"serial": "0012", "code": "1e3", "empty": ""}, []),
        ({}, []),
        ([], []),
    ],
)
def test_telemetry(content: object, said: list[tuple[int | None, dict[str, float]]]) -> None:
    assert telemetry(content) == said


def test_what_is_no_number_is_an_event() -> None:
    (said,) = send("devices/me/telemetry", {"ts": TS_MS, "values": {"mode": "eco", "list": [1], "n": 2}}).said
    assert [(event.ts_us, event.code, event.data) for event in said.events] == [
        (TS_MS * 1000, "mode", b'{"value":"eco"}'),
        (TS_MS * 1000, "list", b'{"value":[1]}'),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nonsense", QuarantineReason.MALFORMED),
        ([7], QuarantineReason.MALFORMED),
        ({"ts": "yesterday", "values": {"a": 1}}, QuarantineReason.BAD_TIMESTAMP),
        (b'{"a": NaN}', QuarantineReason.NOT_A_NUMBER),
        ({"": 1}, QuarantineReason.WRONG_TYPE),
        ({"a": "\0"}, QuarantineReason.MALFORMED),
    ],
)
def test_wrong_telemetry_keeps_its_bytes(content: object, reason: QuarantineReason) -> None:
    (bad,) = send("devices/me/telemetry", content).bad
    assert bad.reason is reason


def test_a_wrong_moment_costs_itself() -> None:
    translation = send("devices/me/telemetry", [{"a": 1}, 7, {"a": 2}])
    assert [bad.raw for bad in translation.bad] == [b"7"]
    assert [dict(reading.metrics) for reading in translation.said[0].readings] == [{"a": 1.0}, {"a": 2.0}]


def test_attributes_are_one_event_and_the_firmware() -> None:
    (said,) = send("devices/me/attributes", {"fwVersion": "1.2", "site": "north"}).said
    assert [(event.code, event.data) for event in said.events] == [
        ("attributes", b'{"fwVersion":"1.2","site":"north"}')
    ]
    assert [(reading.firmware, reading.metrics) for reading in said.readings] == [("1.2", {})]


def test_questions_are_answered() -> None:
    assert send("devices/me/attributes/request/5", {"clientKeys": "a"}).replies == [
        Reply("v1/devices/me/attributes/response/5", b"{}")
    ]
    (reply,) = send("devices/me/rpc/request/6", {"method": "getSessionLimits"}).replies
    assert reply.topic == "v1/devices/me/rpc/response/6"
    assert "rateLimits" in json.loads(reply.payload)
    (reply,) = send("gateway/attributes/request", {"id": 3, "device": "d", "client": True, "key": "a"}).replies
    assert (reply.topic, json.loads(reply.payload)) == (
        "v1/gateway/attributes/response",
        {"id": 3, "device": "d", "values": {}},
    )


def test_calls_and_answers_are_events() -> None:
    (said,) = send("devices/me/rpc/request/7", {"method": "help", "params": 1}).said
    assert [(event.code, event.data) for event in said.events] == [("rpc", b'{"method":"help","params":1}')]
    (said,) = send("devices/me/rpc/response/8", {"ok": True}).said
    assert [(event.code, event.data) for event in said.events] == [
        ("command.ack", b'{"command_id":"8","answer":{"ok":true}}')
    ]


def test_me_is_somebody_only_where_devices_log_in() -> None:
    (bad,) = send("devices/me/telemetry", {"a": 1}, "").bad
    assert bad.reason is QuarantineReason.UNKNOWN_DEVICE


def test_a_gateway_tells_of_many() -> None:
    translation = send("gateway/telemetry", {"a": [{"ts": TS_MS, "values": {"x": 1}}, 7], "b": {"x": 2}})
    assert [(said.device_id, said.via, [dict(one.metrics) for one in said.readings]) for said in translation.said] == [
        ("a", "hub", [{"x": 1.0}]),
        ("b", "hub", [{"x": 2.0}]),
    ]
    (bad,) = translation.bad
    assert json.loads(bad.raw) == {"a": [7]}  # so that it can be read again
    assert send("gateway/connect", {"device": "a", "type": "t"}).said == [
        Said("a", status=DecodedStatus("online"), via="hub")
    ]
    assert send("gateway/disconnect", {"device": "a"}).said == [Said("a", status=DecodedStatus("offline"), via="hub")]
    assert [said.device_id for said in send("gateway/attributes", {"a": {"x": 1}, "b": {"y": 2}}).said] == ["a", "b"]
    (said,) = send("gateway/rpc", {"device": "a", "id": 1, "data": {"ok": 1}}).said
    assert [(said.device_id, event.code) for event in said.events] == [("a", "command.ack")]


@pytest.mark.parametrize("topic", ["gateway/connect", "gateway/telemetry", "gateway/attributes", "gateway/elsewhere"])
def test_a_gateway_that_makes_no_sense(topic: str) -> None:
    assert len(send(topic, [1, 2]).bad) == 1
