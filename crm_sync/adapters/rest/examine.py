"""Sees, before the first case is sent, that a helpdesk has what its file takes for granted."""

from collections.abc import AsyncIterator, Mapping

from crm_sync.adapters.contract import Health
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.calls import Check
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.spec import FACTS, Spec
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up


async def examine(spec: Spec, caller: Caller) -> AsyncIterator[Health]:
    """Everything that can be known without writing."""
    values = Values(dict.fromkeys(FACTS), spec.maps)
    for at, check in enumerate(spec.checks):
        try:
            answer = await caller.call(f"checks[{at}]", check, values)
        except CallFailed as failed:
            yield Health(ok=False, detail=f"{check.says}: {failed.outcome.code} {failed.outcome.detail}"[:500])
        else:
            yield _judge(check, answer.body, spec.maps)
    if spec.find is None and not spec.create.idempotency_header and spec.create.method == "POST":
        says = "a create whose answer is lost is made again: give find, create.idempotency_header, or an upsert"
        yield Health(ok=False, detail=says)


def _judge(check: Check, answer: Json, maps: Mapping[str, Mapping[str, Json]]) -> Health:
    if check.values is None:
        return Health(ok=True, detail=check.says)
    found = look_up(check.values, answer)
    there = {as_text(each) for each in found} if isinstance(found, list) else {as_text(found)}
    wanted = {*check.hold, *(as_text(word) for word in maps.get(check.hold_map, {}).values())}
    missing = sorted(wanted - there)
    if not missing:
        return Health(ok=True, detail=check.says)
    return Health(
        ok=False, detail=f"{check.says}: there is no {', '.join(missing)}; there are {', '.join(sorted(there))}"[:500]
    )
