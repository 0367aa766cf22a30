"""A case lives in a real helpdesk, through docs/crm/django-helpdesk.toml and nothing else."""

import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from crm_sync.adapters.contract import Hook
from crm_sync.adapters.rehearse import rehearse
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.delivery.breaker import Breaker
from crm_sync.delivery.channels import Channel
from crm_sync.settings import EndpointSettings, MessageType
from crm_sync.signing import BadSignature
from tests.integration.test_rest_adapter import case, resolved
from tests.services.delivery_rig import Rig, message, open_rig
from tests.services.django_helpdesk import PASSWORD, USER, DjangoHelpdesk

SPEC = Path(__file__).parents[2] / "docs" / "crm" / "django-helpdesk.toml"
NewHelpdesk = Callable[[str], DjangoHelpdesk]


def endpoint(url: str) -> EndpointSettings:
    """The endpoint, as docs/crm/django-helpdesk.md has it."""
    values = {
        "name": "crm",
        "adapter": "rest",
        "url": url,
        "spec_file": str(SPEC),
        "user": USER,
        "token": PASSWORD,
        "callback_token": "hook-token",
        "allow_http": True,
        "allow_networks": ("127.0.0.0/8",),
        "ports": (httpx.URL(url).port,),
        "timeout": 30,  # which it may need on a machine with much else to do
    }
    return EndpointSettings.model_validate(values)


@asynccontextmanager
async def connected(database_url: str, url: str) -> AsyncGenerator[Rig]:
    """The engine, and the way to the helpdesk."""
    async with open_rig(database_url) as rig:
        settings = endpoint(url)
        adapter = RestAdapter(settings)
        rig.channels.append(Channel(settings, adapter, Breaker(settings.breaker)))
        try:
            yield rig
        finally:
            await adapter.close()


async def test_a_case_is_one_ticket_from_its_opening_to_its_end(
    plain_database_url: str, new_django_helpdesk: NewHelpdesk
) -> None:
    helpdesk = new_django_helpdesk("")
    async with connected(plain_database_url, helpdesk.url) as rig:
        worse = case(MessageType.CASE_UPDATED, severity="critical", change="severity_raised")
        await rig.enqueue(opened := case(), worse, over := resolved())
        await rig.run()
        assert [(await rig.one(each)).summary.state for each in (opened, worse, over)] == ["delivered"] * 3
        (ticket,) = helpdesk.tickets()
        told = (ticket["title"], ticket["status"], ticket["priority"], ticket["custom_careloop_case"])
        assert told == ("Dosatrice ferma", 3, 1, "case_a")
        notes = [(each["comment"], each["public"]) for each in ticket["followup_set"][1:]]
        assert notes == [
            (f"severity_raised: No steps since Sunday.\n[{worse.message_id}]", False),
            (f"recovered_in_telemetry: Steps are back.\n[{over.message_id}]", False),
        ]
        adapter = rig.channels[0].adapter
        assert isinstance(adapter, RestAdapter)
        (change,) = (await adapter.changes_since(0.0)).told
        assert (change.case_id, change.external_id, change.status) == ("case_a", str(ticket["id"]), "resolved")
        helpdesk.change(ticket["id"], status=2)
        assert (await adapter.changes_since(0.0)).told == []
        assert (await adapter.health()).ok
        steps = [step async for step in rehearse(adapter, 1_800_000_000.0)]
        assert [step.ok for step in steps] == [True] * 4, steps


async def test_the_picture_of_the_evidence_hangs_on_a_note_once(
    plain_database_url: str, new_django_helpdesk: NewHelpdesk
) -> None:
    helpdesk = new_django_helpdesk("http://127.0.0.1:9/gone")  # every answer to a change is a 500
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    chart = {"file_name": "evidence.svg", "media_type": "image/svg+xml", "base64": base64.b64encode(svg).decode()}
    async with connected(plain_database_url, helpdesk.url) as rig:
        await rig.enqueue(opened := message("case_a", **case_data(), chart=chart))
        for _ in range(4):
            await rig.run(later_s=400)
        assert (await rig.one(opened)).summary.state == "delivered"
    (ticket,) = helpdesk.tickets()
    files = [file for followup in ticket["followup_set"] for file in followup["followupattachment_set"]]
    assert [(file["filename"], file["mime_type"], file["size"]) for file in files] == [
        (f"evidence-{opened.message_id}.svg", "image/svg+xml", len(svg))
    ]


async def test_a_500_after_the_ticket_was_made_makes_no_second_one(
    plain_database_url: str, new_django_helpdesk: NewHelpdesk
) -> None:
    # it tells its hooks inside the request; where one cannot be reached, the request fails, and the ticket exists
    helpdesk = new_django_helpdesk("http://127.0.0.1:9/gone")
    async with connected(plain_database_url, helpdesk.url) as rig:
        await rig.enqueue(*(message(f"case_{number}", **case_data()) for number in range(3)))
        await rig.run()
        assert [(each.last_code, each.last_status) for each in await rig.listed()] == [("http_500", 500)] * 3
        await rig.run(later_s=6)
        assert [each.state for each in await rig.listed()] == ["delivered"] * 3
        found = sorted(ticket["custom_careloop_case"] for ticket in helpdesk.tickets())
        assert found == ["case_0", "case_1", "case_2"]


def case_data() -> dict[str, Any]:
    """What the message of a case says."""
    return {key: value for key, value in case().data.items() if key != "case_id"}


def test_its_hooks_are_believed_by_the_token_in_their_address() -> None:
    inbound = RestAdapter.open_inbound(endpoint("http://127.0.0.1:9"))
    assert inbound is not None
    body = b'{"ticket": {"id": 7, "status": 3, "custom_careloop_case": "case_a"}, "queue_slug": "service"}'
    assert inbound.verify(Hook({}, body, {"token": "hook-token"}), 0.0)
    for query in ({}, {"token": "another"}):
        with pytest.raises(BadSignature):
            inbound.verify(Hook({}, body, query), 0.0)
    (change,) = inbound.read(body)
    assert (change.case_id, change.external_id, change.status) == ("case_a", "7", "resolved")
