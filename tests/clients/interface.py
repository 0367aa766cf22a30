"""What the conformance tests ask of a client, whoever wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

GONE = -1
"""In place of a reason code: the connection ended without one."""


@dataclass(frozen=True)
class Welcome:
    """What a client makes of CONNACK; `offers` are MQTT 5 properties by their names in camel case."""

    code: int
    session_present: bool = False
    offers: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Acknowledged:
    """What a client makes of PUBACK."""

    code: int
    text: str = ""


@dataclass(frozen=True)
class Introduction:
    """How a client introduces itself."""

    client_id: str = "client"
    username: str | None = "d1"
    password: str | None = "correct horse"
    clean: bool = True
    keep_alive: int = 60
    will: tuple[str, bytes] | None = None
    will_delay: int | None = None
    properties: Mapping[str, int] = field(default_factory=dict[str, int])  # camel case, as in `Welcome.offers`


class Device(Protocol):
    """A device on some client library; every wait ends after some seconds."""

    version: int

    async def connect(self, port: int, introduction: Introduction) -> Welcome:
        """Connect; GONE where no CONNACK came."""
        ...

    async def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, **more: Any
    ) -> Acknowledged:
        """Publish, and wait for what is said of it; `more` are properties in camel case."""
        ...

    async def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """The code that SUBACK has for the filter."""
        ...

    async def unsubscribe(self, topic_filter: str) -> None:
        """Returns when UNSUBACK is there."""
        ...

    async def message(self) -> tuple[str, bytes]:
        """The next message's topic and payload."""
        ...

    async def ended(self) -> int:
        """The reason code with which the server has ended the connection; GONE where it gave none."""
        ...

    async def leave(self, *, with_will: bool = False) -> None:
        """Disconnect in good order; with reason code 0x04 where the will is to be published."""
        ...

    async def vanish(self) -> None:
        """Be gone without a word."""
        ...

    async def close(self) -> None:
        """Leave nothing behind."""
        ...
