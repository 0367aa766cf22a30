"""Deliveries to a receiver that answers as receivers do."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks import Webhook

from crm_sync.delivery.records import get_delivery, list_deliveries
from crm_sync.delivery.replay import Replayed, replay, resume_endpoint
from crm_sync.policy.model import Reason, SendDecision, Verdict
from crm_sync.settings import MessageType
from tests.services.delivery_rig import SECRET, START_S, Rig, endpoint, message, open_rig
from tests.services.receiver import Answer, Receiver, hang, huge_body, reply, reset, slow_body

OPENED, UPDATED, RESOLVED = MessageType.CASE_OPENED, MessageType.CASE_UPDATED, MessageType.CASE_RESOLVED
MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture
async def rig(plain_database_url: str, receiver: Receiver) -> AsyncIterator[Rig]:
    async with open_rig(plain_database_url, endpoint(receiver.url)) as rig:
        yield rig


async def test_a_message_arrives_signed_as_the_standard_says(rig: Rig, receiver: Receiver) -> None:
    receiver.usually = reply(201, b'{"external_id": 4711}')
    opened = message("case_a", title="Kalt geworden: Kaffeemaschine €")
    await rig.enqueue(opened)
    await rig.run()
    (heard,) = receiver.heard
    assert heard.headers["webhook-id"] == opened.message_id
    assert heard.headers["webhook-timestamp"] == str(int(START_S))
    library = Webhook(SECRET)
    signature = library.sign(opened.message_id, datetime.fromtimestamp(START_S, UTC), heard.body.decode())
    assert heard.headers["webhook-signature"] == signature
    assert heard.data["title"] == "Kalt geworden: Kaffeemaschine €"
    detail = await rig.one(opened)
    assert (detail.summary.state, detail.external_id) == ("delivered", "4711")
    assert [attempt.result for attempt in detail.attempts] == ["ok"]


async def test_a_failure_is_tried_again_on_the_schedule_with_the_same_id_and_bytes(
    rig: Rig, receiver: Receiver
) -> None:
    receiver.script.extend([reply(500), reply(503), reply(200)])
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=4.9)
    assert len(receiver.heard) == 1
    await rig.run(later_s=0.2)
    assert len(receiver.heard) == 2
    await rig.run(later_s=5 * MINUTE)
    assert [attempt.result for attempt in (await rig.one(opened)).attempts] == ["unknown", "retryable", "ok"]
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
    assert len({heard.body for heard in receiver.heard}) == 1
    assert len({heard.headers["webhook-timestamp"] for heard in receiver.heard}) == 3


async def test_the_schedule_ends_after_ten_attempts_within_three_days(rig: Rig, receiver: Receiver) -> None:
    receiver.usually = reply(503)
    opened = message("case_a")
    await rig.enqueue(opened)
    for later_s in (0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR):
        assert (await rig.one(opened)).summary.state == "pending"
        await rig.run(later_s=later_s)
    detail = await rig.one(opened)
    assert len(receiver.heard) == len(detail.attempts) == 10
    assert (detail.summary.state, detail.summary.reason) == ("dead", "http_503")
    await rig.run(later_s=240 * HOUR)
    assert len(receiver.heard) == 10


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_too_many_requests_pause_the_endpoint_and_use_up_no_attempt(
    rig: Rig, receiver: Receiver, form: str
) -> None:
    until = datetime.fromtimestamp(START_S + 120, UTC)
    receiver.script.append(reply(429, retry_after="120" if form == "seconds" else format_datetime(until, usegmt=True)))
    await rig.enqueue(message("case_a"))
    await rig.run()
    await rig.enqueue(message("case_b"))  # another case waits as well: the endpoint asked, not the case
    await rig.run(later_s=119)
    assert len(receiver.heard) == 1
    await rig.run(later_s=2)
    assert [each.state for each in await rig.listed()] == ["delivered", "delivered"]
    assert await rig.rows("SELECT max(failures) AS failures FROM outbox_stream") == [{"failures": 0}]


async def test_service_unavailable_is_not_asked_again_before_it_wants_to_be(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(reply(503, retry_after="600"))
    await rig.enqueue(message("case_a"))
    await rig.run()
    await rig.run(later_s=599)
    assert len(receiver.heard) == 1
    await rig.run(later_s=2)
    assert len(receiver.heard) == 2


HANGING, SLOW_503, SLOW_200 = hang(), slow_body(503), slow_body(200)
ENDLESS = (HANGING, SLOW_503, SLOW_200)


@pytest.mark.parametrize(
    ("answer", "result", "code"),
    [
        (HANGING, "unknown", "timeout"),
        (reset(), "unknown", "connection_lost"),
        (SLOW_503, "retryable", "http_503"),
        (SLOW_200, "ok", "http_200"),
        (huge_body(200), "ok", "http_200"),
        (huge_body(422), "permanent", "http_422"),
        (reply(200, b"<html>\xff\x00 not JSON"), "ok", "http_200"),
        (reply(204, b""), "ok", "http_204"),
        (reply(401), "auth", "http_401"),
        (reply(409), "conflict", "http_409"),
        (reply(408), "retryable", "http_408"),
        (reply(418), "permanent", "http_418"),
        (reply(502), "unknown", "http_502"),
    ],
)
async def test_every_answer_has_one_class(
    plain_database_url: str, receiver: Receiver, answer: Answer, result: str, code: str
) -> None:
    receiver.usually = answer
    note = message("case_a", UPDATED)
    async with open_rig(plain_database_url, endpoint(receiver.url, timeout=1 if answer in ENDLESS else 20)) as rig:
        await rig.enqueue(note)
        await rig.run()
        (attempt,) = (await rig.one(note)).attempts
    assert (attempt.result, attempt.code) == (result, code)
    assert attempt.answer is None or len(attempt.answer.encode()) <= 4096


async def test_nobody_listening_is_retried(plain_database_url: str) -> None:
    async with Receiver() as receiver:
        nowhere = endpoint(receiver.url)
    async with open_rig(plain_database_url, nowhere) as rig:
        note = message("case_a", UPDATED)
        await rig.enqueue(note)
        await rig.run()
        (attempt,) = (await rig.one(note)).attempts
    assert (attempt.result, attempt.code) == ("retryable", "connect_failed")


async def test_a_redirect_is_a_failure_and_is_not_followed(rig: Rig, receiver: Receiver) -> None:
    async with Receiver() as elsewhere:
        receiver.usually = reply(307, location=elsewhere.url)
        note = message("case_a", UPDATED)
        await rig.enqueue(note)
        for later_s in (0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR):
            await rig.run(later_s=later_s)
        assert elsewhere.heard == []
    detail = await rig.one(note)
    assert {attempt.code for attempt in detail.attempts} == {"http_307"}
    assert len(detail.attempts) == 4  # believed when it stays
    assert detail.summary.state == "dead"


async def test_a_case_that_nobody_takes_parks_its_own_stream_only(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(reply(422, b'{"error": "no such queue", "token": "Bearer abcdefghijkl"}'))
    poison, behind, other = message("case_a"), message("case_a", UPDATED), message("case_b")
    await rig.enqueue(poison)
    await rig.run()
    await rig.enqueue(behind, other)
    await rig.run(later_s=100 * HOUR)
    assert [each.state for each in await rig.listed()] == ["dead", "pending", "delivered"]
    assert [heard.headers["webhook-id"] for heard in receiver.heard] == [poison.message_id, other.message_id]
    (attempt,) = (await rig.one(poison)).attempts
    assert attempt.answer is not None
    assert "no such queue" in attempt.answer
    assert "abcdefghijkl" not in attempt.answer


async def test_a_parked_stream_goes_on_after_its_dead_head_was_sent_again(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(reply(422))
    opened, updated = message("case_a"), message("case_a", UPDATED)
    await rig.enqueue(opened, updated)
    await rig.run()
    async with rig.pool.connection() as conn:
        assert await replay(conn, "default", updated.message_id) is Replayed.PARKED
        assert await replay(conn, "default", opened.message_id) is Replayed.AGAIN
    await rig.run(later_s=60)
    first, again, second = receiver.heard
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == opened.message_id
    assert first.headers["webhook-timestamp"] != again.headers["webhook-timestamp"]
    assert second.headers["webhook-id"] == updated.message_id
    assert [each.state for each in await rig.listed()] == ["delivered", "delivered"]


async def test_a_note_that_nobody_takes_is_passed_over_and_can_be_sent_again(rig: Rig, receiver: Receiver) -> None:
    receiver.script.extend([reply(200), reply(422), reply(200)])
    opened, note, resolved = message("case_a"), message("case_a", UPDATED), message("case_a", RESOLVED)
    await rig.enqueue(opened, note, resolved)
    await rig.run()
    assert [each.state for each in await rig.listed()] == ["delivered", "dead", "delivered"]
    async with rig.pool.connection() as conn:
        assert await replay(conn, "default", note.message_id) is Replayed.AGAIN
        assert await replay(conn, "default", "msg_nobody") is Replayed.UNKNOWN
    await rig.run()
    assert [each.state for each in await rig.listed()] == ["delivered"] * 3
    assert [heard.headers["webhook-id"] for heard in receiver.heard][-1] == note.message_id


async def test_a_pending_message_can_be_tried_sooner(rig: Rig, receiver: Receiver) -> None:
    receiver.script.extend([reply(500), reply(500)])
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=6)
    async with rig.pool.connection() as conn:
        assert await replay(conn, "default", opened.message_id) is Replayed.SOONER
    await rig.run()
    assert (await rig.one(opened)).summary.state == "delivered"


async def test_gone_disables_the_endpoint_tells_the_others_and_drops_nothing(
    plain_database_url: str, receiver: Receiver
) -> None:
    async with Receiver() as second:
        endpoints = [endpoint(receiver.url), endpoint(second.url, name="ops")]
        async with open_rig(plain_database_url, *endpoints) as rig:
            receiver.script.append(reply(410))
            await rig.enqueue(message("case_a"), message("case_b"))
            await rig.run()
            await rig.run(later_s=100 * HOUR)
            assert {heard.path for heard in receiver.heard} == {"/hook"}
            assert len(receiver.heard) <= 2  # both were under way when the answer came
            (told,) = second.heard
            assert told.data["endpoint"] == "crm"
            assert told.data["reason"] == "gone"
            pending = await rig.listed(state="pending", endpoint="crm")
            assert all(each.endpoint_disabled for each in pending)
            assert pending
            async with rig.pool.connection() as conn:
                assert await resume_endpoint(conn, "default", "crm")
            await rig.run()
            assert await rig.listed(state="pending") == ()


async def test_an_endpoint_that_fails_for_five_days_is_disabled(rig: Rig, receiver: Receiver) -> None:
    receiver.usually = reply(503)
    for number in range(12):
        await rig.enqueue(message(f"case_{number}", UPDATED))
        await rig.run(later_s=11 * HOUR)
    assert await rig.rows("SELECT disabled_reason FROM endpoint_state") == [{"disabled_reason": "failing"}]
    sent = len(receiver.heard)
    await rig.run(later_s=HOUR)
    assert len(receiver.heard) == sent


async def test_one_success_starts_the_five_days_anew(rig: Rig, receiver: Receiver) -> None:
    for number in range(12):
        receiver.usually = reply(200 if number == 6 else 503)
        await rig.enqueue(message(f"case_{number}", UPDATED))
        await rig.run(later_s=11 * HOUR)
    assert await rig.rows("SELECT 1 FROM endpoint_state WHERE disabled_at IS NOT NULL") == []


async def test_the_breaker_spares_a_dead_origin_and_uses_up_no_attempt(rig: Rig, receiver: Receiver) -> None:
    receiver.usually = reply(503)
    await rig.enqueue(*(message(f"case_{number}", UPDATED) for number in range(8)))
    await rig.run()
    assert len(receiver.heard) == 8  # they were under way together
    await rig.enqueue(*(message(f"case_{number}", UPDATED) for number in range(8, 20)))
    await rig.run(later_s=20)
    assert len(receiver.heard) == 8
    await rig.run(later_s=11)
    assert len(receiver.heard) == 9  # one probe
    receiver.usually = reply(200)
    await rig.run(later_s=59)
    assert len(receiver.heard) == 9  # the wait has doubled
    await rig.run(later_s=2)
    assert {each.state for each in await rig.listed()} <= {"delivered", "pending"}
    await rig.run(later_s=10 * MINUTE)
    assert {each.state for each in await rig.listed()} == {"delivered"}
    attempts = await rig.rows("SELECT count(*) AS n FROM delivery_attempt GROUP BY message_id ORDER BY n DESC LIMIT 1")
    assert attempts[0]["n"] <= 3


async def test_the_policy_is_asked_right_before_sending(rig: Rig, receiver: Receiver) -> None:
    held, withdrawn, after = message("case_h"), message("case_w"), message("case_w", UPDATED)
    rig.decisions["case_h"] = SendDecision(Verdict.HOLD, Reason.QUIET_HOURS, until_s=START_S + 8 * HOUR)
    rig.decisions["case_w"] = SendDecision(Verdict.WITHDRAW, Reason.NO_GRANT)
    await rig.enqueue(held, withdrawn, after)
    await rig.run()
    assert receiver.heard == []
    states = {each.message_id: (each.state, each.reason) for each in await rig.listed()}
    assert states[held.message_id] == ("pending", None)
    assert states[withdrawn.message_id] == states[after.message_id] == ("withdrawn", "no_grant")
    rig.decisions.clear()
    await rig.run(later_s=4)
    assert [heard.headers["webhook-id"] for heard in receiver.heard] == [held.message_id]
    assert rig.asked.count(held.message_id) == 2
    assert (await rig.one(held)).summary.attempts == 1


async def test_a_policy_that_fails_on_one_message_holds_only_that_one(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = rig.may_send

    async def fail_on_a(conn: object, queued: object, now_s: float) -> SendDecision:
        decision = await asked(conn, queued, now_s)  # pyright: ignore[reportArgumentType]
        if getattr(queued, "stream_key", "") == "case_a":
            raise KeyError("case_a")
        return decision

    monkeypatch.setattr(rig, "may_send", fail_on_a)
    await rig.enqueue(message("case_a"), message("case_b"))
    await rig.run()
    assert [each.state for each in await rig.listed()] == ["pending", "delivered"]


async def test_an_endpoint_takes_only_so_many_requests_at_once(plain_database_url: str, receiver: Receiver) -> None:
    async with open_rig(plain_database_url, endpoint(receiver.url, max_in_flight=3)) as rig:
        await rig.enqueue(*(message(f"case_{number}") for number in range(10)))
        await rig.run()
    assert len(receiver.heard) == 10
    assert receiver.most_in_flight <= 3


async def test_a_name_that_has_moved_inside_is_blocked_visibly(plain_database_url: str, receiver: Receiver) -> None:
    public = endpoint(receiver.url)
    settings = public.model_copy(update={"url": f"http://crm.invalid:{receiver.port}/hook", "allow_networks": ()})

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with open_rig(plain_database_url, settings, resolve=resolve) as rig:
        opened = message("case_a")
        await rig.enqueue(opened)
        await rig.run()
        detail = await rig.one(opened)
    assert (detail.summary.state, detail.summary.reason) == ("dead", "blocked_target")
    assert receiver.heard == []


async def test_run_delivers_when_woken_and_stops_when_cancelled(rig: Rig, receiver: Receiver) -> None:
    engine = rig.engine()
    running = asyncio.create_task(engine.run())
    opened = message("case_a")
    await rig.enqueue(opened)
    engine.wake()
    await receiver.hears(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await rig.one(opened)).summary.state == "delivered"  # what was under way was settled


async def test_pages_of_deliveries_hold_each_message_once(rig: Rig) -> None:
    await rig.enqueue(*(message(f"case_{number}") for number in range(7)))
    seen: list[str] = []
    cursor = None
    async with rig.pool.connection() as conn:
        while True:
            page = await list_deliveries(conn, "default", cursor=cursor, limit=3)
            seen += [each.message_id for each in page.items]
            cursor = page.next
            if cursor is None:
                break
    assert len(seen) == len(set(seen)) == 7


async def test_the_gateways_times_do_not_touch_the_schedule(rig: Rig) -> None:
    await rig.enqueue(message("case_a"))
    (listed,) = await rig.listed()
    assert listed.next_attempt_at is not None
    assert listed.next_attempt_at - listed.created_at < timedelta(seconds=1)


async def test_while_a_secret_is_replaced_both_sign_for_as_long_as_was_said(
    plain_database_url: str, receiver: Receiver
) -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    until = datetime.fromtimestamp(START_S + 24 * HOUR, UTC)
    settings = endpoint(receiver.url, secret=new, previous_secret=SECRET, previous_secret_until=until)
    async with open_rig(plain_database_url, settings) as rig:
        for later_s in (0, 24 * HOUR - 1, 1):
            await rig.enqueue(message(f"case_{later_s}"))
            await rig.run(later_s=later_s)
        signed = [heard.headers["webhook-signature"].split(" ") for heard in receiver.heard]
        assert [len(each) for each in signed] == [2, 2, 1]
        last = receiver.heard[-1]
        at = datetime.fromtimestamp(int(last.headers["webhook-timestamp"]), UTC)
        assert signed[-1] == [Webhook(new).sign(last.headers["webhook-id"], at, last.body.decode())]
        first = receiver.heard[0]
        at = datetime.fromtimestamp(int(first.headers["webhook-timestamp"]), UTC)
        assert Webhook(SECRET).sign(first.headers["webhook-id"], at, first.body.decode()) in signed[0]


async def test_nobody_is_shown_the_link_by_which_an_owner_answers(rig: Rig, receiver: Receiver) -> None:
    link = "https://care.example.com/v1/answers/0QpTestCase.6a1b2c3d.AAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBB"
    receiver.usually = reply(422, f'{{"refused": "{link}"}}'.encode())
    told = message("case_a", owner_ref="crm-7731", outreach={"text": f"Is it well? {link}", "link": link})
    await rig.enqueue(told)
    await rig.run()
    (heard,) = receiver.heard
    assert link in heard.body.decode()
    async with rig.pool.connection() as conn:
        agents = await get_delivery(conn, "default", told.message_id)
        viewers = await get_delivery(conn, "default", told.message_id, names_owner=False)
    assert agents is not None
    assert viewers is not None
    assert "crm-7731" in agents.body
    assert "Is it well?" in agents.body
    assert "crm-7731" not in viewers.body
    assert "Is it well?" not in viewers.body
    assert "answers/…" in str(agents.attempts[0].answer)
    assert all("6a1b2c3d" not in str(each) for each in (agents, viewers))
