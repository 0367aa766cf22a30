"""Messages as CloudEvents: their form, the leave that is asked for, and what a receiver may answer."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from standardwebhooks import Webhook

from crm_sync.adapters.cloudevents import CONTENT_TYPE
from crm_sync.outbox import MAX_BODY_BYTES
from crm_sync.settings import EndpointSettings
from tests.services.delivery_rig import SECRET, START_S, Rig, endpoint, message, open_rig
from tests.services.receiver import Answer, Receiver, reply

ORIGIN = "service.example.com"
ALLOWED = reply(200, b"", webhook_allowed_origin=ORIGIN, webhook_allowed_rate="*")


def settings(receiver: Receiver) -> EndpointSettings:
    return endpoint(receiver.url, format="cloudevents", origin=ORIGIN, token="t0ken-of-events")


@pytest.fixture
async def rig(plain_database_url: str, receiver: Receiver) -> AsyncIterator[Rig]:
    async with open_rig(plain_database_url, settings(receiver)) as rig:
        yield rig


async def test_an_event_is_one_that_the_library_reads_and_has_our_type_and_id(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(ALLOWED)
    opened = message("case_a", title="Kalt geworden: Kaffeemaschine €")
    await rig.enqueue(opened)
    await rig.run()
    asked, heard = receiver.heard
    assert (asked.method, asked.headers["webhook-request-origin"]) == ("OPTIONS", ORIGIN)
    assert (heard.method, heard.headers["content-type"], heard.headers["origin"]) == ("POST", CONTENT_TYPE, ORIGIN)
    assert heard.headers["authorization"] == "Bearer t0ken-of-events"
    event = from_structured_event(HTTPMessage(heard.headers, heard.body))
    assert (event.get_id(), event.get_type()) == (opened.message_id, "case.opened")
    assert (event.get_source(), event.get_subject(), event.get_specversion()) == ("/careloop", "case_a", "1.0")
    assert event.get_time() == datetime.fromtimestamp(START_S, UTC)
    assert event.get_data() == {"case_id": "case_a", "title": "Kalt geworden: Kaffeemaschine €"}
    signed = Webhook(SECRET).sign(opened.message_id, datetime.fromtimestamp(START_S, UTC), heard.body.decode())
    assert heard.headers["webhook-signature"] == signed


async def test_leave_is_asked_for_once_a_day_and_its_rate_is_kept(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(reply(200, b"", webhook_allowed_origin="*", webhook_allowed_rate="2"))
    await rig.enqueue(*(message(f"case_{number}") for number in range(5)))
    await rig.run()
    assert [heard.method for heard in receiver.heard] == ["OPTIONS", "POST", "POST"]
    for _ in range(4):
        await rig.run(later_s=31)
    assert [heard.method for heard in receiver.heard].count("POST") == 5
    assert sorted(each.attempts for each in await rig.listed())[:2] == [1, 1]  # which two were first is chance
    receiver.script.append(ALLOWED)
    await rig.enqueue(message("case_b"))
    await rig.run(later_s=86_400)
    assert [heard.method for heard in receiver.heard][-2:] == ["OPTIONS", "POST"]


@pytest.mark.parametrize(
    "answer",
    [reply(200), reply(405), reply(200, b"", webhook_allowed_origin="somebody.example.com")],
    ids=["no word of it", "no such method", "somebody else"],
)
async def test_without_leave_nothing_is_sent_and_a_person_is_told(rig: Rig, receiver: Receiver, answer: Answer) -> None:
    receiver.script.append(answer)
    await rig.enqueue(opened := message("case_a"))
    await rig.run()
    assert [heard.method for heard in receiver.heard] == ["OPTIONS"]
    told = (await rig.one(opened)).summary
    assert (told.state, told.last_result, told.last_code) == ("pending", "auth", "origin_not_allowed")
    receiver.script.append(ALLOWED)
    await rig.run(later_s=6)
    assert (await rig.one(opened)).summary.state == "delivered"


@pytest.mark.parametrize(
    ("answer", "result", "state"),
    [
        (reply(410), "gone", "pending"),
        (reply(415), "permanent", "dead"),
        (reply(429, retry_after="90"), "rate_limited", "pending"),
        (reply(202, b""), "ok", "delivered"),
        (reply(301, location="https://elsewhere.example.com/"), "permanent", "pending"),
    ],
    ids=["gone", "format", "too much", "accepted", "redirect"],
)
async def test_what_its_answers_mean(rig: Rig, receiver: Receiver, answer: Answer, result: str, state: str) -> None:
    receiver.script.extend([ALLOWED, answer])
    await rig.enqueue(opened := message("case_a"))
    await rig.run()
    told = (await rig.one(opened)).summary
    assert (told.last_result, told.state) == (result, state)
    assert told.endpoint_disabled == (result == "gone")
    if result == "rate_limited":
        await rig.run(later_s=89)
        assert len(receiver.heard) == 2
        await rig.run(later_s=2)
        assert (await rig.one(opened)).summary.state == "delivered"


async def test_the_longest_message_is_still_below_the_limit_as_an_event(rig: Rig, receiver: Receiver) -> None:
    receiver.script.append(ALLOWED)
    await rig.enqueue(message("case_a", brief="x" * 19_000, alarms=["y" * 90] * 300))
    await rig.run()
    assert 10_000 < len(receiver.heard[1].body) < MAX_BODY_BYTES
    assert msgspec.json.decode(receiver.heard[1].body)["data"]["truncated"] is True


def test_an_origin_is_asked_for() -> None:
    with pytest.raises(ValueError, match="DNS name"):
        endpoint("http://127.0.0.1:9/hook", format="cloudevents", origin="https://service.example.com")
