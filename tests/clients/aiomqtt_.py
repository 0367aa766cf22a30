"""A device on aiomqtt."""

import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.clients.interface import GONE, Acknowledged, Introduction, Welcome
from tests.clients.paho import paho_properties

_PATIENCE_S = 240.0
_UNSPECIFIED = 0x80  # paho's own word for an end that it was told nothing of
_FROM_RETURN_CODE = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}


class AiomqttClient:
    """aiomqtt tells neither what CONNACK offers nor what PUBACK says; what goes wrong it raises."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._client: aiomqtt.Client
        self._is_in = False

    async def connect(self, port: int, introduction: Introduction) -> Welcome:
        """Connect, and wait for CONNACK."""
        is_5 = self.version == 5
        delay = None
        if is_5 and introduction.will_delay is not None:
            delay = paho_properties(PacketTypes.WILLMESSAGE, {"willDelayInterval": introduction.will_delay})
        will = aiomqtt.Will(*introduction.will, qos=1, properties=delay) if introduction.will else None
        asked = paho_properties(PacketTypes.CONNECT, dict(introduction.properties))
        self._client = aiomqtt.Client(
            "127.0.0.1",
            port,
            identifier=introduction.client_id,
            username=introduction.username,
            password=introduction.password,
            keepalive=introduction.keep_alive,
            protocol=aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311,
            will=will,
            properties=asked if is_5 and introduction.properties else None,
            max_inflight_messages=5,
            timeout=_PATIENCE_S,
            clean_start=introduction.clean if is_5 else MQTT_CLEAN_START_FIRST_ONLY,
            clean_session=None if is_5 else introduction.clean,
        )
        try:
            await self._client.__aenter__()
        except aiomqtt.MqttError as error:
            return Welcome(_code(error, GONE))
        self._is_in = True
        return Welcome(0)

    async def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, **more: Any
    ) -> Acknowledged:
        """Publish, and wait for PUBACK."""
        properties = paho_properties(PacketTypes.PUBLISH, more) if more else None
        try:
            await self._client.publish(topic, payload, qos, retain, properties)
        except aiomqtt.MqttError:
            return Acknowledged(GONE)
        return Acknowledged(0)

    async def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """Subscribe, and wait for SUBACK."""
        (code,) = await self._client.subscribe(topic_filter, qos)
        return int(code.value) if isinstance(code, ReasonCode) else int(code)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe, and wait for UNSUBACK."""
        await self._client.unsubscribe(topic_filter)

    async def message(self) -> tuple[str, bytes]:
        """The next message."""
        async with asyncio.timeout(_PATIENCE_S):
            message = await anext(aiter(self._client.messages))
        assert isinstance(message.payload, bytes)
        return str(message.topic), message.payload

    async def ended(self) -> int:
        """How the server ended it."""
        try:
            await self.message()
        except aiomqtt.MqttError as error:
            return _code(error.__cause__ or error, GONE)
        raise AssertionError("a message, in place of the end")

    async def leave(self, *, with_will: bool = False) -> None:
        """Disconnect; aiomqtt cannot ask for its will."""
        assert not with_will
        self._is_in = False
        await self._client.__aexit__(None, None, None)

    async def vanish(self) -> None:
        """Close the socket below it."""
        open_socket = cast("socket.socket | None", self._client._client.socket())  # pyright: ignore[reportPrivateUsage] - it has no word for this
        assert open_socket is not None
        open_socket.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Leave, if it is still there."""
        if self._is_in:
            with suppress(aiomqtt.MqttError):
                await self.leave()


def _code(error: object, otherwise: int) -> int:
    code = getattr(error, "rc", None)
    if isinstance(code, ReasonCode):
        return int(code.value) if code.value != _UNSPECIFIED else otherwise
    return _FROM_RETURN_CODE.get(code, otherwise) if isinstance(code, int) else otherwise
