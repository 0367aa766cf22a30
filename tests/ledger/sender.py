"""An MQTT connection of some devices: publishes at QoS 1 with paho-mqtt, and keeps the ledger's book."""

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.ledger.book import Book, Key, Told
from tests.ledger.plan import DevicePlan, payload_of

LOOK_S = 0.01
CONNECT_S = 3.0
WINDOW = 40


@dataclass(frozen=True, slots=True)
class Line:
    """One connection: to which door, as whom, and how much it publishes."""

    via: str  # listen, broker
    client_id: str
    port: int
    password: str
    devices: tuple[DevicePlan, ...]
    version: int  # 4: MQTT 3.1.1, 5
    readings_per_s: float
    keep_alive_s: int = 2
    breaks_per_s: float = 0.1  # how often it loses its connection by itself, with packets under way
    again: float = 0.03  # the share of acknowledged packets that are published once more
    longest_packet: int = 6  # readings


class Sender(threading.Thread):
    """Publishes while it is told to, and never while it is not connected, so that what it sends stays in order."""

    def __init__(self, line: Line, book: Book, seed: int) -> None:
        super().__init__(name=line.client_id, daemon=True)
        self.line = line
        self.refused = 0
        self.misordered = 0  # acknowledgements that came before an earlier one
        self.sent_again = 0  # packets; with the DUP flag, or as new ones
        self.failure: BaseException | None = None
        self._book = book
        self._rng = random.Random(seed)
        self._next = dict.fromkeys((device.device_id for device in line.devices), 0)
        self._waiting: dict[int, tuple[Key, ...]] = {}
        self._is_publishing = False  # or is about to look whether it should: what is counted may not be under way yet
        self._is_connected = False
        self._ending = threading.Event()
        self._going = threading.Event()
        self._forgetting = threading.Event()
        self._marking = threading.Event()
        self._due_at_s = 0.0
        self._client = self._new_client()

    # -- from other threads ------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Publish."""
        self._going.set()

    def pause(self) -> None:
        """Publish nothing new; what is under way is still seen through."""
        self._going.clear()

    def forget(self) -> None:
        """Lose what is not acknowledged, as a device does that is switched off."""
        self._forgetting.set()

    def mark(self) -> None:
        """Publish one packet of one reading, even while paused."""
        self._marking.set()

    @property
    def last(self) -> Key:
        """What the first of its devices said last."""
        device_id = self.line.devices[0].device_id
        return Key(device_id, self._next[device_id] - 1)

    def end(self) -> None:
        """Disconnect, for good."""
        self._ending.set()
        self.join(CONNECT_S * 2)

    @property
    def is_done(self) -> bool:
        """Whether all it has published is acknowledged or given up."""
        is_busy = self._is_publishing or self._forgetting.is_set() or self._marking.is_set()
        return not is_busy and not self._waiting

    @property
    def has_more(self) -> bool:
        """Whether one of its devices still has something to say."""
        return any(self._next[device.device_id] < device.readings for device in self.line.devices)

    # -- the connection ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live until ended."""
        try:
            while not self._ending.is_set():
                if self._forgetting.is_set():
                    self._lose_memory()
                if not self._is_connected:
                    self._come_back()
                    continue
                self._is_publishing = True
                self._publish_due()
                self._is_publishing = False
                if self._marking.is_set():
                    self._publish_packet(1)
                    self._marking.clear()
                self._client.loop(LOOK_S)
            self._client.disconnect()
        except BaseException as error:  # told to the thread that runs the round
            self.failure = error
            raise

    def _new_client(self) -> Client:
        line = self.line
        client = Client(
            CallbackAPIVersion.VERSION2, client_id=line.client_id, protocol=MQTTProtocolVersion(line.version)
        )
        client.username_pw_set(line.client_id, line.password)
        client.max_inflight_messages_set(WINDOW)
        client.connect_timeout = CONNECT_S
        client.on_connect, client.on_disconnect, client.on_publish = self._entered, self._left, self._acknowledged
        client.connect_async("127.0.0.1", line.port, line.keep_alive_s)
        return client

    def _come_back(self) -> None:
        """Connect; what was not acknowledged is sent again by paho, with the DUP flag."""
        try:
            self._client.reconnect()
        except OSError:
            self._ending.wait(0.05)
            return
        deadline = time.monotonic() + CONNECT_S
        again = len(self._waiting)
        while not self._is_connected and time.monotonic() < deadline:
            if self._client.loop(LOOK_S) is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._ending.wait(0.05)
                return
        if self._is_connected:
            self.sent_again += again

    def _entered(self, _c: Client, _d: object, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
        self._is_connected = not code.is_failure

    def _left(self, _c: Client, _d: object, _f: DisconnectFlags, _code: ReasonCode, _p: Properties | None) -> None:
        self._is_connected = False

    def _acknowledged(self, _c: Client, _d: object, mid: int, code: ReasonCode, _p: Properties | None) -> None:
        self.misordered += next(iter(self._waiting), mid) != mid
        keys = self._waiting.pop(mid, ())
        if code.is_failure:
            self.refused += 1
            self._book.give_up(keys)
            return
        self._book.acknowledge(keys)

    def _lose_memory(self) -> None:
        if (sock := self._client.socket()) is not None:
            sock.close()
        self._is_connected = False
        for keys in self._waiting.values():
            self._book.give_up(keys)
        self._waiting.clear()
        self._client = self._new_client()
        self._forgetting.clear()

    # -- packets -----------------------------------------------------------------------------------------------------

    def _publish_due(self) -> None:
        now_s = time.monotonic()
        if not self._going.is_set():
            self._due_at_s = now_s
            return
        self._due_at_s = max(self._due_at_s, now_s - 0.5)  # what was missed for longer is not caught up with
        while self._due_at_s <= now_s and len(self._waiting) < 2 * WINDOW and self.has_more and self._is_connected:
            count = self._rng.randint(1, self.line.longest_packet)
            self._due_at_s += count / self.line.readings_per_s
            self._publish_packet(count)
            if self._rng.random() < self.line.breaks_per_s * count / self.line.readings_per_s:
                self._break_off()
                return

    def _publish_packet(self, count: int) -> None:
        device = self._rng.choice([each for each in self.line.devices if self._next[each.device_id] < each.readings])
        first = self._next[device.device_id]
        last = self._next[device.device_id] = min(first + count, device.readings)
        readings = [device.told(number, self._book.round_number, self.line.via) for number in range(first, last)]
        self._book.publish(readings)
        self._send(readings)
        if self._rng.random() < self.line.again:
            self.sent_again += 1
            self._send(readings)

    def _send(self, readings: list[Told]) -> None:
        topic = f"devices/{readings[0].key.device_id}/telemetry"
        sent = self._client.publish(topic, payload_of(readings), qos=1)
        self._waiting[sent.mid] = tuple(told.key for told in readings)

    def _break_off(self) -> None:
        if isinstance(sock := self._client.socket(), socket.socket):
            sock.shutdown(socket.SHUT_RDWR)


def wait_for(is_true: Callable[[], bool], timeout_s: float) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True
