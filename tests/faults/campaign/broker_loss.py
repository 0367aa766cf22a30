"""What a killed Mosquitto loses of what it has acknowledged, by its settings: the figures of docs/brokers/mosquitto.md.

python -m tests.faults.campaign.broker_loss --kills 5
"""

import argparse
import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.database.provisioned import Provisioned, cache_folder, find_provisioned
from tests.faults.campaign.broker import DurableMosquitto
from tests.ledger.book import Book, Key, State
from tests.ledger.plan import DevicePlan, keys_in
from tests.ledger.sender import Line, Sender, wait_for

SUBSCRIBER = "careloop-gateway"
QUIET_S = 1.0
RATE_PER_S = 400.0  # of each of the four connections
LINES = 1000
LINE = "x" * 180
SETTINGS = {
    "every change": ("autosave_on_changes true", "autosave_interval 1"),
    "10 changes": ("autosave_on_changes true", "autosave_interval 10"),
    "100 changes": ("autosave_on_changes true", "autosave_interval 100"),
    "1000 changes": ("autosave_on_changes true", "autosave_interval 1000"),
    "10000 changes": ("autosave_on_changes true", "autosave_interval 10000"),
    "second": ("autosave_on_changes false", "autosave_interval 1"),
}


class Broker(DurableMosquitto):
    """The page's settings, with other ones for saving."""

    saving: Sequence[str] = ()

    def settings(self) -> list[str]:
        """Those of the page, but for how often it saves."""
        return [*(line for line in super().settings() if not line.startswith("autosave")), *self.saving]


@dataclass(frozen=True, slots=True)
class Loss:
    """What one kill did."""

    acknowledged: int
    lost: int


class Subscriber:
    """A persistent session that remembers what it was sent; present, or away, as careloop may be."""

    def __init__(self, port: int) -> None:
        self.heard: set[Key] = set()
        self._port = port
        self._granted = False

    @contextmanager
    def present(self) -> Generator[None]:
        """Connected for the length of a `with`."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=SUBSCRIBER, clean_session=False)
        client.on_connect, client.on_message, client.on_subscribe = self._connected, self._heard, self._subscribed
        client.reconnect_delay_set(1, 1)
        self._granted = False
        client.connect("127.0.0.1", self._port, 60)
        client.loop_start()
        wait_for(lambda: self._granted, 120)
        try:
            yield
        finally:
            client.disconnect()
            client.loop_stop()

    def _connected(self, client: Client, _d: object, _f: ConnectFlags, _c: ReasonCode, _p: Properties | None) -> None:
        client.subscribe("devices/+/telemetry", 1)

    def _subscribed(self, *_: object) -> None:
        self._granted = True

    def _heard(self, _c: Client, _d: object, message: MQTTMessage) -> None:
        self.heard.update(keys_in(message.topic.split("/")[1], bytes(message.payload)))


def kill_once(provisioned: Provisioned, saving: Sequence[str], rng: random.Random, *, is_away: bool) -> Loss:
    """Publish for a while, kill the broker, start it again, and see what of the acknowledged arrives."""
    with tempfile.TemporaryDirectory(prefix="careloop-broker-") as folder:
        Path(folder).chmod(0o755)
        broker = Broker(provisioned, Path(folder))
        broker.saving = saving
        broker.start()
        try:
            return _kill_once(broker, rng, is_away=is_away)
        finally:
            broker.kill()


def _kill_once(broker: Broker, rng: random.Random, *, is_away: bool) -> Loss:
    subscriber, book = Subscriber(broker.port), Book()
    with subscriber.present():
        pass  # the session exists
    plans = [DevicePlan(f"d{number}", 1_760_000_000_000, 1000) for number in range(4)]
    lines = [
        Line(
            "broker",
            f"c-{each.device_id}",
            broker.port,
            "",
            (each,),
            version=5,
            readings_per_s=RATE_PER_S,
            breaks_per_s=0.0,
            again=0.0,
            longest_packet=1,
        )
        for each in plans
    ]
    senders = [Sender(line, book, rng.getrandbits(32)) for line in lines]
    with ExitStack() as here:
        if not is_away:
            here.enter_context(subscriber.present())
        for sender in senders:
            sender.go()
            sender.start()
        time.sleep(rng.uniform(1.5, 2.5))
        broker.kill()
        for sender in senders:
            sender.forget()
            sender.pause()
            sender.end()
        broker.start()
        acknowledged = {told.key for told, state in book.pages() if state is State.ACKNOWLEDGED}
        if is_away:
            here.enter_context(subscriber.present())
        _until_quiet(subscriber)
    return Loss(len(acknowledged), len(acknowledged - subscriber.heard))


def rate(provisioned: Provisioned, saving: Sequence[str], backlog: int) -> float:
    """Messages a second that one publisher gets acknowledged while so many wait for a subscriber that is away."""
    with tempfile.TemporaryDirectory(prefix="careloop-broker-") as folder:
        Path(folder).chmod(0o755)
        broker = Broker(provisioned, Path(folder))
        broker.start()
        try:
            with Subscriber(broker.port).present():
                pass
            _publish(broker, backlog)
            broker.stop()
            broker.saving = saving
            broker.start()
            started_s = time.monotonic()
            _publish(broker, LINES)
            return LINES / (time.monotonic() - started_s)
        finally:
            broker.kill()


def _publish(broker: Broker, lines: int) -> None:
    command = [broker.binaries.mosquitto_pub, "-p", str(broker.port), "-q", "1", "-t", "devices/d1/telemetry", "-l"]
    subprocess.run(command, input=f"{LINE}\n".encode() * lines, check=True, timeout=300)


def _until_quiet(subscriber: Subscriber) -> None:
    count, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < QUIET_S + 1:
        if len(subscriber.heard) != count:
            count, since_s = len(subscriber.heard), time.monotonic()
        time.sleep(0.05)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    provisioned = find_provisioned(cache_folder(environ))
    if provisioned is None:
        print("Mosquitto is missing: run `make provision` first")
        return 2
    rng = random.Random(chosen.seed)
    print("saves every     careloop is  lost of acknowledged, each kill")
    for name, is_away in itertools.product(SETTINGS, (False, True)):
        losses = [kill_once(provisioned, SETTINGS[name], rng, is_away=is_away) for _ in range(chosen.kills)]
        told = ", ".join(f"{loss.lost} of {loss.acknowledged}" for loss in losses)
        print(f"{name:15} {'away' if is_away else 'connected':12} {told}", flush=True)
    print("saves every     messages/s of one publisher, while none, 5,000, 20,000 wait for careloop")
    for name, saving in SETTINGS.items():
        rates = [rate(provisioned, saving, backlog) for backlog in (0, 5_000, 20_000)]
        print(f"{name:15} {', '.join(f'{each:,.0f}' for each in rates)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
