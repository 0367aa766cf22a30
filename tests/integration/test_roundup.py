"""A case lives in a second real tracker, through docs/crm/roundup.toml and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from crm_sync.adapters.contract import RecordChange
from crm_sync.adapters.http import Exchange, Request, send
from crm_sync.adapters.rest import caller
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.delivery.breaker import Breaker
from crm_sync.delivery.channels import Channel
from crm_sync.settings import EndpointSettings, MessageType
from tests.integration.test_rest_adapter import case, resolved
from tests.services.delivery_rig import open_rig
from tests.services.roundup import PASSWORD, USER, Roundup

SPEC: Final = Path(__file__).parents[2] / "docs" / "crm" / "roundup.toml"


def endpoint(tracker: Roundup) -> EndpointSettings:
    """The endpoint, as docs/crm/roundup.md has it."""
    values: dict[str, Any] = {
        "name": "crm",
        "adapter": "rest",
        "url": tracker.url,
        "spec_file": str(SPEC),
        "user": USER,
        "token": PASSWORD,
        "account": {"origin": tracker.origin},
        "allow_http": True,
        "allow_networks": ("127.0.0.0/8",),
        "ports": (httpx.URL(tracker.url).port,),
        "timeout": 30,  # which it may need on a machine with much else to do
    }
    return EndpointSettings.model_validate(values)


async def test_every_answer_is_lost_once_and_one_issue_with_each_note_once_remains(
    plain_database_url: str, new_roundup: Callable[[], Roundup], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = new_roundup()
    settings = endpoint(tracker)
    adapter = RestAdapter(settings)
    lost: set[str] = set()

    async def lose(client: httpx.AsyncClient, request: Request, timeout_s: float, most_bytes: int) -> Exchange:
        """It was done, and nobody heard of it: the first time of each call that changes something."""
        exchange = await send(client, request, timeout_s, most_bytes)
        what = f"{request.method} {httpx.URL(request.url).path.rsplit('/', 1)[-1]}"
        if request.method == "GET" or what in lost:
            return exchange
        lost.add(what)
        return Exchange(sent=True, failure=httpx.ReadError("cut"))

    monkeypatch.setattr(caller, "send", lose)
    async with open_rig(plain_database_url) as rig:
        rig.channels.append(Channel(settings, adapter, Breaker(settings.breaker)))
        worse = case(MessageType.CASE_UPDATED, severity="critical", change="severity_raised")
        await rig.enqueue(opened := case(), worse, over := resolved())
        for _ in range(8):
            await rig.run(later_s=3600)
        assert [(await rig.one(each)).summary.state for each in (opened, worse, over)] == ["delivered"] * 3
        assert lost == {"POST issue", "PUT 1", "POST msg", "PATCH 1"}
        (issue,) = tracker.issues()
        # every change bore the etag of the moment; and a message moves an issue by itself there
        told = (issue["title"], issue["careloop_case"], issue["status"]["name"], issue["priority"]["name"])
        assert told == ("Dosatrice ferma", "case_a", "resolved", "critical")
        notes = [tracker.message(each["id"]) for each in issue["messages"]]
        assert notes == ["severity_raised: No steps since Sunday.", "recovered_in_telemetry: Steps are back."]
        assert (await adapter.health()).ok
        tracker.change("1", status="in-progress")
        assert (await adapter.changes_since(0.0)).told == [RecordChange("case_a", "1", "in_progress")]
    await adapter.close()
