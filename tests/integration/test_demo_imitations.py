"""`careloop demo --crm NAME`: the endpoint that it writes reaches the imitation, whose records it sees."""

import tomllib
from pathlib import Path

import pytest

from crm_sync.adapters import load_adapters
from crm_sync.adapters.contract import Delivery, Result
from crm_sync.outbox import OutboxMessage, encode_body
from crm_sync.settings import CrmSettings
from devices.clock import SystemClock
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.demo.imitation import NAMED, ImitationPlan, ImitationServer
from tests.services.crm_parties import opened, resolved


@pytest.mark.parametrize("flavour", NAMED)
async def test_a_case_is_one_record_of_the_imitated_crm(flavour: str, tmp_path: Path) -> None:
    plan = ImitationPlan(1, Misbehaviour.none(), AgentHabits(takes_up=0.0), lambda: None)
    with ImitationServer(flavour, plan, SystemClock()) as server:
        text = server.endpoint(tmp_path)
        (settings,) = CrmSettings.model_validate(tomllib.loads(text)["crm"]).endpoints
        adapter = load_adapters()[settings.adapter](settings)

        async def tell(message: OutboxMessage, known: str | None = None) -> str | None:
            body = encode_body(message)
            told = Delivery("case_a", message.message_id, message.type, body, known, 1, uncertain=False)
            outcome = await adapter.deliver(told)
            assert outcome.result is Result.OK, outcome
            return outcome.external_id

        number = await tell(opened(owner_ref="somebody"))
        (record,) = server.crm.book.records
        assert (record.number, record.case_id, record.state) == (number, "case_a", "open")
        await tell(resolved(), number)
        assert [each.state for each in server.crm.book.records] == ["resolved"]
        assert server.crm.requests > 2
        await adapter.close()
