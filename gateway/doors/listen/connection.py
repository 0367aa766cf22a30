"""One device's connection to the listen door."""

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, cast

from gateway.doors.listen.acknowledge import Acknowledgements
from gateway.doors.listen.admit import Admission
from gateway.doors.listen.commands import Commands
from gateway.doors.listen.context import LARGEST_SHARE, DoorContext
from gateway.doors.listen.introduce import Introduction
from gateway.doors.listen.short_way import ShortWay
from gateway.doors.listen.subscriptions import Subscriptions
from gateway.doors.listen.tls import certificate_names
from gateway.doors.mqtt import write
from gateway.doors.mqtt.codes import MQTT_5, ReasonCode
from gateway.doors.mqtt.packets import (
    Connect,
    Disconnect,
    Incoming,
    Pingreq,
    Puback,
    Publishes,
    Subscribe,
    Unsubscribe,
    Violation,
    Will,
)
from gateway.doors.reading import Hold, Reading
from gateway.doors.routes import Match
from gateway.intake import Alike, Bunch, Route, Verdict

_LINGER_S: Final = 2.0
"""How long a client may take to read our last words; closing earlier could make its kernel throw them away."""

_REMEMBERED_TOPICS: Final = 32


class _State(Enum):
    ARRIVED = "arrived"  # its introduction is under way
    OPEN = "open"
    CLOSING = "closing"  # our last words are written; what still comes is thrown away
    CLOSED = "closed"


class Connection(ShortWay):
    """Takes a device's packets to the pipeline and its acknowledgements back; the `Origin` of those packets.

    There are many of them, and most are idle: what only some need is made when they need it.
    """

    __slots__ = (
        "_alive_s",
        "_commands",
        "_device_id",
        "_introduction",
        "_known",
        "_session_expiry_s",
        "_state",
        "_subscriptions",
        "_takes_words",
        "_transport",
        "_will",
        "credential_id",
        "network",
        "tick",
    )

    keeps_order = True  # of PUBACKs, per connection

    def __init__(self, door: DoorContext, address: str, network: str, introduced: Callable[[], None]) -> None:
        """`introduced` is called once the device is in, or gone; `network` is whose limit the connection counts to."""
        super().__init__(door)
        self._state = _State.ARRIVED
        self._introduction: Introduction | None = Introduction(door, self, address, introduced)
        self.network = network
        self.credential_id: int | None = None
        self.tick = 0
        self._known: dict[str, Match] = {}
        self._alive_s = 0.0  # 1.5 times the keep-alive; 0: none
        self._device_id = ""
        self._takes_words = True
        self._will: Will | None = None
        self._session_expiry_s = 0
        self._transport: asyncio.Transport  # set by connection_made, which comes first
        self._commands: Commands  # set by let_in
        self._subscriptions: Subscriptions

    @property
    def is_open(self) -> bool:
        """Whether its device is in."""
        return self._state is _State.OPEN

    # -- the socket ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A device's socket is open; it has a while to introduce itself."""
        self._transport = cast("asyncio.Transport", transport)
        self._reading = Reading(self._transport)
        certificate = transport.get_extra_info("peercert")
        if certificate and self._introduction is not None:
            self._introduction.shows(certificate_names(certificate))
        self._door.arrived(self)
        self._door.wheel.put(self, self._door.settings.connect_timeout)

    def data_received(self, data: bytes) -> None:
        """Bytes from the device."""
        if self._plain is not None and self.take_single(self._plain, data):
            return
        if self._state is _State.CLOSING:
            return
        self.hand_on_single()
        packets = self._stream.feed(data)
        if not packets:
            return
        self._heard_s = self._loop.time()
        if self._state is _State.OPEN:
            self._take(packets)
        elif self._introduction is not None:
            self._introduction.take(packets, self._stream.version)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        del exc
        self._leave()
        self._state = _State.CLOSED
        self._door.wheel.remove(self)
        self._end_introduction()
        self._door.gone(self)
        self._door.counters.disconnected += 1

    # -- logging in ----------------------------------------------------------------------------------------------------

    def let_in(self, connect: Connect, admission: Admission, early: Sequence[Incoming]) -> None:
        """The device has said who it is; `early` came right behind its CONNECT."""
        if self._state is not _State.ARRIVED:  # it was gone before its password was checked
            return
        door = self._door
        device_id = admission.device_id
        if door.roll.enter(device_id, self):
            door.counters.taken_over += 1
            door.log.warning("listen.taken_over", device_id=device_id)
        door.counters.logins += 1
        self._state = _State.OPEN
        self._end_introduction()
        self._device_id = device_id
        self.credential_id = door.logins.credential_of(connect)
        self._version = connect.version
        self._takes_words = write.has_room_for_words(connect.max_packet_bytes)
        self._will = connect.will
        self._session_expiry_s = connect.session_expiry_s
        with_reasons = connect.version == MQTT_5 and connect.wants_reasons and self._takes_words
        self._acknowledgements = Acknowledgements(with_reasons=with_reasons)
        self._subscriptions = Subscriptions(device_id, connect.version, door.reach)
        self._commands = Commands(connect)
        self._transport.write(admission.connack)
        self._alive_s = 1.5 * admission.keep_alive_s
        door.wheel.remove(self)
        if self._alive_s:
            door.wheel.put(self, self._alive_s)
        door.valve.let_in(self)
        self._take(early)

    def show_out(self, last_words: bytes) -> None:
        """The device is not let in."""
        self._close(last_words)

    def _end_introduction(self) -> None:
        introduction, self._introduction = self._introduction, None
        if introduction is not None:
            introduction.ended()

    # -- packets -------------------------------------------------------------------------------------------------------

    def _take(self, packets: Sequence[Incoming]) -> None:
        """Hand PUBLISHes to the pipeline in one piece, as far as nothing else stands between them."""
        known, make = self._known, Bunch._make  # _make takes 2/3 of the time of a call
        received_s = self._door.clock.now_s()
        bunches: list[Bunch] = []
        for packet in packets:
            if packet.__class__ is not Publishes:
                self._submit(bunches)
                bunches = []
                self._answer(packet)
                if self._state is not _State.OPEN:
                    return
                continue
            topic, packet_ids, payloads = cast("Publishes", packet)
            match = known.get(topic) or self._match(topic)
            if match is None:
                if not self._refuse_publishes(packet_ids, bunches):
                    return
                continue
            route, device_id, codec = match
            bunches.append(make((self, route, device_id, topic, codec, received_s, packet_ids, payloads)))
        self._submit(bunches)
        if self._acknowledgements.unacknowledged > self._window and self._version == MQTT_5:
            self._violate(Violation(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, f"more than {self._window} unacknowledged"))

        if len(packets) == 1 and len(bunches) == 1:
            self.get_used_to(bunches[0])

    def _match(self, topic: str) -> Match | None:
        """What a topic seen for the first time carries; None when this device may not publish there."""
        match = self._door.reach.match(self._device_id, topic)
        if match is not None and len(self._known) < _REMEMBERED_TOPICS and match.route is not Route.COMMAND_ACK:
            self._known[topic] = match
        return match

    def _refuse_publishes(self, packet_ids: Sequence[int], before: list[Bunch]) -> bool:
        """Refuse PUBLISHes to another device's topic; whether the connection may go on."""
        door = self._door
        door.log.warning("listen.foreign_topic", device_id=self._device_id)
        if self._version != MQTT_5:  # 3.1.1 has no word for it (section 3.3.5): the connection ends
            door.counters.foreign_topics += 1
            self._submit(before)
            self._close(b"")
            return False
        door.counters.foreign_topics += len(packet_ids)
        earlier = sum([len(bunch.tokens) for bunch in before])
        for packet_id in packet_ids:
            if packet_id and (answer := self._acknowledgements.refuse(packet_id, ReasonCode.NOT_AUTHORIZED, earlier)):
                self._transport.write(answer)
        return True

    def _submit(self, bunches: list[Bunch]) -> None:
        if not bunches:
            return
        counters, acknowledgements = self._door.counters, self._acknowledgements
        for bunch in bunches:
            tokens = bunch.tokens
            counters.published += len(tokens)
            size = sum(map(len, bunch.payloads))
            counters.published_bytes += size
            self._unsettled_bytes += size
            acknowledgements.submitted(len(tokens), len(tokens) - tokens.count(0))
        if acknowledgements.unsettled > self._window or self._unsettled_bytes > LARGEST_SHARE:
            self.hold(Hold.WINDOW)
        self.hand_on(bunches)

    def _answer(self, packet: Incoming) -> None:
        """Do what a packet other than PUBLISH asks."""
        match packet:
            case Pingreq():
                self._transport.write(write.PINGRESP)
            case Puback(packet_id):
                self._delivered(self._commands.acknowledged(packet_id))
            case Subscribe(packet_id, filters):
                codes = [self._subscriptions.add(topic_filter, qos) for topic_filter, qos in filters]
                self._transport.write(write.suback(self._version, packet_id, codes))
                if self._subscriptions.hears_commands:
                    self._door.courier.hears(self._device_id)
            case Unsubscribe(packet_id, filters):
                codes = [self._subscriptions.remove(topic_filter) for topic_filter in filters]
                self._transport.write(write.unsuback(self._version, packet_id, codes))
            case Disconnect(with_will, session_expiry_s):
                if session_expiry_s and not self._session_expiry_s:
                    self._violate(Violation(ReasonCode.PROTOCOL_ERROR, "a session that was not asked for cannot last"))
                    return
                if not with_will:
                    self._will = None
                self._close(b"")
            case Violation():
                self._violate(packet)
            case _:  # a second CONNECT is a Violation already
                pass

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Acknowledge packets whose transaction has committed."""
        acknowledgements = self._acknowledgements
        answer = acknowledgements.settle(tokens, verdicts)
        left = acknowledgements.unsettled
        self._unsettled_bytes = left and self._unsettled_bytes * left // (left + len(tokens))  # about so many
        counters = self._door.counters
        if not isinstance(verdicts, Alike) or verdicts.verdict.quarantined:
            counters.quarantined += sum([verdict.quarantined > 0 for verdict in verdicts])
        if self._state is not _State.OPEN:
            return
        if answer:
            counters.acknowledged += len(tokens) - tokens.count(0)
            self._transport.write(answer)
        if self._reading.is_held:
            if left <= self._window // 2 and self._unsettled_bytes <= LARGEST_SHARE // 2:
                self.release(Hold.WINDOW)
            if Hold.STOPPING in self._reading and not left:
                self.dismiss(ReasonCode.SERVER_SHUTTING_DOWN)

    def send_command(self, command_id: str, payload: bytes, expires_in_s: int | None = None) -> bool:
        """Send a command; False when the device has not subscribed to it, or cannot take one more now."""
        if self._state is not _State.OPEN:
            return False
        topic = f"{self._subscriptions.prefix}{command_id}"
        return self._send(topic, payload, self._subscriptions.qos_of(topic), expires_in_s)

    def _delivered(self, topic: str | None) -> None:
        prefix = self._subscriptions.prefix
        if topic is not None and topic.startswith(prefix):
            self._door.courier.delivered(self._device_id, topic.removeprefix(prefix))

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send a dialect's answer at QoS 0; False when the device has not subscribed to it."""
        if self._state is not _State.OPEN:
            return False
        return self._send(topic, payload, None if self._subscriptions.qos_of(topic) is None else 0)

    def _send(self, topic: str, payload: bytes, qos: int | None, expires_in_s: int | None = None) -> bool:
        if qos is None or Hold.WRITING in self._reading:  # it does not read what it was sent before
            return False
        packet = self._commands.write(topic, payload, qos, expires_in_s)
        if packet is None:
            return False
        self._transport.write(packet)
        return True

    # -- the end -------------------------------------------------------------------------------------------------------

    def dismiss(self, code: ReasonCode) -> None:
        """Say goodbye and close; a shutdown of ours is no device's last will."""
        if code is ReasonCode.SERVER_SHUTTING_DOWN:
            self._will = None
        self._close(write.disconnect(code) if self._version == MQTT_5 and self._state is _State.OPEN else b"")

    def finish(self) -> None:
        """Read no more; say goodbye once everything read is settled."""
        self.hold(Hold.STOPPING)
        if not self._acknowledgements.unsettled:
            self.dismiss(ReasonCode.SERVER_SHUTTING_DOWN)

    def abort(self) -> None:
        """Close at once."""
        self._will = None
        self._transport.abort()

    def _violate(self, violation: Violation) -> None:
        self._door.count_violation(violation, self._device_id)
        words = violation.detail if self._takes_words else ""
        self._close(write.disconnect(violation.code, words) if self._version == MQTT_5 else b"")

    def due(self) -> None:
        """The deadline has passed: for CONNECT, for the keep-alive, or for our last words."""
        if self._state is _State.OPEN:
            self._check_alive()
        elif self._state is _State.ARRIVED:
            self._door.counters.timeouts += 1
            self._door.log.warning("listen.no_connect")
            self._close(b"")
        else:
            self._transport.abort()

    def _check_alive(self) -> None:
        """Close when nothing was heard for 1.5 times the keep-alive; time in which we did not listen does not count."""
        silent_s = 0.0 if self._reading.is_held else self._loop.time() - self._heard_s
        if silent_s < self._alive_s:
            self._door.wheel.put(self, self._alive_s - silent_s)
            return
        self._door.counters.timeouts += 1
        self._door.log.warning("listen.keep_alive_missed", device_id=self._device_id)
        self.dismiss(ReasonCode.KEEP_ALIVE_TIMEOUT)

    def _leave(self) -> None:
        """The device is no longer here: free its seat and publish its will. Does something once."""
        if self._state is not _State.OPEN:
            return
        self._state = _State.CLOSING
        self.end_short_way()
        self._door.roll.leave(self._device_id, self)
        self.forget_kept()
        will, self._will = self._will, None
        if will is not None and (match := self._match(will.topic)) is not None:
            self._door.counters.wills += 1
            received_s = self._door.clock.now_s()
            route, device_id, codec = match
            self._submit([Bunch(self, route, device_id, will.topic, codec, received_s, [0], [will.payload])])

    def _close(self, last_words: bytes) -> None:
        """Write `last_words` and close, but let the client read them first."""
        if self._state in (_State.CLOSING, _State.CLOSED):
            return
        self._leave()
        self._state = _State.CLOSING
        self._end_introduction()
        self._door.wheel.remove(self)
        transport = self._transport
        if transport.is_closing():
            return
        self._door.wheel.put(self, _LINGER_S)
        if last_words:
            transport.write(last_words)
        if last_words and transport.can_write_eof():
            transport.write_eof()
            self._reading.read_to_the_end()
        else:
            transport.close()
