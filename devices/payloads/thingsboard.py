"""The codec `thingsboard`: what devices and gateways made for ThingsBoard's MQTT API send.

    v1/devices/me/telemetry       {"k": v}, {"ts": ms, "values": {"k": v}}, or an array of these
    v1/devices/me/attributes      {"k": v}: kept as one event, `attributes`; the firmware among them counts as such
    v1/gateway/telemetry          {"device": [the same], …}; attributes, connect and disconnect likewise

"me" is whoever logged in. A gateway speaks for other devices, where it may. Numbers and booleans are metrics; text that
is a number counts as one, as it does there; other text, lists and objects become events. Questions are answered, so
that a client need not wait: an attribute request with nothing, a request for the session's limits with none.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar, cast

import msgspec

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import Bad, DecodedEvent, DecodedReading, timestamp_us
from devices.payloads.dialect import DecodedStatus, Message, Reply, Said, Translation
from devices.payloads.elements import elements
from devices.payloads.one_by_one import judge_each
from devices.payloads.storable import kind, must_be_storable, shown
from devices.payloads.values import Values, firmware_of

_ME: Final = "v1/devices/me/"
_GATEWAY: Final = "v1/gateway/"
_NO_LIMITS: Final = b'{"rateLimits":{},"gatewayRateLimits":{}}'
_ACKNOWLEDGEMENT: Final = "command.ack"

Fields = Mapping[str, object]
_Moment = tuple[int | None, Values]
_Decoded = TypeVar("_Decoded", DecodedReading, DecodedEvent)


class ThingsboardCodec:
    """Decodes ThingsBoard's telemetry, attributes and gateway messages; see the module."""

    name: str = "thingsboard"
    topics: Sequence[str] = (
        f"{_ME}telemetry",
        f"{_ME}attributes",
        f"{_ME}attributes/request/{{any}}",
        f"{_ME}rpc/request/{{any}}",
        f"{_ME}rpc/response/{{any}}",
        f"{_GATEWAY}telemetry",
        f"{_GATEWAY}attributes",
        f"{_GATEWAY}attributes/request",
        f"{_GATEWAY}connect",
        f"{_GATEWAY}disconnect",
        f"{_GATEWAY}rpc",
    )
    answers: Sequence[str] = (
        f"{_ME}attributes",
        f"{_ME}attributes/response/{{any}}",
        f"{_ME}rpc/request/{{any}}",
        f"{_ME}rpc/response/{{any}}",
        f"{_GATEWAY}attributes",
        f"{_GATEWAY}attributes/response",
        f"{_GATEWAY}rpc",
    )

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """The numbers of a device's telemetry."""
        return self._decode(payload, lambda moment: _present(moment[1].reading(moment[0])))

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """The rest of a device's telemetry."""
        return self._decode(payload, lambda moment: moment[1].events(moment[0]))

    @staticmethod
    def _decode(payload: bytes, take: Callable[[_Moment], list[_Decoded]]) -> list[_Decoded | Bad]:
        decoded: list[_Decoded | Bad] = []
        for moment in _telemetry(payload):
            decoded.extend([moment] if isinstance(moment, Bad) else take(moment))
        return decoded

    def translate(self, message: Message) -> Translation:
        """What a message on one of the topics says, and the answer to its question."""
        topic, payload = message.topic, message.payload
        try:
            if topic.startswith(_GATEWAY):
                return _of_gateway(topic.removeprefix(_GATEWAY), message)
            _must_be_somebody(message)
            match topic.removeprefix(_ME).split("/"):
                case ["attributes"]:
                    return Translation(_attributes(message.device_id, _object(payload)))
                case ["attributes", "request", number]:
                    return Translation(replies=[Reply(f"{_ME}attributes/response/{number}", b"{}")])
                case ["rpc", "request", number]:
                    return _asked(message.device_id, number, _object(payload))
                case ["rpc", "response", number]:
                    return Translation([_answered(message.device_id, number, _any(payload))])
                case _:
                    return _of_device(message.device_id, payload)
        except Rejected as rejected:
            return Translation(bad=[Bad(payload, QuarantineReason(rejected.reason), rejected.detail)])


def _must_be_somebody(message: Message) -> None:
    if not message.device_id:
        detail = "a broker does not tell who is meant by me: let devices log in, or name them in the topic"
        raise Rejected(QuarantineReason.UNKNOWN_DEVICE, detail)


def _present(reading: DecodedReading | None) -> list[DecodedReading]:
    return [] if reading is None else [reading]


# -- telemetry ---------------------------------------------------------------------------------------------------------


def _telemetry(payload: bytes) -> list[_Moment | Bad]:
    """The moments of a device's telemetry, each judged by itself."""
    return judge_each(payload, _moment)


def _moment(element: object) -> _Moment:
    fields = _fields(element)
    ts_us, said = None, fields
    if "values" in fields and isinstance(fields["values"], dict):
        said = cast("Fields", fields["values"])
        if fields.get("ts") is not None:
            ts_us = timestamp_us(fields["ts"])
            if ts_us is None:
                raise Rejected(QuarantineReason.BAD_TIMESTAMP, "ts is no epoch milliseconds from 1970 to 9999")
    values = Values()
    for name, value in said.items():
        values.put(name, value, numerals=True)
    return ts_us, values


def _of_device(device_id: str, payload: bytes) -> Translation:
    said, bad = _sorted(device_id, "", _telemetry(payload))
    return Translation(said, bad)


def _sorted(device_id: str, via: str, moments: Iterable[_Moment | Bad]) -> tuple[list[Said], list[Bad]]:
    readings: list[DecodedReading] = []
    events: list[DecodedEvent] = []
    bad: list[Bad] = []
    for moment in moments:
        if isinstance(moment, Bad):
            bad.append(moment)
        else:
            readings += _present(moment[1].reading(moment[0]))
            events += moment[1].events(moment[0])
    return [Said(device_id, readings, events, via=via)] if readings or events else [], bad


# -- attributes and calls ----------------------------------------------------------------------------------------------


def _attributes(device_id: str, attributes: Fields, via: str = "") -> list[Said]:
    """Attributes have no history of their own here: what was said at this time is an event."""
    must_be_storable(attributes)
    firmware = firmware_of(attributes)
    readings = [] if firmware is None else [DecodedReading(None, None, firmware, {})]
    return [Said(device_id, readings, [_event("attributes", attributes)], via=via)]


def _asked(device_id: str, number: str, call: Fields) -> Translation:
    method = call.get("method")
    if method == "getSessionLimits":
        return Translation(replies=[Reply(f"{_ME}rpc/response/{number}", _NO_LIMITS)])
    must_be_storable(call)
    return Translation([Said(device_id, events=[_event("rpc", call)])])


def _answered(device_id: str, command_id: str, answer: object, via: str = "") -> Said:
    data = {"command_id": command_id, "answer": answer}
    must_be_storable(data)
    return Said(device_id, events=[_event(_ACKNOWLEDGEMENT, data)], via=via)


def _event(code: str, data: Fields) -> DecodedEvent:
    return DecodedEvent(None, None, code, msgspec.json.encode(data))


# -- the gateway's messages --------------------------------------------------------------------------------------------


def _of_gateway(topic: str, message: Message) -> Translation:
    fields, via = _object(message.payload), message.device_id
    match topic:
        case "telemetry":
            return _of_many(fields, via)
        case "attributes":
            return Translation(
                [said for name, found in fields.items() for said in _attributes(name, _fields(found), via)]
            )
        case "attributes/request":
            device_id = _device(fields)
            answer = msgspec.json.encode({"id": fields.get("id"), "device": device_id, "values": {}})
            return Translation(replies=[Reply(f"{_GATEWAY}attributes/response", answer)])
        case "connect":
            return Translation([Said(_device(fields), status=DecodedStatus("online"), via=via)])
        case "disconnect":
            return Translation([Said(_device(fields), status=DecodedStatus("offline"), via=via)])
        case "rpc":
            return Translation([_answered(_device(fields), str(fields.get("id")), fields.get("data"), via)])
        case _:
            raise Rejected(QuarantineReason.UNKNOWN_TOPIC, f"nothing is known to come on {shown(topic)}")


def _of_many(fields: Fields, via: str) -> Translation:
    everything: list[Said] = []
    faults: list[Bad] = []
    for device_id, found in fields.items():
        moments = cast("list[object]", found) if isinstance(found, list) else [found]
        said, bad = _sorted(device_id, via, _judged(device_id, moments))
        everything += said
        faults += bad
    return Translation(everything, faults)


def _judged(device_id: str, moments: Sequence[object]) -> Iterator[_Moment | Bad]:
    """Each by itself; what is wrong keeps the device's name beside it, so that it can be read again."""
    for moment in moments:
        try:
            yield _moment(moment)
        except Rejected as rejected:
            raw = json.dumps({device_id: [moment]}).encode()
            yield Bad(raw, QuarantineReason(rejected.reason), rejected.detail)


def _device(fields: Fields) -> str:
    device_id = fields.get("device")
    if not isinstance(device_id, str):
        raise Rejected(QuarantineReason.MALFORMED, f"device is {kind(device_id)}, not a name")
    return device_id


def _any(payload: bytes) -> object:
    found = elements(payload)
    return found[0].value if len(found) == 1 else [element.value for element in found]


def _object(payload: bytes) -> Fields:
    return _fields(_any(payload))


def _fields(element: object) -> Fields:
    if not isinstance(element, dict):
        raise Rejected(QuarantineReason.MALFORMED, f"{kind(element)} where an object is expected")
    return cast("Fields", element)
