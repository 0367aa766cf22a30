"""Callbacks: what is believed, what is taken once, and what the sender is answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from crm_sync.callbacks import MAX_BODY_BYTES, CallbackAnswer, receive
from crm_sync.cases.callback import CaseCallback
from crm_sync.delivery.retire import delete_callbacks
from crm_sync.settings import EndpointSettings
from crm_sync.signing import parse_secret, sign
from tests.services.delivery_rig import SECRET, START_S

OTHER = "whsec_" + "QUJD" * 8
GATEWAY_NOW_S = 5_000_000.0  # the gateway's clock may be anywhere; signatures are judged by real time
CRM = EndpointSettings.model_validate({"name": "crm", "url": "https://crm.example.com/", "secret": SECRET})

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class Cases:
    """What stands in for cases: keeps what it was told, or fails."""

    def __init__(self) -> None:
        self.told: list[CaseCallback] = []
        self.effect = "applied"
        self.failure: Exception | None = None

    async def apply(self, conn: AsyncConnection[Any], callback: CaseCallback) -> str:
        """Keep it, and answer with `effect`."""
        if self.failure is not None:
            raise self.failure
        await conn.execute("SELECT 1")
        self.told.append(callback)
        return self.effect


@pytest.fixture
async def pool(plain_database_url: str) -> AsyncIterator[Pool]:
    pool: Pool = AsyncConnectionPool(plain_database_url, min_size=1, max_size=4, open=False)
    async with pool:
        yield pool


@pytest.fixture
def cases() -> Cases:
    return Cases()


def body(**data: object) -> bytes:
    given = {"case": "case_a", "status": "resolved", **data}
    return json.dumps({"type": "case.status", "timestamp": "2027-01-15T08:00:00Z", "data": given}).encode()


async def call(
    pool: Pool,
    cases: Cases,
    content: bytes,
    *,
    webhook_id: str = "msg_1",
    secret: str = SECRET,
    at_s: float = START_S,
    endpoint: EndpointSettings | None = CRM,
    **headers: str,
) -> CallbackAnswer:
    signed = sign([parse_secret(secret)], webhook_id, int(at_s), content) | headers
    return await receive(pool, endpoint, signed, content, GATEWAY_NOW_S, apply=cases.apply, real_now_s=lambda: START_S)


async def recorded(pool: Pool) -> list[tuple[Any, ...]]:
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT webhook_id, type, case_id, effect FROM callback_received ORDER BY 1")
        return await cursor.fetchall()


async def test_a_signed_callback_reaches_its_case_and_is_kept(pool: Pool, cases: Cases) -> None:
    content = body(outcome="true", version=3, note="spoke with the owner", external_id=4711)
    assert await call(pool, cases, content) == CallbackAnswer(200, "applied")
    (told,) = cases.told
    assert told == CaseCallback(
        tenant_id="default",
        endpoint="crm",
        case_id="case_a",
        status="resolved",
        received_at_s=GATEWAY_NOW_S,
        outcome="true",
        version=3,
        note="spoke with the owner",
    )
    assert await recorded(pool) == [("msg_1", "case.status", "case_a", "applied")]
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT external_id FROM external_ref")
        assert await cursor.fetchall() == [("4711",)]


async def test_the_same_callback_twice_has_one_effect(pool: Pool, cases: Cases) -> None:
    answers = await asyncio.gather(*(call(pool, cases, body()) for _ in range(4)))
    assert sorted(answer.effect for answer in answers) == ["applied", "duplicate", "duplicate", "duplicate"]
    assert {answer.status for answer in answers} == {200}
    assert len(cases.told) == 1


async def test_two_endpoints_may_use_the_same_ids(pool: Pool, cases: Cases) -> None:
    other = CRM.model_copy(update={"name": "other"})
    await call(pool, cases, body())
    assert (await call(pool, cases, body(), endpoint=other)).effect == "applied"


@pytest.mark.parametrize(
    ("how", "effect"),
    [
        ({"secret": OTHER}, "no_match"),
        ({"at_s": START_S - 301}, "too_old"),
        ({"at_s": START_S + 302}, "too_new"),
        ({"webhook-signature": ""}, "no_match"),
        ({"webhook-timestamp": "soon"}, "bad_timestamp"),
        ({"webhook-id": "a.b"}, "bad_id"),
    ],
)
async def test_a_wrong_signature_is_the_senders_fault(
    pool: Pool, cases: Cases, how: dict[str, Any], effect: str
) -> None:
    assert await call(pool, cases, body(), **how) == CallbackAnswer(401, effect)
    assert cases.told == []
    assert await recorded(pool) == []


async def test_while_the_secret_is_replaced_both_are_believed(pool: Pool, cases: Cases) -> None:
    rotating = EndpointSettings.model_validate(
        {"name": "crm", "url": "https://crm.example.com/", "secret": OTHER, "previous_secret": SECRET}
    )
    assert (await call(pool, cases, body(), endpoint=rotating)).status == 200
    assert (await call(pool, cases, body(), endpoint=rotating, secret=OTHER, webhook_id="msg_2")).status == 200


async def test_callbacks_may_have_a_secret_of_their_own(pool: Pool, cases: Cases) -> None:
    own = EndpointSettings.model_validate(
        {"name": "crm", "url": "https://crm.example.com/", "secret": SECRET, "callback_secret": OTHER}
    )
    assert (await call(pool, cases, body(), endpoint=own)).status == 401
    assert (await call(pool, cases, body(), endpoint=own, secret=OTHER)).status == 200


@pytest.mark.parametrize(
    ("content", "effect"),
    [
        (b"", "unreadable"),
        (b"\xff\xfe", "unreadable"),
        (b"[]", "unreadable"),
        (b'{"type": "case.status"}', "unreadable"),
        (b'{"type": "case.status", "data": {"case": "case_a", "status": "exploded"}}', "unreadable"),
        (b'{"type": "ticket.merged", "data": {}}', "unknown_type"),
        (b"[" * 100_000, "unreadable"),
    ],
)
async def test_what_is_not_understood_is_recorded_and_not_sent_again(
    pool: Pool, cases: Cases, content: bytes, effect: str
) -> None:
    assert await call(pool, cases, content) == CallbackAnswer(202, effect)
    assert [row[3] for row in await recorded(pool)] == [effect]


async def test_an_unknown_case_is_recorded(pool: Pool, cases: Cases) -> None:
    cases.effect = "unknown_case"
    assert await call(pool, cases, body(external_id="x")) == CallbackAnswer(202, "unknown_case")
    async with pool.connection() as conn:
        assert await (await conn.execute("SELECT 1 FROM external_ref")).fetchall() == []


@pytest.mark.parametrize(
    "odd",
    [{"version": "7"}, {"version": -1}, {"version": "x"}, {"outcome": "perhaps"}, {"note": 7}, {"external_id": [1]}],
)
async def test_an_odd_side_remark_does_not_cost_the_status(pool: Pool, cases: Cases, odd: dict[str, Any]) -> None:
    assert (await call(pool, cases, body(**odd))).effect == "applied"
    assert cases.told[0].version == (7 if odd == {"version": "7"} else None)


async def test_text_that_postgresql_cannot_hold_is_cleaned(pool: Pool, cases: Cases) -> None:
    assert (await call(pool, cases, body(note="a\x00b", external_id="4\x007"))).status == 200
    assert cases.told[0].note == "ab"


async def test_an_outcome_may_be_a_boolean(pool: Pool, cases: Cases) -> None:
    await call(pool, cases, body(outcome=False))
    assert cases.told[0].outcome == "false"


async def test_an_unknown_endpoint_and_a_huge_body_are_refused(pool: Pool, cases: Cases) -> None:
    assert (await call(pool, cases, body(), endpoint=None)).status == 404
    assert (await call(pool, cases, b"x" * (MAX_BODY_BYTES + 1))).status == 413


@pytest.mark.parametrize("failure", [psycopg.OperationalError("away"), TimeoutError(), OSError("reset")])
async def test_trouble_of_our_own_is_503_and_leaves_nothing(pool: Pool, cases: Cases, failure: Exception) -> None:
    cases.failure = failure
    assert await call(pool, cases, body()) == CallbackAnswer(503, "database_unavailable")
    assert await recorded(pool) == []
    cases.failure = None
    assert (await call(pool, cases, body())).effect == "applied"  # the sender's next try


async def test_a_secret_that_cannot_be_read_is_our_own_trouble(pool: Pool, cases: Cases) -> None:
    lost = EndpointSettings.model_validate(
        {"name": "crm", "url": "https://crm.example.com/", "secret_file": "/nowhere/secret"}
    )
    assert (await call(pool, cases, body(), endpoint=lost)).status == 503


async def test_a_callback_is_recognised_for_a_week(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute(
            "INSERT INTO callback_received (tenant_id, endpoint, webhook_id, sent_at, received_at, body, effect)"
            " SELECT 'default', 'crm', 'd-' || days, now(), now() - make_interval(days => days), '', 'applied'"
            " FROM unnest('{1,6,8}'::int[]) days"
        )
        deleted = await delete_callbacks(conn, datetime.now(UTC), 100)  # whatever deliveries are kept for
        left = await (await conn.execute("SELECT webhook_id FROM callback_received ORDER BY 1")).fetchall()
    assert (deleted, len(left)) == (1, 2)
