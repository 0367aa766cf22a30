"""The engine with CRMs that can be asked what they hold, and with adapters that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from crm_sync.adapters.contract import (
    OWN_LIMIT,
    Capabilities,
    Delivery,
    Health,
    Limited,
    NotLetIn,
    Outcome,
    Result,
)
from crm_sync.delivery.replay import replay
from crm_sync.settings import MessageType
from devices.errors import Retryable
from tests.services.delivery_rig import Rig, message, open_rig_of

UNKNOWN = Outcome(Result.UNKNOWN, "timeout")
OK = Outcome(Result.OK, "created", external_id="T-1")


class Crm:
    """A CRM that can be asked for what it holds under a key, after a while."""

    capabilities = Capabilities(lookup="eventual", lookup_lag_s=40.0, max_in_flight=1)

    def __init__(self) -> None:
        self.answers: list[Outcome | Exception] = []
        self.holds: list[str] | Exception = []
        self.delivered: list[Delivery] = []
        self.looked_up = 0

    async def deliver(self, delivery: Delivery) -> Outcome:
        """The next answer, else a success."""
        self.delivered.append(delivery)
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def find_case(self, key: str) -> Sequence[str]:
        """What it holds."""
        assert key == "case_a"
        self.looked_up += 1
        if isinstance(self.holds, Exception):
            raise self.holds
        return self.holds

    async def health(self) -> Health:
        """Well."""
        return Health(ok=True, detail="")

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def crm() -> Crm:
    return Crm()


@pytest.fixture
async def rig(plain_database_url: str, crm: Crm) -> AsyncIterator[Rig]:
    async with open_rig_of(plain_database_url, crm) as rig:
        yield rig


async def test_a_create_that_may_have_succeeded_is_looked_up_before_it_is_repeated(rig: Rig, crm: Crm) -> None:
    crm.answers = [UNKNOWN]
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=39)
    assert crm.looked_up == 0  # before that, "not found" would mean nothing
    crm.holds = ["T-7"]
    await rig.run(later_s=2)
    detail = await rig.one(opened)
    assert (detail.summary.state, detail.external_id) == ("delivered", "T-7")
    assert len(crm.delivered) == 1


async def test_what_is_not_found_is_sent_again(rig: Rig, crm: Crm) -> None:
    crm.answers = [UNKNOWN]
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=41)
    assert (await rig.one(opened)).external_id == "T-1"
    assert [(each.attempt, each.uncertain) for each in crm.delivered] == [(1, False), (2, True)]


@pytest.mark.parametrize("result", [Result.RETRYABLE, Result.RATE_LIMITED, Result.PERMANENT, Result.CONFLICT])
async def test_a_create_that_was_refused_is_looked_up_before_it_is_repeated(rig: Rig, crm: Crm, result: Result) -> None:
    crm.answers, crm.holds = [Outcome(result, "http_503", status=503)], ["T-7"]  # a proxy's, after it was committed
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    async with rig.pool.connection() as conn:
        await replay(conn, "default", opened.message_id)
    await rig.run(later_s=100)
    assert (await rig.one(opened)).external_id == "T-7"
    assert len(crm.delivered) == 1


async def test_what_never_left_is_not_looked_up(rig: Rig, crm: Crm) -> None:
    crm.answers = [Outcome(Result.RETRYABLE, "connect_failed"), Outcome(Result.RATE_LIMITED, OWN_LIMIT)]
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=10)
    await rig.run(later_s=100)
    assert (await rig.one(opened)).external_id == "T-1"
    assert crm.looked_up == 0


async def test_what_is_sent_again_at_once_waits_until_it_can_be_found(rig: Rig, crm: Crm) -> None:
    crm.answers = [UNKNOWN]
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    for _ in range(3):
        async with rig.pool.connection() as conn:
            await replay(conn, "default", opened.message_id)
        await rig.run(later_s=10)
    assert (await rig.one(opened)).summary.last_code == "not_listed_yet"
    crm.holds = ["T-7"]
    await rig.run(later_s=10)
    assert (await rig.one(opened)).external_id == "T-7"
    assert (len(crm.delivered), crm.looked_up) == (1, 4)


async def test_a_look_up_that_our_own_limit_holds_back_uses_up_no_attempt(rig: Rig, crm: Crm) -> None:
    crm.answers, crm.holds = [UNKNOWN], Limited(OWN_LIMIT, retry_after_s=1.0)
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    for _ in range(15):  # more often than the schedule has attempts
        await rig.run(later_s=41)
    crm.holds = ["T-7"]
    await rig.run(later_s=41)
    detail = await rig.one(opened)
    assert (detail.summary.state, detail.external_id) == ("delivered", "T-7")


async def test_waiting_until_it_can_be_found_uses_up_no_attempt(rig: Rig, crm: Crm) -> None:
    crm.answers = [Outcome(Result.RATE_LIMITED, "http_429", status=429, retry_after_s=1.0)] * 12
    await rig.enqueue(opened := message("case_a"))
    await rig.run()
    for _ in range(12):  # more often than the schedule has attempts
        await rig.run(later_s=2)
        assert (await rig.one(opened)).summary.last_code == "not_listed_yet"
        await rig.run(later_s=40)
    assert (await rig.one(opened)).external_id == "T-1"


async def test_two_records_under_one_key_are_for_a_person(rig: Rig, crm: Crm) -> None:
    crm.answers, crm.holds = [UNKNOWN], ["T-7", "T-8"]
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=41)
    assert (await rig.one(opened)).summary.reason == "several_records"


async def test_a_look_up_that_fails_is_tried_again(rig: Rig, crm: Crm) -> None:
    crm.answers, crm.holds = [UNKNOWN], Retryable("search_unavailable")
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=41)
    assert (await rig.one(opened)).summary.last_code == "search_unavailable"
    assert len(crm.delivered) == 1


async def test_a_look_up_that_is_not_let_in_is_told_as_such(rig: Rig, crm: Crm) -> None:
    crm.answers, crm.holds = [UNKNOWN], NotLetIn("http_401")
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    await rig.run(later_s=41)
    assert (await rig.one(opened)).attempts[-1].result == Result.AUTH


async def test_a_look_up_without_end_is_cut_off_before_the_lease_is_another_workers(
    rig: Rig, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def search(_key: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    crm.answers = [UNKNOWN]
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    monkeypatch.setattr(crm, "find_case", search)
    monkeypatch.setattr("crm_sync.delivery.deliverer.WORK_S", 0.5)
    await rig.run(later_s=41)
    assert [each.code for each in (await rig.one(opened)).attempts] == ["timeout", "timeout"]
    assert len(crm.delivered) == 1  # nothing is made after it, when another worker may be making it
    monkeypatch.undo()
    crm.holds = ["T-7"]
    await rig.run(later_s=600)
    assert (await rig.one(opened)).external_id == "T-7"


async def test_notes_are_sent_with_what_the_crm_calls_the_case(rig: Rig, crm: Crm) -> None:
    crm.answers = [OK, UNKNOWN]
    await rig.enqueue(message("case_a"), message("case_a", MessageType.CASE_UPDATED))
    await rig.run()
    await rig.run(later_s=41)
    assert [each.external_id for each in crm.delivered] == [None, "T-1", "T-1"]
    assert crm.looked_up == 0


async def test_an_adapter_that_raises_costs_an_attempt_and_nothing_more(rig: Rig, crm: Crm) -> None:
    crm.answers = [ZeroDivisionError("oops")]
    opened = message("case_a")
    await rig.enqueue(opened)
    await rig.run()
    assert (await rig.one(opened)).summary.last_code == "adapter_failed"
    await rig.run(later_s=41)
    assert (await rig.one(opened)).summary.state == "delivered"


async def test_whatever_text_an_adapter_brings_can_be_stored(rig: Rig, crm: Crm) -> None:
    odd = "\x00\ud800" + "ü" * 5000
    crm.answers = [Outcome(Result.PERMANENT, "refused", detail=odd, field=odd, answer=odd)]
    note = message("case_a", MessageType.CASE_UPDATED)
    await rig.enqueue(note)
    await rig.run()
    assert (await rig.one(note)).summary.state == "dead"


async def test_a_message_that_an_adapter_stumbles_over_stops_no_other(rig: Rig, crm: Crm) -> None:
    crm.answers = [ZeroDivisionError("poison")] * 10
    await rig.enqueue(poison := message("case_a", MessageType.CASE_UPDATED))
    for _ in range(10):
        await rig.run(later_s=100_000)
    assert (await rig.one(poison)).summary.state == "dead"
    crm.answers = [ZeroDivisionError("poison")] * 6  # more in a row than an origin may fail
    await rig.enqueue(*(message(f"case_{number}", MessageType.CASE_UPDATED) for number in range(6)))
    await rig.run()
    assert not rig.channels[0].breaker.is_open
    await rig.enqueue(good := message("case_b", MessageType.CASE_UPDATED))
    await rig.run()
    assert (await rig.one(good)).summary.state == "delivered"
