"""Wrong credentials stop an endpoint, use nothing up, and are over as soon as they are good again."""

from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from crm_sync.adapters.contract import PARENT_UNKNOWN, Capabilities, Delivery, Health, Outcome, Result
from crm_sync.delivery.records import EndpointStatus, list_endpoints
from crm_sync.settings import MessageType
from tests.services.delivery_rig import Rig, message, open_rig_of

REFUSED = Outcome(Result.AUTH, "http_401", status=401)
NO_TOKEN = Outcome(Result.AUTH, "no_token", status=400)
FORBIDDEN = Outcome(Result.AUTH, "http_403", status=403)


class Crm:
    """A CRM that lets in whom it likes."""

    capabilities = Capabilities(lookup="none")

    def __init__(self) -> None:
        self.refuses: dict[str, Outcome] = {}  # by case; "*" is everybody
        self.asked: list[str] = []

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Let in, or not."""
        self.asked.append(delivery.key)
        told = self.refuses.get(delivery.key) or self.refuses.get("*")
        return told or Outcome(Result.OK, "created")

    async def find_case(self, key: str) -> Sequence[str]:
        """It cannot be asked."""
        return [key] * 0

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


async def states(rig: Rig) -> list[str]:
    return [each.state for each in await rig.listed()]


async def status(rig: Rig) -> EndpointStatus:
    async with rig.pool.connection() as conn:
        (found,) = await list_endpoints(conn, "default")
    return found


@pytest.mark.parametrize("refusal", [REFUSED, NO_TOKEN], ids=["401", "no_token"])
async def test_nothing_is_given_up_in_ten_days_and_all_goes_on_at_once(rig: Rig, crm: Crm, refusal: Outcome) -> None:
    crm.refuses["*"] = refusal
    opened = [message(f"case_{number}") for number in range(3)]
    await rig.enqueue(*opened, message("case_0", MessageType.CASE_UPDATED))
    with capture_logs() as logs:
        await rig.run()
        for _ in range(40):
            await rig.run(later_s=6 * 3600)
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["endpoint.not_let_in"]  # told once
    found = await status(rig)
    assert (found.not_let_in_since is not None, found.disabled_at) == (True, None)
    assert set(await states(rig)) == {"pending"}
    assert await rig.rows("SELECT DISTINCT failures FROM outbox_stream") == [{"failures": 0}]
    crm.refuses.clear()
    await rig.run(later_s=901)
    assert set(await states(rig)) == {"delivered"}
    assert (await status(rig)).not_let_in_since is None


async def test_it_is_asked_ever_less_often_whether_it_lets_in_by_now(rig: Rig, crm: Crm) -> None:
    crm.refuses["*"] = REFUSED
    await rig.enqueue(message("case_a"))
    await rig.run()
    await rig.run(later_s=59)
    assert len(crm.asked) == 1
    await rig.run(later_s=2)
    assert len(crm.asked) == 2
    for _ in range(60):
        await rig.run(later_s=60)
    assert len(crm.asked) < 12
    await rig.run(later_s=901)
    before = len(crm.asked)
    await rig.run(later_s=901)
    assert len(crm.asked) == before + 1


async def test_one_message_that_is_refused_holds_up_no_other(rig: Rig, crm: Crm) -> None:
    crm.refuses["case_a"] = REFUSED
    await rig.enqueue(strange := message("case_a", MessageType.CASE_UPDATED))
    await rig.run()
    for number in range(24):  # at worst every second refusal finds that nobody was let in in between
        await rig.enqueue(message(f"case_b{number}"))
        await rig.run(later_s=25 * 3600)
    assert (await rig.one(strange)).summary.state == "dead"  # as a 401 that is about nobody's credentials
    assert set(await states(rig)) == {"dead", "delivered"}
    assert (await status(rig)).not_let_in_since is None


async def test_a_403_follows_the_schedule(rig: Rig, crm: Crm) -> None:
    crm.refuses["case_a"] = FORBIDDEN
    await rig.enqueue(message("case_a"))
    await rig.run()
    assert await rig.rows("SELECT failures FROM outbox_stream") == [{"failures": 1}]
    assert (await status(rig)).not_let_in_since is None


async def test_who_fails_otherwise_after_days_of_refusals_is_not_disabled_for_them(rig: Rig, crm: Crm) -> None:
    crm.refuses["*"] = REFUSED
    await rig.enqueue(message("case_a"))
    await rig.run()
    for _ in range(24):
        await rig.run(later_s=6 * 3600)
    crm.refuses["*"] = Outcome(Result.RETRYABLE, "http_503", status=503)
    await rig.run(later_s=901)
    crm.refuses.clear()
    await rig.run(later_s=901)
    assert set(await states(rig)) == {"delivered"}


async def test_children_that_wait_for_their_major_case_do_not_keep_it_waiting(rig: Rig, crm: Crm) -> None:
    crm.refuses = {f"case_{at}": Outcome(Result.RETRYABLE, PARENT_UNKNOWN) for at in range(6)}
    await rig.enqueue(*[message(case_id, MessageType.CASE_UPDATED) for case_id in crm.refuses])
    await rig.run()
    await rig.enqueue(message("case_m"))
    await rig.run()
    assert sorted(await states(rig)) == ["delivered", *["pending"] * 6]
