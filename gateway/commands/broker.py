"""Commands through your broker: published with aiomqtt, kept there for devices that are away."""

import asyncio
from collections.abc import Sequence
from typing import Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from devices.commands.queries import Outgoing
from devices.errors import Retryable
from gateway.commands.words import payload_of, seconds_left, topic_of
from gateway.doors.settings import SubscribeSettings
from gateway.doors.subscribe.secrets import read_secrets

_TIMEOUT_S: Final = 10.0


class BrokerWay:
    """Publishes commands at QoS 1, over a connection that lasts as long as there are some.

    MQTT 5 tells the broker when to throw a command away; where the broker speaks 3.1.1 only, the device has to look at
    `expires_at` itself.
    """

    def __init__(self, settings: SubscribeSettings) -> None:
        """Raises ConfigError where a file of the settings cannot be used."""
        self._settings = settings
        self._tls, self._password = read_secrets(settings)
        self._version = aiomqtt.ProtocolVersion.V311 if settings.protocol == "3.1.1" else aiomqtt.ProtocolVersion.V5

    async def publish(self, commands: Sequence[Outgoing], now_s: float) -> list[str]:
        """Hand commands over; the ids of those that the broker has taken. Raises Retryable where it takes none."""
        try:
            return await self._publish(commands, now_s)
        except aiomqtt.MqttCodeError as error:
            if self._version is not aiomqtt.ProtocolVersion.V5 or self._settings.protocol != "auto":
                raise Retryable("broker_unavailable", str(error)) from error
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            raise Retryable("broker_unavailable", str(error) or type(error).__name__) from error
        self._version = aiomqtt.ProtocolVersion.V311
        try:
            return await self._publish(commands, now_s)
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            self._version = aiomqtt.ProtocolVersion.V5
            raise Retryable("broker_unavailable", str(error) or type(error).__name__) from error

    async def _publish(self, commands: Sequence[Outgoing], now_s: float) -> list[str]:
        taken: list[str] = []
        async with asyncio.timeout(_TIMEOUT_S), self._client() as client:
            for command in commands:
                await client.publish(
                    topic_of(command), payload_of(command), qos=1, properties=self._properties(command, now_s)
                )
                taken.append(command.command_id)
        return taken

    def _client(self) -> aiomqtt.Client:
        settings = self._settings
        return aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username or None,
            password=self._password or None,
            identifier=f"{settings.client_id}-commands",
            protocol=self._version,
            timeout=settings.connect_timeout,
            keepalive=int(settings.keep_alive),
            transport=settings.transport,
            websocket_path=settings.websocket_path if settings.transport == "websockets" else None,
            tls_context=self._tls,
        )

    def _properties(self, command: Outgoing, now_s: float) -> Properties | None:
        if self._version is not aiomqtt.ProtocolVersion.V5:
            return None
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = seconds_left(command, now_s)
        return properties
