"""The outbox: messages to CRMs, written in the transaction of the decision that they announce.

Each case has a stream per endpoint. A message gets the next number of its stream from the same row that a
concurrent writer must wait for, so the order of numbers is the order of commits.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from crm_sync.settings import MessageType
from devices.clock import to_datetime

MAX_BODY_BYTES: Final = 20_000
"""Receivers may refuse more; Standard Webhooks advises to stay below 20 kB."""

ENVELOPE_BYTES: Final = 600
"""What another format may put around a message."""


def new_message_id() -> str:
    """An id that no other message ever has; without dots, as Standard Webhooks wants it."""
    return f"msg_{secrets.token_urlsafe(18)}"


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """Something that one endpoint shall be told about one case."""

    tenant_id: str
    endpoint: str
    stream_key: str  # the case's id; for messages about an endpoint, its name
    type: MessageType
    data: Mapping[str, object]  # what msgspec can encode
    at_s: float  # when it happened, on the gateway's clock
    message_id: str = field(default_factory=new_message_id)


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message as it waits in the outbox; its body is fixed."""

    tenant_id: str
    endpoint: str
    stream_key: str
    seq: int
    message_id: str
    type: MessageType
    body: bytes  # {"type", "timestamp", "data"}: exactly what is signed and sent
    created_at: datetime  # real time


_NEXT_IN_STREAM = """
INSERT INTO outbox_stream AS s (tenant_id, endpoint, stream_key, next_seq, next_attempt_at)
VALUES (%(tenant_id)s, %(endpoint)s, %(stream_key)s, 2, 'epoch')
ON CONFLICT (tenant_id, endpoint, stream_key) DO UPDATE
   SET next_seq = s.next_seq + 1, next_attempt_at = coalesce(s.next_attempt_at, 'epoch')
RETURNING s.stream_id, s.next_seq - 1
"""

_PUT_MESSAGE = """
INSERT INTO outbox_message (message_id, tenant_id, stream_id, seq, type, body)
VALUES (%(message_id)s, %(tenant_id)s, %(stream_id)s, %(seq)s, %(type)s, %(body)s)
"""


async def enqueue_all(conn: AsyncConnection[Any], messages: Iterable[OutboxMessage]) -> None:
    """Write messages in the caller's transaction, each to the end of its stream, in the order given.

    Streams are taken in sorted order, so that two transactions that write to the same ones never wait for each other.
    """
    # sorted() is stable: messages of one stream stay in their order
    for message in sorted(messages, key=lambda each: (each.tenant_id, each.endpoint, each.stream_key)):
        key = {"tenant_id": message.tenant_id, "endpoint": message.endpoint, "stream_key": message.stream_key}
        async with conn.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_NEXT_IN_STREAM, key)
            row = await cursor.fetchone()
        assert row is not None  # an upsert always returns its row
        values = {
            "message_id": message.message_id,
            "tenant_id": message.tenant_id,
            "stream_id": row[0],
            "seq": row[1],
            "type": message.type.value,
            "body": encode_body(message),
        }
        await conn.execute(_PUT_MESSAGE, values)


_TO_THE_END = """
WITH stream AS (
    UPDATE outbox_stream
       SET next_seq = next_seq + 1, next_attempt_at = coalesce(next_attempt_at, 'epoch')
     WHERE stream_id = (SELECT stream_id FROM outbox_message WHERE message_id = %(message_id)s)
    RETURNING next_seq - 1 AS seq
)
UPDATE outbox_message
   SET seq = stream.seq, state = 'pending', reason = NULL, settled_at = NULL, replayed = replayed + 1
  FROM stream
 WHERE message_id = %(message_id)s
"""


async def enqueue_again(conn: AsyncConnection[Any], message_id: str) -> None:
    """Put a settled message to the end of its stream, under its old id and with its old bytes."""
    await conn.execute(_TO_THE_END, {"message_id": message_id})


_CLIPS: Final = ((200, 4000), (100, 2000), (50, 1000), (20, 500), (10, 250), (5, 120), (2, 60), (1, 30))
"""How many items of a list and characters of a text are kept, tried in turn until the body fits."""
_ALL_OR_NOTHING: Final = frozenset({"chart"})
"""What half of is of no use: it goes first."""


def encode_body(message: OutboxMessage, limit: int = MAX_BODY_BYTES - ENVELOPE_BYTES) -> bytes:
    """The message's JSON, below `limit` bytes: long lists and texts are clipped, and `data.truncated` says so."""
    timestamp = to_datetime(message.at_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    envelope: dict[str, object] = {"type": message.type.value, "timestamp": timestamp, "data": message.data}
    body = msgspec.json.encode(envelope)
    if len(body) < limit:
        return body
    data = msgspec.json.decode(msgspec.json.encode(message.data), type=dict[str, object])
    data |= dict.fromkeys(_ALL_OR_NOTHING & data.keys())
    for items, characters in _CLIPS:
        clipped = {key: _clip(value, items, characters) for key, value in data.items()}
        body = msgspec.json.encode({**envelope, "data": {**clipped, "truncated": True}})
        if len(body) < limit:
            break
    return body


def _clip(value: object, items: int, characters: int) -> object:
    match value:
        case str():
            return value if len(value) <= characters else f"{value[:characters]}…"
        case list():
            newest = cast("list[object]", value)[-items:]  # lists are in order of time
            return [_clip(each, items, characters) for each in newest]
        case dict():
            return {key: _clip(each, items, characters) for key, each in cast("dict[str, object]", value).items()}
        case _:
            return value
