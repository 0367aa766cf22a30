"""ASGI, as far as the sandboxes need it."""

from collections.abc import Mapping

from starlette.types import Receive, Send


async def body_of(receive: Receive) -> bytes:
    """A request's whole body."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def send_bytes(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """An answer in one piece; one without content has no length to tell."""
    length = {} if status == 204 else {"content-length": str(len(body))}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in {**headers, **length}.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if status == 204 else body})


async def cut(send: Send) -> None:
    """Promise more than is sent: the server then closes the connection, and the sender never knows."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
