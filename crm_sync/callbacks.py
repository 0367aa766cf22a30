"""What CRMs tell careloop: signed callbacks, each taken once.

Senders of webhooks give up on a 4xx, so only what will never be right is answered with one: a wrong signature (401),
an endpoint nobody knows (404), a body beyond the limit (413). What is merely not understood is recorded and answered
with 202, and trouble of our own with 503, after which they try again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator

from crm_sync.adapters.contract import Hook, Inbound
from crm_sync.adapters.webhook import callback_keys
from crm_sync.cases.callback import AgentOutcome, ApplyCallback, CallbackEffect, CallbackStatus, CaseCallback
from crm_sync.delivery.queries import Connection, record_external_id
from crm_sync.owners.callback import OWNER_TYPES, read_news
from crm_sync.owners.news import NewsEffect, take_news
from crm_sync.records.take import take
from crm_sync.settings import EndpointSettings
from crm_sync.signing import BadSignature, Signed, verify
from devices.errors import ConfigError

MAX_BODY_BYTES: Final = 1_048_576
PATIENCE_S: Final = 3.0
"""Senders wait little longer for an answer."""

CASE_STATUS: Final = "case.status"
RECORD_CHANGED: Final = "record.changed"

Pool = AsyncConnectionPool[AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class CallbackAnswer:
    """What the sender is answered."""

    status: int
    effect: str  # a closed word; for the sender's log and ours


def _without_nul(text: str) -> str:
    return text.replace("\x00", "")  # PostgreSQL's text cannot hold it


def _as_word(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _or_none(value: object, parse: Callable[[object], object]) -> object:
    """What cannot be read of a field that matters little must not cost the status that does."""
    try:
        return parse(value)
    except ValidationError:
        return None


Text = Annotated[str, AfterValidator(_without_nul)]
Lenient = WrapValidator(_or_none)


class _CaseStatus(BaseModel):
    """The `data` of case.status; numbers may come as text and text as numbers, as CRMs send them."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    case: Annotated[Text, Field(max_length=64)]
    status: CallbackStatus
    external_id: Annotated[Annotated[Text, Field(max_length=200)] | None, Lenient] = None
    outcome: Annotated[AgentOutcome | None, BeforeValidator(_as_word), Lenient] = None
    version: Annotated[Annotated[int, Field(ge=0, lt=2**31)] | None, Lenient] = None
    note: Annotated[Text | None, Lenient] = None
    customer_said: Annotated[Text | None, Lenient] = None


class _Envelope(BaseModel):
    type: Text


class _CaseStatusCallback(_Envelope):
    data: _CaseStatus


async def receive(
    pool: Pool,
    endpoint: EndpointSettings | None,
    headers: Mapping[str, str],
    body: bytes,
    now_s: float,
    *,
    apply: ApplyCallback,
    inbound: Inbound | None = None,
    query: Mapping[str, str] | None = None,
    tenant_id: str = "default",
    real_now_s: Callable[[], float] = time.time,
) -> CallbackAnswer:
    """Take one callback; `now_s` is the gateway's clock, while signatures are judged by real time.

    With `inbound` it is a hook in the CRM's own form; else it is signed after Standard Webhooks. Every trouble with the
    sender and with the database is an answer; raises only what is wrong with `apply` itself.
    """
    if endpoint is None:
        return CallbackAnswer(404, "unknown_endpoint")
    if len(body) > MAX_BODY_BYTES:
        return CallbackAnswer(413, "oversized")
    received_s = real_now_s()
    try:
        if inbound is None:
            signed = verify(callback_keys(endpoint, received_s), headers, body, received_s)
        else:
            signed = Signed(inbound.verify(Hook(headers, body, query or {}), received_s), int(received_s))
    except BadSignature as error:
        return CallbackAnswer(401, error.reason)
    except ConfigError:
        return CallbackAnswer(503, "no_secret")
    arrived = _Arrived(tenant_id, endpoint.name, signed, body, received_s)
    try:
        async with asyncio.timeout(PATIENCE_S), pool.connection() as conn, conn.transaction():
            if inbound is None:
                return await _take(conn, arrived, apply, now_s)
            return await _take_hook(conn, arrived, inbound, apply, now_s)
    except (psycopg.Error, PoolTimeout, OSError):  # TimeoutError is an OSError
        return CallbackAnswer(503, "database_unavailable")


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A callback whose signature is right."""

    tenant_id: str
    endpoint: str
    signed: Signed
    body: bytes
    received_s: float


async def _take(conn: Connection, arrived: _Arrived, apply: ApplyCallback, now_s: float) -> CallbackAnswer:
    """Record the callback and what it changes, in one transaction."""
    kind, data = _read(arrived.body)
    if kind in OWNER_TYPES:
        return await _take_owner_news(conn, arrived, kind, now_s)
    if not await _record(conn, arrived, kind, None if data is None else data.case):
        return CallbackAnswer(200, "duplicate")
    if data is None:
        return CallbackAnswer(202, await _note_effect(conn, arrived, "unreadable" if kind is None else "unknown_type"))
    effect = await apply(conn, _callback(arrived, data, now_s))
    known = effect != CallbackEffect.UNKNOWN_CASE
    if data.external_id and known:
        await record_external_id(
            conn, arrived.tenant_id, arrived.endpoint, data.case, data.external_id, now_s=arrived.received_s
        )
    return CallbackAnswer(200 if known else 202, await _note_effect(conn, arrived, effect))


async def _take_owner_news(conn: Connection, arrived: _Arrived, kind: str, now_s: float) -> CallbackAnswer:
    """Record what a callback tells of an owner, and keep it, in one transaction."""
    if not await _record(conn, arrived, kind, None):
        return CallbackAnswer(200, "duplicate")
    news = read_news(kind, arrived.body, now_s)
    if news is None:
        return CallbackAnswer(202, await _note_effect(conn, arrived, "unreadable"))
    effect = await take_news(conn, arrived.tenant_id, arrived.endpoint, news, now_s)
    return CallbackAnswer(202 if effect is NewsEffect.UNKNOWN_OWNER else 200, await _note_effect(conn, arrived, effect))


async def _take_hook(
    conn: Connection, arrived: _Arrived, inbound: Inbound, apply: ApplyCallback, now_s: float
) -> CallbackAnswer:
    """Record a hook in the CRM's own form, and what its changes do, in one transaction."""
    try:
        changes = inbound.read(arrived.body)
    except ValueError:
        changes = None
    case_id = changes[0].case_id if changes else None
    if not await _record(conn, arrived, RECORD_CHANGED, case_id):
        return CallbackAnswer(200, "duplicate")
    if not changes:
        return CallbackAnswer(202, await _note_effect(conn, arrived, "unreadable" if changes is None else "no_news"))
    effects = [await take(conn, arrived.tenant_id, arrived.endpoint, change, now_s, apply=apply) for change in changes]
    status = 202 if set(effects) == {CallbackEffect.UNKNOWN_CASE} else 200
    return CallbackAnswer(status, await _note_effect(conn, arrived, ", ".join(dict.fromkeys(effects))))


def _read(body: bytes) -> tuple[str | None, _CaseStatus | None]:
    """The callback's type, and its data if they are something known here."""
    try:
        kind = _Envelope.model_validate_json(body).type
        return kind, _CaseStatusCallback.model_validate_json(body).data if kind == CASE_STATUS else None
    except ValidationError:
        return None, None


def _callback(arrived: _Arrived, data: _CaseStatus, now_s: float) -> CaseCallback:
    return CaseCallback(
        tenant_id=arrived.tenant_id,
        endpoint=arrived.endpoint,
        case_id=data.case,
        status=data.status,
        received_at_s=now_s,
        outcome=data.outcome,
        version=data.version,
        note=data.note or "",
        customer_said=data.customer_said or "",
    )


_RECORD = """
INSERT INTO callback_received (tenant_id, endpoint, webhook_id, sent_at, received_at, type, case_id, body, effect)
VALUES (%(tenant_id)s, %(endpoint)s, %(webhook_id)s, to_timestamp(%(sent_s)s), to_timestamp(%(received_s)s),
        %(type)s, %(case_id)s, %(body)s, 'recorded')
ON CONFLICT DO NOTHING
RETURNING webhook_id
"""


async def _record(conn: Connection, arrived: _Arrived, kind: str | None, case_id: str | None) -> bool:
    """Whether this is the first time; a twin on its way in another transaction is waited for."""
    values = {
        "tenant_id": arrived.tenant_id,
        "endpoint": arrived.endpoint,
        "webhook_id": arrived.signed.message_id,
        "sent_s": arrived.signed.timestamp_s,
        "received_s": arrived.received_s,
        "type": kind,
        "case_id": case_id,
        "body": arrived.body,
    }
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_RECORD, values)
        return await cursor.fetchone() is not None


_NOTE_EFFECT = """
UPDATE callback_received SET effect = %s WHERE (tenant_id, endpoint, webhook_id) = (%s, %s, %s)
"""


async def _note_effect(conn: Connection, arrived: _Arrived, effect: str) -> str:
    await conn.execute(_NOTE_EFFECT, [effect, arrived.tenant_id, arrived.endpoint, arrived.signed.message_id])
    return effect
