"""A conversation with a broker under a client id of our own, one step after the other."""

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.doors.settings import SubscribeSettings

ANSWER_S: Final = 5.0
_TURN_S: Final = 0.05
_SESSION_S: Final = 60
_WINDOW: Final = 65_535  # what a broker that says nothing takes
_IN_FLIGHT: Final = 10  # brokers take at least this many at once


@dataclass(frozen=True, slots=True)
class Welcome:
    """What CONNECT was answered."""

    refusal: str | None  # None: we are let in
    is_known: bool = False  # the broker had a session of this client id
    session_expiry_s: int | None = None  # where it grants another than was asked for
    receive_maximum: int = _WINDOW
    maximum_qos: int = 2
    has_wildcards: bool = True


@dataclass(slots=True)
class Talk:
    """One client id at one broker; each `connect` is a new connection. Raises OSError, ValueError, ssl.SSLError."""

    settings: SubscribeSettings
    context: ssl.SSLContext | None
    password: str
    client_id: str
    heard: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    granted: list[ReasonCode] = field(default_factory=list[ReasonCode])
    confirmed: list[ReasonCode] = field(default_factory=list[ReasonCode])  # of our PUBLISHes
    _client: paho.Client | None = None
    _welcome: Welcome | None = None

    @property
    def is_v5(self) -> bool:
        """Whether MQTT 5 is spoken, which tells more."""
        return self.settings.protocol != "3.1.1"

    def connect(self, *, clean: bool, session_expiry_s: int = _SESSION_S) -> Welcome:
        """Sign in; `clean` forgets what the broker has of us."""
        settings = self.settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            clean_session=None if self.is_v5 else clean,
            protocol=paho.MQTTv5 if self.is_v5 else paho.MQTTv311,
            transport=settings.transport,
            reconnect_on_failure=False,
        )
        if settings.transport == "websockets":
            client.ws_set_options(settings.websocket_path)
        if self.context is not None:
            client.tls_set_context(self.context)  # pyright: ignore[reportUnknownMemberType]
        if settings.username:
            client.username_pw_set(settings.username, self.password)
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.connect_timeout = ANSWER_S
        client.on_connect = self._on_connect
        client.on_message = lambda _client, _data, message: self.heard.append((message.topic, bytes(message.payload)))
        client.on_subscribe = lambda _client, _data, _mid, codes, _properties: self.granted.extend(codes)
        client.on_publish = lambda _client, _data, _mid, code, _properties: self.confirmed.append(code)
        self._client, self._welcome = client, None
        if self.is_v5:
            wanted = Properties(PacketTypes.CONNECT)
            wanted.SessionExpiryInterval = session_expiry_s
            client.connect(settings.host, settings.port, clean_start=clean, properties=wanted)
        else:
            client.connect(settings.host, settings.port)
        self.until(lambda: self._welcome is not None)
        return self._welcome or Welcome("no answer to CONNECT")

    def _on_connect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        said = cast("dict[str, int]", {} if properties is None else properties.json())
        self._welcome = Welcome(
            refusal=str(reason) if reason.is_failure else None,
            is_known=flags.session_present,
            session_expiry_s=said.get("SessionExpiryInterval"),
            receive_maximum=said.get("ReceiveMaximum", _WINDOW),
            maximum_qos=said.get("MaximumQoS", 2),
            has_wildcards=bool(said.get("WildcardSubscriptionAvailable", 1)),
        )

    def subscribe(self, filters: Sequence[str]) -> list[ReasonCode]:
        """The broker's answer to each filter; fewer, where it says nothing in time."""
        self.granted.clear()
        assert self._client is not None
        self._client.subscribe([(each, 1) for each in filters])
        self.until(lambda: len(self.granted) >= len(filters))
        return list(self.granted)

    def publish(self, topic: str, count: int) -> list[ReasonCode]:
        """Send numbered messages at QoS 1; the answers, fewer where some have none in time."""
        self.confirmed.clear()
        assert self._client is not None
        for number in range(count):
            self._client.publish(topic, str(number).encode(), qos=1)
        self.until(lambda: len(self.confirmed) >= count)
        return list(self.confirmed)

    def until(self, is_done: Callable[[], bool], timeout_s: float = ANSWER_S) -> bool:
        """Let the conversation go on until something has come, or until nothing has for so long."""
        assert self._client is not None
        last, deadline = self._so_far, time.monotonic() + timeout_s
        while not is_done() and time.monotonic() < deadline:
            if self._client.loop(timeout=_TURN_S) != paho.MQTT_ERR_SUCCESS:
                break
            if self._so_far != last:
                last, deadline = self._so_far, time.monotonic() + timeout_s
        return is_done()

    @property
    def _so_far(self) -> int:
        return len(self.heard) + len(self.confirmed) + len(self.granted)

    def leave(self) -> None:
        """Disconnect; the session stays for as long as was agreed."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop(timeout=_TURN_S)
