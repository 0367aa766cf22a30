"""A device on MQTT.js, which lives in a process of Node.js."""

import asyncio
from typing import Any

from tests.clients.interface import GONE, Acknowledged, Introduction, Welcome
from tests.clients.node import Node

_PATIENCE_S = 240.0
_FROM_RETURN_CODE = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}


class MqttJsClient:
    """Tells its client there what to do, and hears what happens."""

    def __init__(self, version: int, node: Node) -> None:
        self.version = version
        self._node = node
        self._number = node.new_client(self._hear)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._disconnect = GONE
        self._has_begun = False

    async def connect(self, port: int, introduction: Introduction) -> Welcome:
        """Connect, and wait for CONNACK."""
        self._has_begun = True
        answer = await self._ask("connect", options=self._options(port, introduction))
        code = int(answer["code"])
        if self.version == 4:
            code = _FROM_RETURN_CODE.get(code, code)
        return Welcome(code, answer.get("sessionPresent", False), answer.get("properties", {}))

    def _options(self, port: int, introduction: Introduction) -> dict[str, Any]:
        options: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": port,
            "protocolVersion": self.version,
            "clientId": introduction.client_id,
            "clean": introduction.clean,
            "keepalive": introduction.keep_alive,
            "username": introduction.username,
            "password": introduction.password,
        }
        if self.version == 5:
            options["properties"] = dict(introduction.properties)
        if introduction.will is not None:
            topic, payload = introduction.will
            will: dict[str, Any] = {"topic": topic, "payload": payload.decode(), "qos": 1}
            if introduction.will_delay is not None and self.version == 5:
                will["properties"] = {"willDelayInterval": introduction.will_delay}
            options["will"] = will
        return {name: value for name, value in options.items() if value is not None}

    def _hear(self, told: dict[str, Any]) -> None:
        match told.pop("event", None):
            case "message":
                self._messages.put_nowait((told["topic"], told["payload"].encode()))
            case "disconnect":
                self._disconnect = told["code"]
            case "closed":
                if not self._end.done():
                    self._end.set_result(self._disconnect)
            case _:
                answer = self._answers[told["id"]]
                if not answer.done():
                    answer.set_result(told)

    async def _ask(self, do: str, **what: Any) -> dict[str, Any]:
        number = len(self._answers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._node.tell({"client": self._number, "id": number, "do": do, **what})
        async with asyncio.timeout(_PATIENCE_S):
            if do == "connect":
                return await answer
            await asyncio.wait((answer, self._end), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else {"code": GONE}

    async def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, **more: Any
    ) -> Acknowledged:
        """Publish, and wait for PUBACK, or the end."""
        if "userProperty" in more:
            more["userProperties"] = dict([more.pop("userProperty")])
        options = {"qos": qos, "retain": retain, "properties": more}
        answer = await self._ask("publish", topic=topic, payload=payload.decode(), options=options)
        return Acknowledged(answer["code"], answer.get("text", ""))

    async def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """Subscribe, and wait for SUBACK."""
        answer = await self._ask("subscribe", filter=topic_filter, options={"qos": qos})
        return int(answer["codes"][0])

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe, and wait for UNSUBACK."""
        await self._ask("unsubscribe", filter=topic_filter)

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
        await self._ask("disconnect", options={"reasonCode": 4} if with_will else {})

    async def vanish(self) -> None:
        """Destroy the socket."""
        await self._ask("vanish")

    async def close(self) -> None:
        """Hang up."""
        if self._has_begun and not self._end.done():
            await self.vanish()
            await self.ended()
