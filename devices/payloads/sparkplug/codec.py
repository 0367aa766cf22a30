"""The codec `sparkplug`: topics, births and deaths, sequence numbers, and the metrics in between.

    spBv1.0/{group}/NBIRTH|NDATA|NDEATH/{edge node}
    spBv1.0/{group}/DBIRTH|DDATA|DDEATH/{edge node}/{device}

The device is the last level: a Sparkplug device, or an edge node with metrics of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import MAX_TS_MS, Bad, DecodedEvent, DecodedReading
from devices.payloads.dialect import DecodedStatus, Message, Recall, Reply, Said, Translation
from devices.payloads.naming import metric_name
from devices.payloads.sparkplug.datatypes import needs_type, unfold, value_of
from devices.payloads.sparkplug.nodes import Birth, EdgeNode, EdgeNodes
from devices.payloads.sparkplug.payload import Metric, Payload, read_payload, rebirth_request
from devices.payloads.sparkplug.wire import WireError
from devices.payloads.storable import shown
from devices.payloads.values import Values, is_firmware_name

NAMESPACE: Final = "spBv1.0"
_BD_SEQ: Final = "bdSeq"
_CONTROLS: Final = ("Node Control/", "Device Control/")
_MOST_PER_READING: Final = 500
_MOST_NAMED: Final = 3
_LONGEST_DETAIL: Final = 240
_Decoded = TypeVar("_Decoded", DecodedReading, DecodedEvent)
_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(slots=True)
class _Content:
    """What the metrics of one message say, and what cannot be said of them."""

    moments: dict[int | None, Values] = field(default_factory=dict[int | None, Values])
    unexplained: list[str] = field(default_factory=list[str])
    faults: list[Rejected] = field(default_factory=list[Rejected])

    def readings(self) -> list[DecodedReading]:
        return [part for ts_us, values in self.moments.items() for part in _parts(values, ts_us)]

    def events(self) -> list[DecodedEvent]:
        return [event for ts_us, values in self.moments.items() for event in values.events(ts_us)]

    def said(self, device_id: str, status: DecodedStatus | None = None) -> list[Said]:
        said = Said(device_id, self.readings(), self.events(), status)
        return [said] if said.readings or said.events or status else []

    def bad(self, payload: bytes) -> list[Bad]:
        """The message once for each kind of fault: what it says besides is stored, and found again by a replay."""
        bad: list[Bad] = []
        if self.faults:
            detail = _listed([fault.detail for fault in self.faults])
            bad.append(Bad(payload, QuarantineReason(self.faults[0].reason), detail))
        if self.unexplained:
            detail = f"no birth explains {_listed(self.unexplained)}"
            bad.append(Bad(payload, QuarantineReason.NO_BIRTH, detail))
        return bad


class SparkplugCodec:
    """Decodes Sparkplug B; remembers births for as long as it lives."""

    name: str = "sparkplug"
    topics: Sequence[str] = (
        *(f"{NAMESPACE}/{{any}}/{kind}/{{device_id}}" for kind in ("NBIRTH", "NDATA", "NDEATH")),
        *(f"{NAMESPACE}/{{any}}/{kind}/{{gateway_id}}/{{device_id}}" for kind in ("DBIRTH", "DDATA", "DDEATH")),
    )
    answers: Sequence[str] = (
        f"{NAMESPACE}/{{any}}/NCMD/{{device_id}}",
        f"{NAMESPACE}/{{any}}/DCMD/{{gateway_id}}/{{device_id}}",
    )

    def __init__(self) -> None:
        self.nodes = EdgeNodes()

    # -- a payload alone -----------------------------------------------------------------------------------------------

    def decode_readings(self, payload: bytes) -> Sequence[DecodedReading | Bad]:
        """The metrics that bear their name and, where it matters, their type."""
        return self._alone(payload, _Content.readings)

    def decode_events(self, payload: bytes) -> Sequence[DecodedEvent | Bad]:
        """The same of metrics that are no numbers."""
        return self._alone(payload, _Content.events)

    @staticmethod
    def _alone(payload: bytes, take: Callable[[_Content], list[_Decoded]]) -> list[_Decoded | Bad]:
        try:
            content = _content(read_payload(payload), None)
        except Rejected as rejected:
            return [Bad(payload, QuarantineReason(rejected.reason), rejected.detail)]
        return [*take(content), *content.bad(payload)]

    # -- a message on its topic ----------------------------------------------------------------------------------------

    def translate(self, message: Message) -> Translation:
        """What a message says, in the state in which its edge node is."""
        if _is_command(message.topic):
            return Translation()  # a host's word to a node, which a wide subscription brings along
        try:
            address = _Address.of(message.topic)
            payload = read_payload(message.payload)
            translate = self._again if message.is_replay else self._live
            return translate(address, message, payload)
        except Rejected as rejected:
            return Translation(bad=[Bad(message.payload, QuarantineReason(rejected.reason), rejected.detail)])

    def _again(self, address: "_Address", message: Message, payload: Payload) -> Translation:
        """From quarantine: read with what is known now, without moving anything."""
        node = self.nodes.get(address.group, address.edge)
        content = _content(payload, _sure_birth(node, address.device))
        return Translation(content.said(address.device_id), content.bad(message.payload))

    def _live(self, address: "_Address", message: Message, payload: Payload) -> Translation:
        node = self.nodes.meet(address.group, address.edge)
        match address.kind:
            case "NBIRTH":
                translation = self._node_born(address, node, message, payload)
            case "NDEATH":
                translation = _node_died(address, node, payload)
            case "DBIRTH":
                translation = self._counted(address, node, message, payload, self._device_born)
            case "DDEATH":
                translation = self._counted(address, node, message, payload, self._device_died)
            case _:
                translation = self._counted(address, node, message, payload, self._data)
        self.nodes.weigh(address.group, address.edge)
        return translation

    def _node_born(self, address: "_Address", node: EdgeNode, message: Message, payload: Payload) -> Translation:
        birth = Birth.of(payload.metrics)
        node.born(birth, payload.seq, _bd_seq(payload))
        content = _content(payload, birth)
        recall = Recall(address.device_id, address.data_topic, address.edge, message.received_us)
        status = DecodedStatus("online", _us(payload.ts_ms))
        return Translation(content.said(address.device_id, status), content.bad(message.payload), recalls=[recall])

    def _counted(
        self,
        address: "_Address",
        node: EdgeNode,
        message: Message,
        payload: Payload,
        translate: "Callable[[_Address, EdgeNode, Message, Payload], Translation]",
    ) -> Translation:
        """A message that has its place in the node's counting; where one is missing, or no birth is known, ask."""
        expected = node.seq
        gap: list[Said] = []
        if not node.counts(payload.seq):
            data = {"seq": payload.seq, "after": expected}
            event = DecodedEvent(None, None, "sparkplug.gap", msgspec.json.encode(data))
            gap = [Said(address.edge, events=[event])]
        translation = translate(address, node, message, payload)
        replies: list[Reply] = []
        if (not node.is_sure or address.device not in node.births) and address.kind != "DDEATH":
            replies = self._ask(address, node, message.received_us)
        return msgspec.structs.replace(translation, said=[*gap, *translation.said], replies=replies)

    @staticmethod
    def _ask(address: "_Address", node: EdgeNode, now_us: int) -> list[Reply]:
        if not node.may_ask(now_us):
            return []
        topic = f"{NAMESPACE}/{address.group}/NCMD/{address.edge}"
        return [Reply(topic, rebirth_request(now_us // 1000))]

    @staticmethod
    def _device_born(address: "_Address", node: EdgeNode, message: Message, payload: Payload) -> Translation:
        birth = node.births[address.device] = Birth.of(payload.metrics)
        content = _content(payload, birth)
        recalls = (
            [Recall(address.device_id, address.data_topic, address.edge, message.received_us)] if node.is_sure else []
        )
        status = DecodedStatus("online", _us(payload.ts_ms))
        return Translation(content.said(address.device_id, status), content.bad(message.payload), recalls=recalls)

    @staticmethod
    def _device_died(address: "_Address", node: EdgeNode, _message: Message, payload: Payload) -> Translation:
        node.births.pop(address.device, None)
        return Translation([Said(address.device_id, status=DecodedStatus("offline", _us(payload.ts_ms)))])

    @staticmethod
    def _data(address: "_Address", node: EdgeNode, message: Message, payload: Payload) -> Translation:
        content = _content(payload, _sure_birth(node, address.device))
        return Translation(content.said(address.device_id), content.bad(message.payload))


@dataclass(frozen=True, slots=True)
class _Address:
    """What a topic says."""

    group: str
    kind: str
    edge: str
    device: str  # "" for the edge node itself

    @classmethod
    def of(cls, topic: str) -> "_Address":
        """From a topic. Raises Rejected."""
        match topic.split("/"):
            case [_, group, "NBIRTH" | "NDATA" | "NDEATH" as kind, edge]:
                return cls(group, kind, edge, "")
            case [_, group, "DBIRTH" | "DDATA" | "DDEATH" as kind, edge, device] if device:
                return cls(group, kind, edge, device)
            case _:
                raise Rejected(QuarantineReason.UNKNOWN_TOPIC, "no topic of Sparkplug B births, data or deaths")

    @property
    def device_id(self) -> str:
        return self.device or self.edge

    @property
    def data_topic(self) -> str:
        node = f"{NAMESPACE}/{self.group}"
        return f"{node}/DDATA/{self.edge}/{self.device}" if self.device else f"{node}/NDATA/{self.edge}"


def _is_command(topic: str) -> bool:
    return topic.split("/")[2:3] in (["NCMD"], ["DCMD"]) or topic.split("/")[1:2] == ["STATE"]


def _sure_birth(node: EdgeNode | None, device: str) -> Birth | None:
    return node.births.get(device) if node is not None and node.is_sure else None


def _node_died(address: _Address, node: EdgeNode, payload: Payload) -> Translation:
    """A death is written when the connection begins, as its will: its time says nothing, and counts as now."""
    bd_seq = _bd_seq(payload)
    if node.is_outdated(bd_seq):
        data = msgspec.json.encode({"bdSeq": bd_seq, "born": node.bd_seq})
        return Translation([Said(address.edge, events=[DecodedEvent(None, None, "sparkplug.old_death", data)])])
    return Translation([Said(name, status=DecodedStatus("offline")) for name in (address.edge, *node.die())])


def _bd_seq(payload: Payload) -> int | None:
    for metric in payload.metrics:
        if metric.name == _BD_SEQ and isinstance(metric.value, int):
            return metric.value
    return None


# -- metrics -----------------------------------------------------------------------------------------------------------


def _content(payload: Payload, birth: Birth | None) -> _Content:
    """The metrics of a message by their time, named and typed by themselves or by the birth."""
    content = _Content()
    names = _NOTHING if birth is None else birth.metric_names
    for metric in payload.metrics:
        if not _explain(metric, birth):
            content.unexplained.append(_alias(metric))
        elif not _is_control(metric.name):
            try:
                for one in unfold(metric):
                    _put(content, one, payload.ts_ms, names)
            except WireError as error:
                content.faults.append(Rejected(QuarantineReason.MALFORMED, f"{shown(metric.name or '')}: {error}"))
            except Rejected as rejected:
                content.faults.append(rejected)
    return content


def _explain(metric: Metric, birth: Birth | None) -> bool:
    """Give a metric the name and the type that its birth has told; whether it has them now."""
    if birth is not None:
        if not metric.name and metric.alias is not None:
            metric.name = birth.names.get(metric.alias)
        if not metric.datatype and metric.name:
            metric.datatype = birth.types.get(metric.name, 0)
    return bool(metric.name) and not needs_type(metric)


def _is_control(name: str | None) -> bool:
    return name == _BD_SEQ or (name or "").startswith(_CONTROLS)


def _put(content: _Content, metric: Metric, sent_ms: int | None, names: Mapping[str, str]) -> None:
    told = metric.name or ""
    values = content.moments.setdefault(_us(sent_ms if metric.ts_ms is None else metric.ts_ms), Values())
    value = value_of(metric)
    if isinstance(value, str) and is_firmware_name(told):
        values.put("firmware", value)
    else:
        values.put(names.get(told) or metric_name(told), value)


def _parts(values: Values, ts_us: int | None) -> Iterable[DecodedReading]:
    """A moment as readings of bounded width, which complete each other in the store.

    Where every metric is null there is one without values: the device was there.
    """
    metrics = list(values.metrics.items())
    if not metrics and values.others and values.firmware is None:
        return
    for start in range(0, max(len(metrics), 1), _MOST_PER_READING):
        part = dict(metrics[start : start + _MOST_PER_READING])
        yield DecodedReading(ts_us, None, values.firmware, part)


def _us(ts_ms: int | None) -> int | None:
    if ts_ms is None:
        return None
    if ts_ms > MAX_TS_MS:
        raise Rejected(QuarantineReason.BAD_TIMESTAMP, f"the time {ts_ms} ms is beyond the year 9999")
    return ts_ms * 1000


def _alias(metric: Metric) -> str:
    return shown(metric.name) if metric.name else f"alias {metric.alias}"


def _listed(words: Sequence[str]) -> str:
    more = len(words) - _MOST_NAMED
    text = ", ".join(words[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return text[:_LONGEST_DETAIL]
