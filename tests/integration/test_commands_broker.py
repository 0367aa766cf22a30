"""Commands through a broker: at QoS 1, with an expiry, kept there for a device that is away."""

import json
from datetime import UTC, datetime, timedelta

import aiomqtt
import pytest

from devices.commands.queries import Outgoing
from devices.errors import Retryable
from gateway.commands.broker import BrokerWay
from gateway.doors.settings import SubscribeSettings
from tests.services.mosquitto import Mosquitto

AT = datetime(2026, 3, 3, 11, tzinfo=UTC)
REST = Outgoing("c-1", "d-1", "rest", {"minutes": 5}, AT, AT + timedelta(hours=1), was_sent=False)


def settings(port: int, **more: str) -> SubscribeSettings:
    return SubscribeSettings.model_validate({"enabled": True, "port": port, "connect_timeout": 2, **more})


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_broker_keeps_a_command_for_its_device(mosquitto: Mosquitto, protocol: str) -> None:
    device = aiomqtt.Client(
        mosquitto.host,
        mosquitto.port,
        identifier=f"device-{protocol}",
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=False,
    )
    async with device:
        await device.subscribe("devices/d-1/commands/+", qos=1)
    way = BrokerWay(settings(mosquitto.port, protocol=protocol))
    assert await way.publish([REST], AT.timestamp()) == ["c-1"]
    async with device:
        message = await anext(aiter(device.messages))
    assert str(message.topic) == "devices/d-1/commands/c-1"
    assert message.qos == 1
    assert isinstance(message.payload, bytes)
    told = json.loads(message.payload)
    assert (told["command_id"], told["name"], told["data"]) == ("c-1", "rest", {"minutes": 5})
    assert told["expires_at"] == "2026-03-03T12:00:00Z"


async def test_mqtt_5_tells_the_broker_when_a_command_is_too_old(mosquitto: Mosquitto) -> None:
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5) as device:
        await device.subscribe("devices/d-1/commands/+", qos=1)
        await BrokerWay(settings(mosquitto.port)).publish([REST], AT.timestamp() + 60)
        message = await anext(aiter(device.messages))
    assert message.properties is not None
    assert 3500 < getattr(message.properties, "MessageExpiryInterval", 0) <= 3540


async def test_a_broker_that_is_away_is_tried_again(free_port: int) -> None:
    with pytest.raises(Retryable, match="broker_unavailable"):
        await BrokerWay(settings(free_port)).publish([REST], AT.timestamp())
