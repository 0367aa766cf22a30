"""A device with a ledger of its own: what it published, and what was acknowledged to it."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


@dataclass
class Publisher:
    """A paho client that keeps its own ledger of what was acknowledged."""

    device_id: str
    password: str
    acknowledged: set[int] = field(default_factory=set)  # epoch milliseconds of readings
    _waiting: dict[int, list[int]] = field(default_factory=dict)
    _early: set[int] = field(default_factory=set)  # acknowledged before publish() had told their number
    _lock: Lock = field(default_factory=Lock)

    def connect(self, port: int) -> paho.Client:
        """A client whose acknowledgements go into the ledger."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.device_id, protocol=paho.MQTTv5)
        client.username_pw_set(self.device_id, self.password)
        client.max_inflight_messages_set(50)
        client.on_publish = self._on_publish
        with self._lock:  # a client counts from 1, and never sends what another one left unanswered
            self._early.clear()
            self._waiting.clear()
        client.connect("127.0.0.1", port)
        client.loop_start()
        return client

    def publish(self, client: paho.Client, times_ms: list[int], **metrics: float) -> None:
        """One packet with a reading for each time."""
        body = json.dumps([{"ts": ts, "metrics": metrics} for ts in times_ms])
        sent = client.publish(f"devices/{self.device_id}/telemetry", body, qos=1)
        with self._lock:
            if sent.mid in self._early:
                self._early.discard(sent.mid)
                self.acknowledged.update(times_ms)
            else:
                self._waiting[sent.mid] = times_ms

    @property
    def unanswered(self) -> int:
        """Packets whose acknowledgement is not there yet."""
        return len(self._waiting)

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, *_: object) -> None:
        with self._lock:
            if mid in self._waiting:
                self.acknowledged.update(self._waiting.pop(mid))
            else:  # or what a test published by itself, which no ledger asks after
                self._early.add(mid)


@contextmanager
def connected(publisher: Publisher, port: int) -> Generator[paho.Client]:
    """A connected client, disconnected after the block."""
    client = publisher.connect(port)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
