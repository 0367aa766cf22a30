"""Sees, before the first case is sent, that a helpdesk has what its file takes for granted."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from crm_sync.adapters.contract import Delivery, Health
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.calls import Check
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.spec import FACTS, Spec
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up
from crm_sync.adapters.rest.work import Work
from crm_sync.settings import MessageType

_NOBODYS_KEY: Final = "case_0000000000000000000000"


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
    if not spec.checks:
        yield await _search(spec, caller)
    if spec.find is None and not spec.create.idempotency_header and spec.create.method == "POST":
        says = "a create whose answer is lost is made again: give find, create.idempotency_header, or an upsert"
        yield Health(ok=False, detail=says)


async def _search(spec: Spec, caller: Caller) -> Health:
    """Where a file has no checks of its own: whether records may be searched for at all."""
    untold = "fields, statuses and the right to write were not looked at, since the file has no [[checks]]"
    if spec.find is None:
        return Health(ok=False, detail=f"nothing was asked, since the file has no find either; {untold}")
    look = Delivery(_NOBODYS_KEY, "", MessageType.CASE_OPENED, b"{}", None, 1, uncertain=True)
    try:
        await Work(spec, caller, look).find()
    except CallFailed as failed:
        return Health(ok=False, detail=f"search by a case's key: {failed.outcome.code} {failed.outcome.detail}"[:500])
    return Health(ok=True, detail=f"records may be searched for by a case's key; {untold}")


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
