"""A device on paho-mqtt, whose thread tells the event loop what happens."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.clients.interface import GONE, Acknowledged, Introduction, Welcome

_PATIENCE_S = 240.0
_MISNAMED = {"SubscriptionIdentifierAvailable": "subscriptionIdentifiersAvailable"}


def paho_properties(packet_type: int, given: dict[str, Any]) -> Properties:
    """Properties from names in camel case; paho writes their first letter large."""
    made = Properties(packet_type)
    for name, value in given.items():
        setattr(made, name[0].upper() + name[1:], value)
    return made


class PahoClient:
    """Each future is set from paho's thread."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[Welcome] = self._loop.create_future()
        self._end: asyncio.Future[int] = self._loop.create_future()
        self._acknowledged: dict[int, asyncio.Future[Acknowledged]] = {}
        self._granted: dict[int, asyncio.Future[int]] = {}
        self._messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._client: Client

    async def connect(self, port: int, introduction: Introduction) -> Welcome:
        """Connect, and wait for CONNACK."""
        self._client = self._new_client(introduction)
        properties = (
            paho_properties(PacketTypes.CONNECT, dict(introduction.properties))
            if self.version == 5 and introduction.properties
            else None
        )
        clean = introduction.clean if self.version == 5 else MQTT_CLEAN_START_FIRST_ONLY
        await asyncio.to_thread(
            self._client.connect,
            "127.0.0.1",
            port,
            introduction.keep_alive,
            clean_start=clean,
            properties=properties,
        )
        self._client.loop_start()
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.wait((self._welcome, self._end), return_when=asyncio.FIRST_COMPLETED)
        return self._welcome.result() if self._welcome.done() else Welcome(GONE)

    def _new_client(self, introduction: Introduction) -> Client:
        clean = None if self.version == 5 else introduction.clean
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=introduction.client_id,
            clean_session=clean,
            protocol=MQTTProtocolVersion(self.version),
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(5)  # paho does not look at the receive maximum
        if introduction.username is not None:
            client.username_pw_set(introduction.username, introduction.password)
        if introduction.will is not None:
            delay = None
            if self.version == 5 and introduction.will_delay is not None:
                delay = paho_properties(PacketTypes.WILLMESSAGE, {"willDelayInterval": introduction.will_delay})
            client.will_set(*introduction.will, qos=1, properties=delay)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_granted
        client.on_unsubscribe = self._on_granted
        client.on_message = self._on_message
        return client

    def _tell(self, tell: Callable[..., object], *what: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell, *what)

    def _on_connect(
        self, _c: Client, _d: object, flags: ConnectFlags, code: ReasonCode, said: Properties | None
    ) -> None:
        told = cast("dict[str, Any]", said.json()) if said else {}  # pyright: ignore[reportUnknownMemberType]
        offers = {_MISNAMED.get(name, name[0].lower() + name[1:]): value for name, value in told.items()}
        self._tell(_set, self._welcome, Welcome(int(code.value), flags.session_present, offers))

    def _on_disconnect(
        self, _c: Client, _d: object, flags: DisconnectFlags, code: ReasonCode, _p: Properties | None
    ) -> None:
        self._tell(_set, self._end, int(code.value) if flags.is_disconnect_packet_from_server else GONE)

    def _on_publish(self, _c: Client, _d: object, mid: int, code: ReasonCode, said: Properties) -> None:
        answer = Acknowledged(int(code.value), getattr(said, "ReasonString", ""))
        self._tell(lambda: _set(self._future(self._acknowledged, mid), answer))

    def _on_granted(self, _c: Client, _d: object, mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
        code = int(codes[0].value) if codes else 0
        self._tell(lambda: _set(self._future(self._granted, mid), code))

    def _on_message(self, _c: Client, _d: object, message: MQTTMessage) -> None:
        self._tell(self._messages.put_nowait, (message.topic, bytes(message.payload)))

    def _future(self, futures: dict[int, asyncio.Future[Any]], mid: int) -> asyncio.Future[Any]:
        return futures.setdefault(mid, self._loop.create_future())

    async def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, **more: Any
    ) -> Acknowledged:
        """Publish, and wait for PUBACK, or the end."""
        properties = paho_properties(PacketTypes.PUBLISH, more) if more else None
        mid = self._client.publish(topic, payload, qos, retain, properties).mid
        answer = self._future(self._acknowledged, mid)
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.wait((answer, self._end), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else Acknowledged(GONE)

    async def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """Subscribe, and wait for SUBACK."""
        mid = self._client.subscribe(topic_filter, qos)[1]
        assert mid is not None
        async with asyncio.timeout(_PATIENCE_S):
            return int(await self._future(self._granted, mid))

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe, and wait for UNSUBACK."""
        mid = self._client.unsubscribe(topic_filter)[1]
        assert mid is not None
        async with asyncio.timeout(_PATIENCE_S):
            await self._future(self._granted, mid)

    async def message(self) -> tuple[str, bytes]:
        """The next message."""
        async with asyncio.timeout(_PATIENCE_S):
            return await self._messages.get()

    async def ended(self) -> int:
        """How the server ended it."""
        async with asyncio.timeout(_PATIENCE_S):
            return await self._end

    async def leave(self, *, with_will: bool = False) -> None:
        """Disconnect."""
        code = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message") if with_will else None
        self._client.disconnect(code)
        await asyncio.wait((self._end,), timeout=_PATIENCE_S)

    async def vanish(self) -> None:
        """Close the socket."""
        open_socket = cast("socket.socket | None", self._client.socket())
        if open_socket is not None:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)  # which the thread sees at once
        await asyncio.to_thread(self._client.loop_stop)
        if open_socket is not None:
            open_socket.close()

    async def close(self) -> None:
        """Stop the thread."""
        await self.vanish()


def _set(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)
