"""Commands through the real gateway: kept, sent, answered once, whatever dies on the way."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.database.postmaster import wait_until
from tests.services.gateway import GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S


class Product:
    """A washing machine that subscribes to its commands, and answers as it is told to."""

    def __init__(self, gateway: GatewayProcess, device_id: str, password: str, answer: str | None = "done") -> None:
        self.heard: list[tuple[str, dict[str, Any], int | None]] = []
        self._answer = answer
        self._prefix = f"devices/{device_id}/commands"
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=device_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        self.client.username_pw_set(device_id, password)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", gateway.port)
        self.client.loop_start()

    def _on_connect(self, client: mqtt.Client, *_told: object) -> None:
        client.subscribe(f"{self._prefix}/+", 1)

    def _on_message(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        expiry = getattr(message.properties, "MessageExpiryInterval", None)
        self.heard.append((message.topic.rsplit("/", 1)[1], json.loads(message.payload), expiry))
        if self._answer is None:
            return  # as if it had died before it acknowledged anything
        client.ack(message.mid, message.qos)
        client.publish(f"{message.topic}/ack", json.dumps({"status": self._answer}), qos=1)

    def say(self, topic: str, payload: str) -> None:
        """Publish something under its own name, and wait until the gateway has it."""
        self.client.publish(topic, payload, qos=1).wait_for_publish(PATIENCE_S)

    def vanish(self) -> None:
        """Be gone without a word."""
        self.client.loop_stop()
        sock = self.client.socket()
        if sock is not None:
            sock.close()


def add(gateway: GatewayProcess, device_id: str) -> str:
    """Register a washing machine; its password."""
    return str(
        json.loads(gateway.command("devices", "add", device_id, "--model", "washing-machine", "--json"))["password"]
    )


def state(gateway: GatewayProcess, command_id: str) -> tuple[str, int]:
    """How far a command has come, and how often it was sent."""
    ((found, tries),) = gateway.query("SELECT state, tries FROM device_command WHERE command_id = %s", command_id)
    return str(found), int(tries)


def becomes(gateway: GatewayProcess, command_id: str, wanted: str) -> bool:
    """Whether a command comes to a state in time."""
    return bool(wait_until(lambda: state(gateway, command_id)[0] == wanted, PATIENCE_S))


def issue(gateway: GatewayProcess, device_id: str, **body: object) -> httpx.Response:
    """Ask the API for a command."""
    headers = {"Authorization": f"Bearer {gateway.address['api_token']}"}
    url = f"{gateway.address['api_url']}/v1/devices/{device_id}/commands"
    return httpx.post(url, json=body, headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S)


def test_a_command_outlives_its_device_and_its_gateway(gateway: GatewayProcess) -> None:
    password = add(gateway, "wm-1")
    queued = json.loads(gateway.command("devices", "command", "wm-1", "self_test", "--command-id", "c-1", "--json"))
    assert (queued["state"], queued["device_id"]) == ("queued", "wm-1")
    gateway.kill()
    gateway.start()
    deaf = Product(gateway, "wm-1", password, answer=None)
    assert wait_until(lambda: bool(deaf.heard), PATIENCE_S)
    command_id, told, expires_in_s = deaf.heard[0]
    assert (command_id, told["name"], told["data"]) == ("c-1", "self_test", {})
    assert expires_in_s is not None
    assert 0 < expires_in_s <= 86_400
    assert becomes(gateway, "c-1", "sent")
    gateway.kill()  # the device has it, and nobody knows
    deaf.vanish()
    gateway.start()
    product = Product(gateway, "wm-1", password)
    assert becomes(gateway, "c-1", "done")
    assert [each[0] for each in product.heard] == ["c-1"]
    assert state(gateway, "c-1")[1] >= 2
    listed = json.loads(gateway.command("devices", "commands", "wm-1", "--json"))
    assert [(each["command_id"], each["state"]) for each in listed] == [("c-1", "done")]
    product.vanish()


def test_one_of_a_kind_is_pending_and_a_device_answers_for_itself_only(gateway: GatewayProcess) -> None:
    first, second = add(gateway, "wm-1"), add(gateway, "wm-2")
    assert issue(gateway, "wm-1", name="self_test", command_id="c-1").status_code == 201
    assert issue(gateway, "wm-1", name="self_test", command_id="c-1").status_code == 200
    assert issue(gateway, "wm-1", name="self_test").status_code == 409
    assert issue(gateway, "wm-1", name="close_valve", command_id="c-1").status_code == 422
    assert issue(gateway, "wm-1", name="fly").status_code == 422
    assert issue(gateway, "wm-9", name="self_test").status_code == 404
    other = Product(gateway, "wm-2", second)
    assert wait_until(other.client.is_connected, PATIENCE_S)
    event = {"code": "command.ack", "data": {"command_id": "c-1", "answer": "done"}}
    other.say("devices/wm-2/commands/c-1/ack", "done")
    other.say("devices/wm-2/events", json.dumps(event))
    other.say("devices/wm-1/commands/c-1/ack", "done")
    assert other.heard == []
    assert state(gateway, "c-1") == ("queued", 0)
    refusing = Product(gateway, "wm-1", first, answer="refused")
    assert becomes(gateway, "c-1", "refused")
    refusing.say("devices/wm-1/commands/c-1/ack", "done")  # what is settled stays
    assert state(gateway, "c-1") == ("refused", 1)
    shown = gateway.ask("/v1/devices/wm-1/commands")["items"]
    assert [(each["command_id"], each["state"]) for each in shown] == [("c-1", "refused")]
    for product in (other, refusing):
        product.vanish()


def test_what_is_too_old_or_unanswered_is_given_up(new_gateway: Callable[[], GatewayProcess]) -> None:
    gateway = new_gateway()
    gateway.configure('[commands]\nanswer_within = "0.5s"\n')
    gateway.start()
    password = add(gateway, "wm-1")
    assert issue(gateway, "wm-1", name="close_valve", command_id="old", expires_s=0.5).status_code == 201
    assert becomes(gateway, "old", "expired")
    mute = Product(gateway, "wm-1", password, answer=None)
    assert wait_until(mute.client.is_connected, PATIENCE_S)
    assert issue(gateway, "wm-1", name="self_test", command_id="mute").status_code == 201
    assert becomes(gateway, "mute", "unanswered")
    assert wait_until(lambda: bool(mute.heard), PATIENCE_S)
    assert [each[0] for each in mute.heard] == ["mute"]
    mute.vanish()
