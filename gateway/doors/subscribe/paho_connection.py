"""One connection to the broker, by paho-mqtt."""

import selectors
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.doors.routes import Match
from gateway.doors.settings import SubscribeSettings
from gateway.doors.subscribe.in_order import InOrder
from gateway.doors.subscribe.renewal import Renewal
from gateway.doors.subscribe.retry import BrokerLost
from gateway.intake import Bunch, Kept, Verdict

_MOST_PACKETS: Final = 500
"""Packets read in one go, before anything else is looked after."""

_TOO_OLD: Final = 0x84


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every connection of a subscription is given."""

    settings: SubscribeSettings
    password: str
    tls: ssl.SSLContext | None
    topic_filters: Sequence[str]
    match: Callable[[str], Match]
    now_s: Callable[[], float]
    on_settled: Callable[[int, int], None]  # packets, and how many of them can no longer be acknowledged
    renewal: Renewal


class BrokerConnection:
    """A connection from its CONNECT to its end; the `Origin` of the packets that came on it.

    Acknowledgements leave only on the connection on which their packet came: a broker gives the same packet
    identifiers to other messages on the next one. Everything but `settle` runs in the network thread; paho's client is
    driven through its interface for foreign loops, so that it is never touched by two threads at once.
    """

    keeps_order = False

    def __init__(self, surroundings: Surroundings, version: MQTTProtocolVersion, *, is_first: bool) -> None:
        """`version` is tried; `is_first`: this process has not subscribed before."""
        self._around = surroundings
        self._version = version
        self._is_first = is_first
        self._settled: deque[int] = deque()
        self._answers: deque[tuple[str, bytes]] = deque()
        self._order = InOrder()
        self._kept = Kept(self)  # of what the broker had kept
        self._received: list[Bunch] = []
        self._received_s = 0.0
        self._ended = ""
        self._refused_version = False
        self._answered = False
        self.redelivered = 0
        self.is_subscribed = False
        self.keeps_session = True  # the broker, when we go
        self._client = self._new_client()

    def _new_client(self) -> Client:
        settings = self._around.settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=False if self._version is MQTTProtocolVersion.MQTTv311 else None,
            protocol=self._version,
            transport=settings.transport,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = settings.connect_timeout
        if settings.transport == "websockets":
            client.ws_set_options(settings.websocket_path)
        if self._around.tls is not None:
            client.tls_set_context(self._around.tls)  # pyright: ignore[reportUnknownMemberType] - half typed
        if settings.username:
            client.username_pw_set(settings.username, self._around.password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    # -- in the network thread -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and send CONNECT. Raises BrokerLost."""
        settings = self._around.settings
        try:
            if self._version is MQTTProtocolVersion.MQTTv5:
                properties = Properties(PacketTypes.CONNECT)
                properties.SessionExpiryInterval = int(settings.session_expiry)
                properties.ReceiveMaximum = settings.receive_maximum
                self._client.connect(
                    settings.host, settings.port, int(settings.keep_alive), clean_start=False, properties=properties
                )
            else:
                self._client.connect(settings.host, settings.port, int(settings.keep_alive))
        except (OSError, ValueError) as error:  # ValueError: what paho makes of a wrong WebSocket answer, and more
            raise BrokerLost(str(error) or type(error).__name__) from error

    def wait(self, waker: socket.socket, timeout_s: float, *, reading: bool) -> None:
        """Return when there is something to read or write, when `waker` has a byte, or after `timeout_s`."""
        sock = self._client.socket()
        if sock is None:
            raise self._lost()
        pending = cast("Callable[[], int] | None", getattr(sock, "pending", None))
        if reading and pending is not None and pending() > 0:
            return
        wanted = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        with selectors.DefaultSelector() as selector:  # not select(): a gateway has more than 1024 descriptors
            selector.register(waker, selectors.EVENT_READ)
            if wanted:
                selector.register(cast("socket.socket", sock), wanted)
            selector.select(timeout_s)

    def read(self) -> list[Bunch]:
        """What has arrived, up to a limit. Raises BrokerLost once everything before the end has been handed out."""
        received = self._received = []
        self._received_s = self._around.now_s()
        for _ in range(_MOST_PACKETS):
            before = len(received)
            self._client.loop_read()
            if len(received) == before:
                break
        if self._ended and not received:
            raise self._lost()
        return received

    def write(self) -> int:
        """Send settled acknowledgements and whatever else is due; how many these were. Raises BrokerLost."""
        settled: list[int] = []
        while self._settled:
            settled.append(self._settled.popleft())
        packet_ids = self._order.settled(settled)
        for packet_id in packet_ids:
            self._client.ack(packet_id, 1)
        while self._answers:
            topic, payload = self._answers.popleft()
            self._client.publish(topic, payload)
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        if self._ended:
            raise self._lost()
        return len(packet_ids)

    def close(self) -> None:
        """Say goodbye if anybody is still there; the session stays on the broker."""
        self._client.disconnect()
        if self._client.want_write():
            self._client.loop_write()

    def _lost(self) -> BrokerLost:
        reason = self._ended or "connection lost"
        return BrokerLost(reason, refused_version=self._refused_version, unanswered=not self._answered)

    def _on_connect(
        self, client: Client, _data: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._answered = True
        if code.is_failure:
            self._refused_version = code.value == _TOO_OLD
            self._ended = f"refused: {code}"
            return
        if self._version is MQTTProtocolVersion.MQTTv5:
            kept_s = cast("float", getattr(properties, "SessionExpiryInterval", self._around.settings.session_expiry))
            self.keeps_session = int(kept_s) > 0
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            client.subscribe([(topic_filter, options) for topic_filter in self._around.topic_filters])
        elif self._is_first or not flags.session_present:
            client.subscribe([(topic_filter, 1) for topic_filter in self._around.topic_filters])
        else:  # under 3.1.1 subscribing again would bring every retained message again
            self.is_subscribed = True

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [
            f"{topic_filter}: {code}"
            for topic_filter, code in zip(self._around.topic_filters, codes, strict=False)
            if code.is_failure
        ]
        if refused:
            self._ended = "not subscribed: " + "; ".join(refused)
        else:
            self.is_subscribed = True

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        route, device_id, codec = self._around.match(topic)
        token = message.mid if message.qos else 0
        if token:
            self._order.received((token,))
        self.redelivered += message.dup
        tokens, payloads = [token], [bytes(message.payload)]
        origin = self._kept if message.retain else self
        self._received.append(Bunch(origin, route, device_id, topic, codec, self._received_s, tokens, payloads))

    def _on_disconnect(
        self, _client: Client, _data: object, flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        who = "the broker" if flags.is_disconnect_packet_from_server else "the connection"
        self._ended = self._ended or f"{who} ended: {code}"

    # -- in the event loop ---------------------------------------------------------------------------------------------

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Acknowledge packets whose transaction has committed, if their connection still stands."""
        at_qos_1 = [token for token in tokens if token]
        if not self._ended:
            self._around.renewal.settled(verdicts)
            self._settled.extend(at_qos_1)
        self._around.on_settled(len(tokens), len(at_qos_1) if self._ended else 0)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Publish a dialect's answer at QoS 0; False when the connection is gone."""
        if self._ended:
            return False
        self._answers.append((topic, payload))
        self._around.on_settled(0, 0)  # wakes the network thread
        return True
