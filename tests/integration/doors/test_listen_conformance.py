"""What the listen door offers and refuses, as clients that were not written here see it; MQTT 5 and 3.1.1.

Each case runs with paho-mqtt, aiomqtt and MQTT.js, in both versions, where the library can do and tell what is asked.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from devices.errors import QuarantineReason
from gateway.doors.listen.server import ListenDoor
from gateway.intake import Route, Verdict
from tests.clients.aiomqtt_ import AiomqttClient
from tests.clients.interface import GONE, Device, Introduction
from tests.clients.mqttjs_ import MqttJsClient
from tests.clients.node import Node
from tests.clients.paho import PahoClient
from tests.doors.door import listening
from tests.doors.intake import HeldIntake, eventually

EVERYBODY = ("paho 3.1.1", "paho 5", "aiomqtt 3.1.1", "aiomqtt 5", "mqttjs 3.1.1", "mqttjs 5")
TALKATIVE = ("paho 5", "mqttjs 5")  # tell what CONNACK and PUBACK say
OTHERS = ("paho 3.1.1", "paho 5", "mqttjs 3.1.1", "mqttjs 5")  # tell why PUBLISH and SUBSCRIBE failed
TELEMETRY = "devices/d1/telemetry"

Client = Callable[[], Device]


def by(*names: str) -> pytest.MarkDecorator:
    """Run with these clients."""
    return pytest.mark.parametrize("client", names, indirect=True)


@pytest.fixture
def client(request: pytest.FixtureRequest, node: Node) -> Client:
    """Makes devices on the library that the test is run with."""
    library, _, version = request.param.partition(" ")
    number = 5 if version == "5" else 4
    makers: dict[str, Client] = {
        "paho": lambda: PahoClient(number),
        "aiomqtt": lambda: AiomqttClient(number),
        "mqttjs": lambda: MqttJsClient(number, node),
    }
    return makers[library]


@pytest.fixture
async def device(client: Client) -> AsyncIterator[Device]:
    device = client()
    yield device
    await device.close()


@pytest.fixture
def intake() -> HeldIntake:
    return HeldIntake(at_once=True)


@pytest.fixture
async def door(intake: HeldIntake) -> AsyncIterator[ListenDoor]:
    async with listening(intake, receive_maximum=5, max_packet_bytes=4096, max_keep_alive=100) as door:
        yield door


# -- CONNECT ---------------------------------------------------------------------------------------------------------


@by(*EVERYBODY)
@pytest.mark.parametrize("clean", [True, False])
async def test_a_device_is_let_in_and_finds_no_session(door: ListenDoor, device: Device, clean: bool) -> None:
    welcome = await device.connect(door.port, Introduction(clean=clean))
    assert (welcome.code, welcome.session_present) == (0, False)
    await device.leave()
    await eventually(lambda: door.connections == 0)


@by(*TALKATIVE)
async def test_it_is_told_what_is_offered(door: ListenDoor, device: Device) -> None:
    asked = Introduction(client_id="", clean=True, keep_alive=500, properties={"sessionExpiryInterval": 3600})
    offers = (await device.connect(door.port, asked)).offers
    told = {name[0].lower() + name[1:]: value for name, value in offers.items()}
    assert told.pop("assignedClientIdentifier").startswith("careloop-")
    assert told == {
        "sessionExpiryInterval": 0,
        "receiveMaximum": 5,
        "maximumQoS": 1,
        "maximumPacketSize": 4096,
        "topicAliasMaximum": 16,
        "subscriptionIdentifiersAvailable": 0,
        "sharedSubscriptionAvailable": 0,
        "serverKeepAlive": 100,
    }


@dataclass(frozen=True)
class Refused:
    """An introduction that fails, and the reason code of MQTT 5 for it."""

    what: str
    introduction: Introduction
    code: int
    clients: tuple[str, ...] = EVERYBODY


REFUSED = (
    Refused("wrong password", Introduction(password="wrong"), 0x86),
    Refused("user name without password", Introduction(password=None), 0x86, OTHERS),
    Refused("no credentials", Introduction(username=None, password=None), 0x87),
    Refused("another's will", Introduction(will=("devices/d2/status", b"offline")), 0x87),
    Refused("a will for nobody", Introduction(will=("somewhere", b"offline")), 0x87),
    Refused("long client id", Introduction(client_id="x" * 300), 0x85),
)


@pytest.mark.parametrize(
    ("client", "refused"),
    [pytest.param(name, row, id=f"{row.what}-{name}") for row in REFUSED for name in row.clients],
    indirect=["client"],
)
async def test_who_is_refused_hears_why(door: ListenDoor, device: Device, refused: Refused) -> None:
    assert (await device.connect(door.port, refused.introduction)).code == refused.code
    assert sum(door.stats.refused.values()) == 1


@by("paho 3.1.1", "paho 5", "aiomqtt 5", "mqttjs 3.1.1", "mqttjs 5")
async def test_a_client_id_of_no_length_is_given_one(door: ListenDoor, device: Device) -> None:
    assert (await device.connect(door.port, Introduction(client_id=""))).code == 0


@by(*EVERYBODY)
async def test_a_device_that_comes_again_takes_over(door: ListenDoor, client: Client, device: Device) -> None:
    await device.connect(door.port, Introduction())
    newcomer = client()
    assert (await newcomer.connect(door.port, Introduction())).code == 0
    assert await device.ended() == (0x8E if device.version == 5 else GONE)
    assert (await newcomer.publish(TELEMETRY, b"still here")).code == 0
    await newcomer.close()


@by("mqttjs 5")
async def test_a_device_that_pings_stays(door: ListenDoor, device: Device) -> None:
    await device.connect(door.port, Introduction(keep_alive=3))
    silent = PahoClient(4)
    await silent.connect(door.port, Introduction(username="d2", client_id="silent", keep_alive=3))
    silent._client.loop_stop()  # pyright: ignore[reportPrivateUsage] - reads and pings no more
    await eventually(lambda: door.stats.timeouts == 1)
    assert door.is_connected("d1")
    await silent.close()


# -- PUBLISH ---------------------------------------------------------------------------------------------------------


@by(*EVERYBODY)
async def test_messages_arrive_in_their_order_at_qos_0_and_1(
    door: ListenDoor, intake: HeldIntake, device: Device
) -> None:
    await device.connect(door.port, Introduction())
    for number in range(6):
        assert (await device.publish(TELEMETRY, b"%d" % number, number % 2)).code == 0
    await eventually(lambda: intake.payloads == [b"0", b"1", b"2", b"3", b"4", b"5"])
    assert door.stats.acknowledged == 3


@by("paho 3.1.1", "paho 5", "aiomqtt 3.1.1", "aiomqtt 5", "mqttjs 3.1.1")
async def test_no_more_are_under_way_than_the_receive_maximum(
    door: ListenDoor, intake: HeldIntake, device: Device
) -> None:
    await device.connect(door.port, Introduction())
    answers = await asyncio.gather(*(device.publish(TELEMETRY, b"%d" % number) for number in range(40)))
    assert {answer.code for answer in answers} == {0}
    assert sorted(intake.payloads, key=int) == [b"%d" % number for number in range(40)]
    assert door.stats.violations == {}


@by("mqttjs 5")  # which does not look at the receive maximum
async def test_more_than_the_receive_maximum_ends_the_connection(device: Device) -> None:
    async with listening(HeldIntake(), receive_maximum=5) as door:
        await device.connect(door.port, Introduction())
        answers = asyncio.gather(*(device.publish(TELEMETRY, b"%d" % number) for number in range(6)))
        assert await device.ended() == 0x93
        assert {answer.code for answer in await answers} == {GONE}


@by(*OTHERS)
async def test_qos_2_ends_the_connection(door: ListenDoor, intake: HeldIntake, device: Device) -> None:
    await device.connect(door.port, Introduction())
    publishing = asyncio.create_task(device.publish(TELEMETRY, b"twice the trouble", 2))
    assert await device.ended() == (0x9B if device.version == 5 else GONE)
    assert (await publishing).code != 0
    assert intake.packets == []


@by(*EVERYBODY)
async def test_retain_is_borne(door: ListenDoor, intake: HeldIntake, device: Device) -> None:
    await device.connect(door.port, Introduction())
    assert (await device.publish("devices/d1/status", b"online", retain=True)).code == 0
    assert intake.packets[0].route is Route.STATUS


@by("paho 5", "aiomqtt 5", "mqttjs 5")
async def test_properties_are_borne(door: ListenDoor, intake: HeldIntake, device: Device) -> None:
    await device.connect(door.port, Introduction())
    more: dict[str, Any] = {
        "payloadFormatIndicator": 1,
        "messageExpiryInterval": 60,
        "contentType": "application/json",
        "responseTopic": "devices/d1/commands/c-1/ack",
        "userProperty": ("firmware", "1.2"),
    }
    if isinstance(device, MqttJsClient):
        more["payloadFormatIndicator"] = True
    assert (await device.publish(TELEMETRY, b"{}", **more)).code == 0
    assert intake.payloads == [b"{}"]


@by(*TALKATIVE)
async def test_an_alias_stands_for_its_topic(door: ListenDoor, intake: HeldIntake, device: Device) -> None:
    await device.connect(door.port, Introduction())
    assert (await device.publish(TELEMETRY, b"1", topicAlias=3)).code == 0
    assert (await device.publish("", b"2", topicAlias=3)).code == 0
    assert [packet.topic for packet in intake.packets] == [TELEMETRY, TELEMETRY]


@by(*OTHERS)
async def test_another_devices_topic_is_refused(door: ListenDoor, intake: HeldIntake, device: Device) -> None:
    await device.connect(door.port, Introduction())
    answer = await device.publish("devices/d2/telemetry", b"as another")
    if device.version == 5:
        assert answer.code == 0x87
        assert (await device.publish(TELEMETRY, b"as itself")).code == 0
    else:
        assert await device.ended() == GONE
    assert [packet.topic for packet in intake.packets] == [TELEMETRY] * (device.version == 5)


@by(*TALKATIVE)
async def test_a_packet_above_the_limit_is_not_read(door: ListenDoor, intake: HeldIntake, device: Device) -> None:
    await device.connect(door.port, Introduction())
    publishing = asyncio.create_task(device.publish(TELEMETRY, b"x" * 5000))
    done, _ = await asyncio.wait((publishing, asyncio.create_task(device.ended())), return_when="FIRST_COMPLETED")
    assert done
    assert (await publishing).code != 0
    assert intake.packets == []
    assert door.stats.violations in ({"packet_too_large": 1}, {})  # MQTT.js does not even send it


@by(*TALKATIVE)
async def test_a_quarantined_message_is_acknowledged_with_the_reason(device: Device) -> None:
    intake = HeldIntake()
    async with listening(intake) as door:
        await device.connect(door.port, Introduction())
        publishing = asyncio.create_task(device.publish(TELEMETRY, b"bad"))
        await eventually(lambda: intake.held)
        intake.settle(verdict=Verdict(quarantined=1, reason=QuarantineReason.MALFORMED, detail="not JSON"))
        answer = await publishing
        assert (answer.code, answer.text) == (0, "quarantined: malformed: not JSON")


# -- SUBSCRIBE -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A subscription, and what SUBACK says in MQTT 5; 3.1.1 knows one refusal only, 0x80."""

    topic_filter: str
    qos: int
    code: int
    clients: tuple[str, ...] = field(default=EVERYBODY)


ASKED = (
    Asked("devices/d1/commands/+", 0, 0),
    Asked("devices/d1/commands/+", 1, 1),
    Asked("devices/d1/commands/+", 2, 1),
    Asked("devices/d1/commands/c-1", 1, 1),
    Asked("devices/d2/commands/+", 1, 0x87),
    Asked("devices/+/commands/+", 1, 0x87),
    Asked("devices/d1/#", 1, 0x87),
    Asked("devices/d1/telemetry", 1, 0x87),
    Asked("#", 1, 0x87),
    Asked("$SYS/#", 1, 0x87),
    Asked("$share/all/devices/d1/commands/+", 1, 0x9E),
)


@pytest.mark.parametrize(
    ("client", "asked"),
    [pytest.param(name, row, id=f"{row.topic_filter}-{row.qos}-{name}") for row in ASKED for name in row.clients],
    indirect=["client"],
)
async def test_subscriptions(door: ListenDoor, device: Device, asked: Asked) -> None:
    await device.connect(door.port, Introduction())
    expected = asked.code if asked.code < 0x80 or device.version == 5 else 0x80
    assert await device.subscribe(asked.topic_filter, asked.qos) == expected
    assert door.is_connected("d1")


@by(*EVERYBODY)
async def test_commands_come_until_unsubscribed(door: ListenDoor, device: Device) -> None:
    await device.connect(door.port, Introduction())
    assert await device.subscribe("devices/d1/commands/+") == 1
    for number in range(3):
        assert door.send_command("d1", f"c-{number}", b"%d" % number)
    assert [await device.message() for _ in range(3)] == [(f"devices/d1/commands/c-{n}", b"%d" % n) for n in range(3)]
    await device.unsubscribe("devices/d1/commands/+")
    assert not door.send_command("d1", "c-4", b"4")


@by(*TALKATIVE)
async def test_no_more_commands_are_under_way_than_the_device_takes(door: ListenDoor, device: Device) -> None:
    await device.connect(door.port, Introduction(properties={"receiveMaximum": 2}))
    await device.subscribe("devices/d1/commands/+")
    sent = [door.send_command("d1", f"c-{number}", b"") for number in range(3)]
    assert sent == [True, True, False]
    assert [topic for topic, _ in [await device.message(), await device.message()]] == [
        "devices/d1/commands/c-0",
        "devices/d1/commands/c-1",
    ]
    await eventually(lambda: door.send_command("d1", "c-3", b""))


# -- the end ---------------------------------------------------------------------------------------------------------


@by(*EVERYBODY)
@pytest.mark.parametrize("delay", [None, 3600])
async def test_a_device_that_vanishes_leaves_its_will(
    door: ListenDoor, intake: HeldIntake, device: Device, delay: int | None
) -> None:
    await device.connect(door.port, Introduction(will=("devices/d1/status", b"offline"), will_delay=delay))
    await device.vanish()
    await eventually(lambda: intake.payloads == [b"offline"])  # no session outlasts the connection, so no delay does
    assert intake.packets[0].route is Route.STATUS


@by(*EVERYBODY)
async def test_a_device_that_leaves_in_order_takes_its_will_along(
    door: ListenDoor, intake: HeldIntake, device: Device
) -> None:
    await device.connect(door.port, Introduction(will=("devices/d1/status", b"offline")))
    await device.leave()
    await eventually(lambda: door.stats.disconnected == 1)
    assert intake.packets == []


@by(*TALKATIVE)
async def test_a_device_may_ask_for_its_will_when_it_leaves(
    door: ListenDoor, intake: HeldIntake, device: Device
) -> None:
    await device.connect(door.port, Introduction(will=("devices/d1/status", b"offline")))
    await device.leave(with_will=True)
    await eventually(lambda: intake.payloads == [b"offline"])


@by(*EVERYBODY)
async def test_a_revoked_device_is_told_so(door: ListenDoor, device: Device) -> None:
    await device.connect(door.port, Introduction())
    door.disconnect("d1")
    assert await device.ended() == (0x87 if device.version == 5 else GONE)


@by(*EVERYBODY)
async def test_when_the_gateway_stops_devices_are_told_so(device: Device) -> None:
    async with listening(HeldIntake()) as door:
        await device.connect(door.port, Introduction())
    assert await device.ended() == (0x8B if device.version == 5 else GONE)
