"""What people do in a named CRM for owners keeps careloop quiet, or counts, found by asking."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest

from crm_sync.adapters import load_adapters
from crm_sync.adapters.contract import Delivery, Result
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.outbox import encode_body
from crm_sync.owners.told import Contacted, HumanCase
from simulators.crm.server import AppServer
from simulators.crm.vendors.sandbox import VendorSandbox
from tests.services.crm_parties import PARTIES, Party, make_vendor, opened, settings
from tests.services.in_the_clear import IN_THE_CLEAR

NAMED = [party for party in PARTIES if party.adapter not in {"webhook", "rest"}]
NOW_S = 1_800_000_000.0
FALLBACK = {"dynamics365": {"fallback_contact": "/contacts(owner-1)"}}


@dataclass
class Office:
    """People at work in a CRM that careloop asks."""

    crm: VendorSandbox
    origin: str
    adapter: RestAdapter
    at_s: float = NOW_S

    async def does(self, what: str, **told: Any) -> Any:
        """Somebody does something, a minute after the last."""
        self.at_s += 60
        async with httpx.AsyncClient(trust_env=False, verify=IN_THE_CLEAR, timeout=60) as http:
            answer = (await http.post(f"{self.origin}/sandbox/{what}", json=told)).raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(params=NAMED, ids=lambda party: party.name)
async def office(request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    """Each named CRM."""
    party: Party = request.param
    crm = VendorSandbox(make_vendor(party))
    with AppServer(crm) as server:
        endpoint = settings(party, server.origin, account=FALLBACK.get(party.name, {}))
        made = cast("Any", load_adapters()[party.adapter])(endpoint, real_now_s=lambda: NOW_S)
        opened_office = Office(crm, server.origin, made)
        crm.now_s = lambda: opened_office.at_s
        yield opened_office
        await made.close()


async def test_a_ticket_that_somebody_opened_is_told_of_and_our_own_is_not(office: Office) -> None:
    ours = opened()
    told = await office.adapter.deliver(
        Delivery("case_a", ours.message_id, ours.type, encode_body(ours), None, 1, uncertain=False)
    )
    assert told.result is Result.OK
    number = (await office.does("tickets", owner="owner-1"))["number"]
    opened_s = office.at_s
    # of what nobody of ours is
    stray = office.crm.vendor.book.open_by_people("999", office.crm.vendor.word("open"), office.at_s)
    news = (await office.adapter.owner_news_since(NOW_S)).told
    about_owner = [each for each in news if each.owner_ref == "owner-1"]
    assert about_owner == [HumanCase(number, is_open=True, at_s=opened_s, owner_ref="owner-1")]
    assert {each.external_id for each in news if isinstance(each, HumanCase)} <= {number, stray.number}
    await office.does("status", number=number, status="closed", silent=True)
    news = (await office.adapter.owner_news_since(NOW_S)).told
    (over,) = [each for each in news if isinstance(each, HumanCase) and each.owner_ref == "owner-1"]
    assert (over.external_id, over.is_open) == (number, False)


async def test_a_contact_that_somebody_made_is_told_of_once(office: Office) -> None:
    if office.crm.vendor.name == "zendesk":  # there an answer is what moves a ticket
        number = (await office.does("tickets", owner="owner-1"))["number"]
        await office.does("status", number=number, status="waiting", silent=True)
    else:
        await office.does("contacts", owner="owner-1")
    answers = [await office.adapter.owner_news_since(NOW_S) for _ in range(2)]
    told = [[each for each in answer.told if isinstance(each, Contacted)] for answer in answers]
    assert told[0] == told[1]
    (contact,) = told[0]
    assert (contact.owner_ref, contact.at_s, contact.by_human) == ("owner-1", office.at_s, True)


async def test_who_is_who_is_asked_once(office: Office) -> None:
    await office.does("tickets", owner="owner-1")
    for _ in range(3):
        await office.adapter.owner_news_since(NOW_S)
    assert office.crm.count("people") <= 1
