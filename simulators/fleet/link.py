"""One device's MQTT connection, on paho-mqtt driven from outside."""

import json
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from simulators.fleet.network import Act
from simulators.fleet.packets import Packet, status

_NOT_LET_IN = frozenset({"Bad user name or password", "Not authorized", "Client identifier not valid", "Banned"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where devices connect to, and as whom where they have no account of their own."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 600

    def must_answer(self, within_s: float = 3.0) -> None:
        """Raise NobodyAnswers unless something listens there."""
        try:
            socket.create_connection((self.host, self.port), within_s).close()
        except OSError as error:
            raise NobodyAnswers(f"nobody answers at {self.host}:{self.port}: {_words(error)}") from error


@dataclass(frozen=True, slots=True)
class Errand:
    """Something for a device to do on its connection; `step` is the stretch of simulated time it belongs to."""

    step: int
    act: Act
    packet: Packet | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Who connects: a device, its secret if it has one, and the MQTT version that it speaks (4 is 3.1.1)."""

    device_id: str
    secret: str | None
    protocol: int = 5


class Refused(Exception):  # it says what happened
    """The gateway or broker does not let a device in."""


class NobodyAnswers(Exception):  # it says what happened
    """Nothing listens where devices were told to connect to."""


class Link:
    """Does a device's errands one after the other.

    `sent` is told of each packet that is handed to MQTT, `done` of each errand once its acknowledgement has come.
    """

    def __init__(
        self,
        account: Account,
        target: Target,
        sent: Callable[[Packet], None],
        done: Callable[[Errand], None],
        obey: Callable[[str, str], str | None] | None = None,
    ) -> None:
        """`obey` is told of each command, once, and says what the device answers."""
        device_id = account.device_id
        self._obey = obey
        self._obeyed: dict[str, str | None] = {}  # by the command's id: it may come again
        self.device_id = device_id
        self.errands: deque[Errand] = deque()
        self._target = target
        self._sent = sent
        self._done = done
        self._in_flight: dict[int, Errand] = {}
        self._connected = False
        self._wanted = False
        self.refusal: str | None = None
        self.trouble: str | None = None  # why the last attempt to connect found nobody
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=device_id,
            protocol=MQTTProtocolVersion(account.protocol),
        )
        if account.secret is not None:
            self._client.username_pw_set(device_id, account.secret)
        elif target.username is not None:
            self._client.username_pw_set(target.username, target.password)
        if target.tls is not None:
            self._client.tls_set_context(target.tls)  # pyright: ignore[reportUnknownMemberType]
        self._client.will_set(f"devices/{device_id}/status", "offline", qos=1)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        if obey is not None:
            self._client.on_message = self._on_message

    @property
    def socket(self) -> socket.socket | None:
        """The socket, while there is one."""
        return cast("socket.socket | None", self._client.socket())

    @property
    def is_wanted(self) -> bool:
        """Whether the device means to be online."""
        return self._wanted

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes are left that the socket did not take."""
        return self._client.want_write()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        return not self.errands and not self._in_flight

    def read(self) -> None:
        """The socket has bytes."""
        if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._connected = False

    def write(self) -> None:
        """The socket has room."""
        if self._client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._connected = False

    def keep_alive(self) -> None:
        """Ping where it is time to; reconnect where the connection was lost against the device's will."""
        if self.socket is not None:
            self._client.loop_misc()
        elif self._wanted:
            self._connect()

    def try_to_connect(self, within_s: float) -> str | None:
        """Connect and disconnect again; what the other side had against it, or None."""
        self._connect()
        deadline = time.monotonic() + within_s
        while self.socket is not None and not self._connected and time.monotonic() < deadline:
            self._client.loop(0.05)
        if not self._connected:
            return self.refusal or "no answer"
        self._client.disconnect()
        return None

    def work(self, most_in_flight: int) -> bool:
        """Do what can be done now; True if something was."""
        worked = False
        while self.errands and self._may(self.errands[0], most_in_flight):
            self._do(self.errands.popleft())
            worked = True
        return worked

    def _may(self, errand: Errand, most_in_flight: int) -> bool:
        if errand.act is Act.CONNECT:
            return not self._in_flight
        if errand.act in {Act.LEAVE, Act.VANISH}:
            return self._connected and not self._in_flight
        return self._connected and len(self._in_flight) < most_in_flight

    def _do(self, errand: Errand) -> None:
        match errand.act:
            case Act.CONNECT:
                self._wanted = True
                self._connect()
                self.errands.appendleft(Errand(errand.step, Act.TELL, status(self.device_id, "online")))
                return  # done when the birth is acknowledged
            case Act.LEAVE:
                self._wanted = False
                self._client.disconnect()
                self._connected = False
            case Act.VANISH:
                self._wanted = False
                self._break()
            case Act.STUMBLE:
                self._break()
                self._connect()
            case _:
                self._publish(errand)
                return
        self._done(errand)

    def _publish(self, errand: Errand) -> None:
        packet = errand.packet
        if packet is None:
            self._done(errand)
            return
        topic = f"devices/{packet.device_id}/{packet.channel}"
        info = self._client.publish(topic, packet.payload, qos=1)
        self._in_flight[info.mid] = errand
        self._sent(packet)

    def _connect(self) -> None:
        self._connected = False
        try:
            self._client.connect(self._target.host, self._target.port, keepalive=self._target.keepalive_s)
        except OSError as error:  # the gateway is away; `keep_alive` tries again
            self.trouble = _words(error)
        else:
            self.trouble = None

    def _break(self) -> None:
        self._connected = False
        connection = self.socket
        if connection is None:
            return
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was gone already
        self._client.loop_read()

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        if reason.is_failure:
            if reason.getName() in _NOT_LET_IN:
                self.refusal = str(reason)
            return
        self.refusal = None
        self._connected = True
        if self._obey is not None:
            self._client.subscribe(f"devices/{self.device_id}/commands/+", 1)

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        command_id = message.topic.rpartition("/")[2]
        if command_id not in self._obeyed and self._obey is not None:
            told = cast("dict[str, object]", json.loads(message.payload))
            self._obeyed[command_id] = self._obey(self.device_id, str(told["name"]))
        answer = self._obeyed[command_id]
        if answer is not None:
            self._client.publish(f"{message.topic}/ack", json.dumps({"status": answer}), qos=1)

    def _on_publish(self, _client: object, _data: object, mid: int, _reason: object, _properties: object) -> None:
        errand = self._in_flight.pop(mid, None)
        if errand is not None:
            self._done(errand)


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
