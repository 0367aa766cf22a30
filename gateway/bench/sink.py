"""The null sink: takes MQTT packets, acknowledges each at once, and does nothing else.

What the load generator reaches against it, it can reach against anybody: `python -m gateway.bench.sink` prints the
port, and serves until it is ended.
"""

import asyncio
import sys
from typing import Final, cast

_CONNECT: Final = 1
_MORE: Final = 0x80
_PUBACK: Final = b"\x40\x02"


class _Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A device is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Acknowledge every whole packet."""
        data = self._rest + data
        at, size, answers = 0, len(data), list[bytes]()
        while at + 4 < size:
            length, body = data[at + 1], at + 2
            if length >= _MORE:
                length += (data[body] - 1) * _MORE  # two bytes are enough for a benchmark's packets
                body += 1
            if body + length > size:
                break
            if data[at] >> 4 == _CONNECT:
                answers.append(b"\x20\x02\x00\x00")
            else:
                identifier = body + 2 + data[body] * 256 + data[body + 1]
                answers.append(_PUBACK + data[identifier : identifier + 2])
            at = body + length
        self._rest = data[at:]
        self._transport.write(b"".join(answers))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Sink, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve())
