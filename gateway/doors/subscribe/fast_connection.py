"""One connection to the broker, by our own client."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import repeat
from typing import Final, cast

from gateway.doors.mqtt import client_write, write
from gateway.doors.mqtt.answers import Answer, Connack, Dismissal, FromBroker, Pingresp, Suback, say
from gateway.doors.mqtt.broker_stream import BrokerStream
from gateway.doors.mqtt.codes import MQTT_5, ReasonCode
from gateway.doors.mqtt.packets import Messages, Publishes, Retained, Violation
from gateway.doors.reading import Hold, Reading
from gateway.doors.subscribe.fast_context import FastContext
from gateway.doors.subscribe.in_order import InOrder
from gateway.doors.subscribe.low_water import LowWater
from gateway.doors.subscribe.renewal import LOOK_S, WHY, WITHIN_S
from gateway.doors.subscribe.retry import BrokerLost
from gateway.intake import Kept, Mixed, Verdict

_LINGER_S: Final = 2.0
"""How long the broker may take to read our last words."""

_FILTERS_PER_SUBSCRIBE: Final = 8
"""As many as AWS IoT Core takes in one packet; others take more."""

_UNANSWERED_PINGS: Final = 2
_FIRST_REFUSAL: Final = 0x80


class FastConnection(asyncio.Protocol):
    """A connection from its CONNECT to its end; the `Origin` of the packets that came on it.

    Acknowledgements leave only on the connection on which their packet came: a broker gives the same packet
    identifiers to other messages on the next one.
    """

    keeps_order = False

    def __init__(self, context: FastContext, version: int, *, is_first: bool) -> None:
        """`version` is spoken; `is_first`: this process has not subscribed before."""
        self._context = context
        self._counters = context.counters
        self._version = version
        self._is_first = is_first
        self._loop = asyncio.get_running_loop()
        self._stream = BrokerStream(version, context.cut)
        self._keep_alive_s = context.settings.keep_alive
        self._unanswered = 0  # pings since anything was heard
        self._unsettled = 0  # of this connection
        self._order = InOrder()
        self._kept = Kept(self)  # of what the broker had kept
        self._renewal = context.renewal
        self._renewal.begin()
        self._keeps_session = True  # the broker, when we go
        self._leaving: asyncio.Task[None] | None = None
        self._has_answered = False
        self._has_moved = False  # since the patience timer looked
        self._is_full = False
        self._waiting: dict[int, Sequence[str]] = {}  # filters by the SUBSCRIBE that is not answered yet
        self._refused: list[str] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._transport: asyncio.Transport | None = None
        self._reading: Reading  # set with the transport
        self._low_water: LowWater
        self.is_subscribed = False
        self.subscribed: asyncio.Future[BrokerLost | None] = self._loop.create_future()  # None: it is
        self.ended: asyncio.Future[BrokerLost] = self._loop.create_future()

    # -- the socket ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open, and TLS is agreed on where it is wanted."""
        settings = self._context.settings
        self._transport = cast("asyncio.Transport", transport)
        self._reading = Reading(self._transport)
        self._low_water = LowWater(transport.get_extra_info("socket"), self._loop)
        self._transport.write(
            client_write.connect(
                self._version,
                settings.client_id,
                int(settings.keep_alive),
                self._context.credentials,
                session_expiry_s=int(settings.session_expiry),
                receive_maximum=settings.receive_maximum,
            )
        )
        self._timers["patience"] = self._loop.call_later(settings.connect_timeout, self._lose_patience)

    def data_received(self, data: bytes) -> None:
        """Bytes from the broker."""
        self._unanswered = 0
        if self.ended.done():
            return
        self._low_water.heard()
        packets = self._stream.feed(data)
        if packets:
            self._take(packets)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._low_water.stop()
        self._end(f"the connection ended: {exc or 'closed'}", unanswered=not self._has_answered)
        for timer in self._timers.values():
            timer.cancel()
        self._closed.set()

    # -- packets -------------------------------------------------------------------------------------------------------

    def _take(self, packets: Sequence[FromBroker]) -> None:
        """Hand the messages of one read to the pipeline in one piece, and do what the rest asks."""
        topics: list[str] = []
        packet_ids: list[int] = []
        payloads: list[bytes] = []
        kept: set[int] = set()  # which of them the broker had kept
        others: list[Answer | Violation] = []
        for packet in packets:
            if isinstance(packet, Messages | Publishes):
                topics += packet.topics if isinstance(packet, Messages) else repeat(packet.topic, len(packet.payloads))
                packet_ids += packet.packet_ids
                payloads += packet.payloads
            elif isinstance(packet, Retained):
                kept.add(len(topics))
                topics.append(packet.topic)
                packet_ids.append(packet.packet_id)
                payloads.append(packet.payload)
            else:
                others.append(packet)
        if topics:
            self._submit(topics, packet_ids, payloads, kept)
        for other in others:
            if not self.ended.done():
                self._answer(other)

    def _pieces(
        self, topics: list[str], packet_ids: list[int], payloads: list[bytes], kept: AbstractSet[int]
    ) -> list[Mixed]:
        """Messages one after the other, in as few pieces as what they carry allows."""
        routes, device_ids, codecs = zip(*self._context.topics.match_all(topics), strict=True)
        received_s = self._context.now_s()
        count = len(topics)
        if not kept and routes.count(routes[0]) == codecs.count(codecs[0]) == count:
            return [Mixed(self, routes[0], device_ids, topics, codecs[0], received_s, packet_ids, payloads)]
        kinds = [(*kind, at in kept) for at, kind in enumerate(zip(routes, codecs, strict=True))]
        ends = [end for end in range(1, count) if kinds[end] != kinds[end - 1]]
        cuts = [slice(at, end) for at, end in zip([0, *ends], [*ends, count], strict=True)]
        return [
            Mixed(
                self._kept if cut.start in kept else self,
                routes[cut.start],
                device_ids[cut],
                topics[cut],
                codecs[cut.start],
                received_s,
                packet_ids[cut],
                payloads[cut],
            )
            for cut in cuts
        ]

    def _submit(self, topics: list[str], packet_ids: list[int], payloads: list[bytes], kept: AbstractSet[int]) -> None:
        counters, stream = self._counters, self._stream
        self._has_moved = True
        counters.received += len(packet_ids)
        counters.redelivered += stream.redelivered
        self._renewal.came(self._loop.time(), len(packet_ids), stream.redelivered)
        self._watch_for_calm()
        stream.redelivered = 0
        self._unsettled += len(packet_ids)
        self._order.received(_at_qos_1(packet_ids))
        self._idle.clear()
        if self._context.is_much_unsettled:
            self._pause(Hold.WINDOW)
        if not self._context.intake.submit(self._pieces(topics, packet_ids, payloads, kept)) and not self._is_full:
            self._is_full = True
            self._context.intake.when_ready(self._have_room)
            if self.is_subscribed:
                self._pause(Hold.INTAKE)

    def _pause(self, reason: Hold) -> None:
        self._reading.hold(reason)
        self._renewal.paused(self._loop.time())
        self._watch_for_calm()

    def _watch_for_calm(self) -> None:
        if self._renewal.is_wanted and "renewal" not in self._timers:
            self._timers["renewal"] = self._loop.call_later(LOOK_S, self._look_for_calm)

    def _look_for_calm(self) -> None:
        """Connect anew, all that came acknowledged, when there is nothing to be held up by it, or it is time."""
        now_s = self._loop.time()
        if self._reading.is_held:
            self._renewal.paused(now_s)
        # Who keeps nothing for us, or sends all at QoS 0, has put nothing off; what came meanwhile would be lost.
        may_leave = self.is_subscribed and self._keeps_session and self._counters.acknowledged > 0
        is_calm = not self._unsettled
        if may_leave and self._renewal.is_due(now_s, is_calm=is_calm):
            self._renewal.renewed(now_s, is_calm=is_calm)
            self._leaving = self._loop.create_task(self.leave(WITHIN_S, is_renewal=True))
        else:
            self._timers["renewal"] = self._loop.call_later(LOOK_S, self._look_for_calm)

    def _have_room(self) -> None:
        self._is_full = False
        self._release(Hold.INTAKE)

    def _answer(self, packet: Answer | Violation) -> None:
        """Do what a packet other than PUBLISH asks."""
        match packet:
            case Connack():
                self._enter(packet)
            case Suback():
                self._take_suback(packet)
            case Dismissal(code, detail):
                self._end(f"the broker ended: {say(code, detail)}")
            case Violation(code, detail):
                words = write.disconnect(code, detail) if self._version == MQTT_5 else b""
                self._end(f"the broker broke the protocol: {say(code, detail)}", words)
            case Pingresp():
                pass

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Acknowledge packets whose transaction has committed, if their connection still stands."""
        self._counters.settled += len(tokens)
        self._unsettled -= len(tokens)
        if self.ended.done() or self._transport is None:
            self._counters.too_late += len(_at_qos_1(tokens))
        else:
            self._renewal.settled(verdicts)
            if packet_ids := self._order.settled(_at_qos_1(tokens)):
                self._counters.acknowledged += len(packet_ids)
                self._transport.write(write.pubacks(packet_ids))
        if not self._unsettled:
            self._idle.set()
        self._context.on_settled()

    def publish(self, topic: str, payload: bytes) -> bool:
        """Publish a dialect's answer at QoS 0; False when the connection is gone."""
        if self.ended.done() or self._transport is None:
            return False
        self._transport.write(write.publish(self._version, topic, payload, 0))
        return True

    def check_window(self) -> None:
        """Read on if enough is settled by now, on whichever connection it came."""
        if self._transport is not None and not self._context.is_much_unsettled:
            self._release(Hold.WINDOW)

    def _release(self, reason: Hold) -> None:
        if self._reading.release(reason):
            self._unanswered = 0

    # -- logging in and subscribing ------------------------------------------------------------------------------------

    def _enter(self, connack: Connack) -> None:
        self._has_answered = self._has_moved = True
        if connack.code != ReasonCode.SUCCESS:
            refused_version = connack.code == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
            self._end(f"refused: {say(connack.code, connack.detail)}", refused_version=refused_version)
            return
        self._keep_alive_s = min(self._keep_alive_s, connack.keep_alive_s or self._keep_alive_s)
        if self._version == MQTT_5:
            kept_s = connack.session_expiry_s
            self._keeps_session = int(self._context.settings.session_expiry if kept_s is None else kept_s) > 0
        self._timers["beat"] = self._loop.call_later(self._keep_alive_s / 2, self._beat)
        if self._version == MQTT_5 or self._is_first or not connack.session_present:
            self._subscribe(connack.max_packet_bytes)
        else:  # under 3.1.1 subscribing again would bring every retained message again
            self._be_subscribed()

    def _subscribe(self, max_packet_bytes: int | None) -> None:
        filters = self._context.topic_filters
        for packet_id, start in enumerate(range(0, len(filters), _FILTERS_PER_SUBSCRIBE), 1):
            some = filters[start : start + _FILTERS_PER_SUBSCRIBE]
            packet = client_write.subscribe(self._version, packet_id, some)
            if max_packet_bytes is not None and len(packet) > max_packet_bytes:
                self._end(f"not subscribed: the broker takes {max_packet_bytes} bytes, the topics have {len(packet)}")
                return
            self._waiting[packet_id] = some
            self._write(packet)

    def _take_suback(self, suback: Suback) -> None:
        filters = self._waiting.pop(suback.packet_id, ())
        if len(filters) != len(suback.codes):
            self._end("the broker broke the protocol: SUBACK to something that was not asked")
            return
        for topic_filter, code in zip(filters, suback.codes, strict=True):
            if code >= _FIRST_REFUSAL:
                self._refused.append(f"{topic_filter}: {say(code, suback.detail)}")
            elif code == 0:
                self._context.log.warning("subscribe.granted_qos_0", topic_filter=topic_filter)
        if self._refused:
            self._end("not subscribed: " + "; ".join(self._refused))
        elif not self._waiting:
            self._be_subscribed()

    def _be_subscribed(self) -> None:
        self.is_subscribed = True
        self._timers.pop("patience").cancel()
        if self._is_full:
            self._pause(Hold.INTAKE)
        if not self.subscribed.done():
            self.subscribed.set_result(None)

    def _lose_patience(self) -> None:
        """End when the broker leaves our CONNECT or SUBSCRIBE unanswered.

        What it had queued for us comes before its answer to SUBSCRIBE, and may take its time: that is progress too.
        """
        if not self._has_moved and not self._reading.is_held:
            self._end("the broker did not answer in time")
            return
        self._has_moved = False
        self._timers["patience"] = self._loop.call_later(self._context.settings.connect_timeout, self._lose_patience)

    # -- staying alive -------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Ping twice a keep-alive; end when that stays without an answer while we listen.

        Pings are counted, not seconds: a loop of ours that stood still for a while is no fault of the broker's.
        """
        if not self._reading.is_held:
            if self._unanswered >= _UNANSWERED_PINGS:
                self._end("the broker does not answer pings")
                return
            self._unanswered += 1
        self._write(client_write.PINGREQ)
        self._timers["beat"] = self._loop.call_later(self._keep_alive_s / 2, self._beat)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def leave(self, within_s: float, *, is_renewal: bool = False) -> None:
        """Read no more, wait until what was read is settled and acknowledged, and say goodbye; the session stays."""
        if self._transport is None or self.ended.done():
            return
        self._reading.hold(Hold.STOPPING)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        if not self._part(BrokerLost(WHY if is_renewal else "careloop stops", is_renewal=is_renewal)):
            return
        if self._transport.is_closing():  # the broker was quicker
            return
        self._transport.write(client_write.DISCONNECT)
        # The broker closes. If we did, with something unread, it might see no more of what we have acknowledged.
        self._reading.read_to_the_end()

    async def close(self) -> None:
        """Be gone, after our last words if the broker takes them."""
        self._end("closed")
        if self._transport is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self._closed.wait()
        self._transport.abort()

    def _end(
        self, reason: str, last_words: bytes = b"", *, refused_version: bool = False, unanswered: bool = False
    ) -> None:
        """Part, and close the connection."""
        if not self._part(BrokerLost(reason, refused_version=refused_version, unanswered=unanswered)):
            return
        if self._transport is not None and not self._transport.is_closing():
            if last_words:
                self._transport.write(last_words)
            self._transport.close()

    def _part(self, lost: BrokerLost) -> bool:
        """Take and acknowledge nothing more; False where that was so before."""
        if self.ended.done():
            return False
        self.ended.set_result(lost)
        if not self.subscribed.done():
            self.subscribed.set_result(lost)
        self._idle.set()
        for timer in self._timers.values():
            timer.cancel()
        return True

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self.ended.done():
            self._transport.write(data)


def _at_qos_1(tokens: Sequence[int]) -> Sequence[int]:
    """The packet identifiers; at QoS 0 there is none."""
    return tokens if all(tokens) else [token for token in tokens if token]
