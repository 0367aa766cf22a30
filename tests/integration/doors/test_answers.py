"""What a dialect has to say goes back by the door through which it was asked: to the broker, or to the device."""

import aiomqtt
import pytest

from devices.payloads import load_codecs
from gateway.doors.routing import build_routes
from gateway.doors.settings import RouteSettings
from gateway.intake import Answering, Route
from tests.doors.door import listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.paho import PahoDevice
from tests.doors.subscription import subscribed
from tests.services.mosquitto import Mosquitto

ROUTES = build_routes([RouteSettings(codec="sparkplug"), RouteSettings(codec="thingsboard")], load_codecs())
DATA = "spBv1.0/plant/NDATA/d1"
COMMAND = "spBv1.0/plant/NCMD/d1"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("engine", ["fast", "paho"])
async def test_on_a_broker_it_is_published(mosquitto: Mosquitto, engine: str, protocol: str) -> None:
    intake = HeldIntake(at_once=True)
    async with (
        subscribed(intake, mosquitto.port, ROUTES, engine=engine, protocol=protocol),
        aiomqtt.Client(mosquitto.host, mosquitto.port) as node,
    ):
        await node.subscribe(COMMAND)
        await node.publish(DATA, b"1", qos=1)
        await eventually(lambda: len(intake.packets) == 1)
        (packet,) = intake.packets
        assert (packet.route, packet.device_id, packet.codec) == (Route.TELEMETRY, "d1", "sparkplug")
        assert isinstance(packet.origin, Answering)
        assert packet.origin.publish(COMMAND, b"rebirth")
        message = await anext(aiter(node.messages))
        assert (message.topic.value, message.payload, message.qos, message.retain) == (COMMAND, b"rebirth", 0, False)


@pytest.mark.parametrize("version", [4, 5])
async def test_a_device_hears_what_it_has_asked_for(version: int) -> None:
    intake = HeldIntake(at_once=True)
    device = PahoDevice(version)
    async with listening(intake, routes=ROUTES) as door:
        with device.running(door.port):
            await eventually(lambda: device.connected)
            for topic_filter in (COMMAND, "v1/devices/me/rpc/response/+", "spBv1.0/plant/NCMD/d2", "spBv1.0/#"):
                device.client.subscribe(topic_filter, 1)
            await eventually(lambda: len(device.granted) == 4)
            assert device.granted[:2] == ["Granted QoS 1"] * 2
            assert not any(word.startswith("Granted") for word in device.granted[2:])
            device.publish(b"1", DATA)
            await eventually(lambda: intake.packets)
            origin = intake.packets[0].origin
            assert isinstance(origin, Answering)
            assert origin.publish(COMMAND, b"rebirth")
            assert origin.publish("v1/devices/me/rpc/response/7", b"{}")
            assert not origin.publish("v1/devices/me/attributes", b"{}")  # not subscribed
            await eventually(lambda: len(device.received) == 2)
            assert device.received == [(COMMAND, b"rebirth"), ("v1/devices/me/rpc/response/7", b"{}")]
        await eventually(lambda: not door.connections)
        assert not origin.publish(COMMAND, b"rebirth")
