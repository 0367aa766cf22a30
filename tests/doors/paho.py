"""A device on paho-mqtt, in its own thread."""

import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.doors.door import PASSWORD


class PahoDevice:
    """Remembers what the server said. `version` is 4 or 5; with `comes_back` it connects again when it was cut off."""

    def __init__(
        self,
        version: int,
        username: str = "d1",
        password: str = PASSWORD,
        *,
        client_id: str = "paho",
        comes_back: bool = False,
    ) -> None:
        self.connected: list[str] = []
        self.ended: list[str] = []
        self.acknowledged: list[tuple[int, str, str]] = []  # message id, reason, reason string
        self.received: list[tuple[str, bytes]] = []
        self.granted: list[str] = []
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion(version),
            reconnect_on_failure=comes_back,
        )
        if username:
            self.client.username_pw_set(username, password)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_publish = self._on_publish
        self.client.on_message = self._on_message
        self.client.on_subscribe = self._on_subscribe

    def _on_connect(self, _c: Client, _d: object, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
        self.connected.append(str(code))

    def _on_disconnect(
        self, _c: Client, _d: object, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None
    ) -> None:
        self.ended.append(str(code))

    def _on_publish(self, _c: Client, _d: object, mid: int, code: ReasonCode, properties: Properties) -> None:
        self.acknowledged.append((mid, str(code), getattr(properties, "ReasonString", "")))

    def _on_message(self, _c: Client, _d: object, message: MQTTMessage) -> None:
        self.received.append((message.topic, bytes(message.payload)))

    def _on_subscribe(self, _c: Client, _d: object, _mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
        self.granted += [str(code) for code in codes]

    def publish(self, payload: bytes, topic: str = "devices/d1/telemetry", qos: int = 1) -> int:
        """Publish; the message id that `acknowledged` will bear."""
        return self.client.publish(topic, payload, qos).mid

    @contextmanager
    def running(self, port: int, tls: ssl.SSLContext | None = None, keep_alive: int = 60) -> Generator["PahoDevice"]:
        """Connected in the background for the length of a `with`; leaves without a word if it still is."""
        if tls is not None:
            self.client.tls_set_context(tls)  # pyright: ignore[reportUnknownMemberType] - half typed
        # paho connects and shakes hands in a blocking call, which must not stand in the way of the door's event loop
        connecting = threading.Thread(target=self._connect, args=(port, keep_alive))
        connecting.start()
        try:
            yield self
        finally:
            connecting.join()
            self.client.loop_stop()
            if (sock := self.client.socket()) is not None:
                sock.close()

    def _connect(self, port: int, keep_alive: int) -> None:
        try:
            self.client.connect("127.0.0.1", port, keep_alive)
        except OSError as error:
            self.ended.append(str(error))
        else:
            self.client.loop_start()
