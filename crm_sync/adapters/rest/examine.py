"""Sees, before the first case is sent, that a helpdesk has what its file takes for granted."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from crm_sync.adapters.contract import Delivery, Health, Outcome
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.calls import Check
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.spec import FACTS, Spec
from crm_sync.adapters.rest.story import Story
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up
from crm_sync.adapters.rest.work import Work
from crm_sync.settings import MessageType

_WHY: Final[Mapping[str, str]] = {
    "http_401": "careloop is not let in: token, user or secret are wrong",
    "no_token": "careloop is not let in: token, user or secret are wrong",
    "http_403": "careloop has no right to see it",
    "http_404": "there is no such thing, or careloop may not see it",
    "refused": "what is there is another",
}
_NOBODYS_KEY: Final = "case_0000000000000000000000"


async def examine(spec: Spec, caller: Caller, story: Story) -> AsyncIterator[Health]:
    """Everything that can be known without writing."""
    values = Values(dict.fromkeys(FACTS), spec.maps)
    for at, check in enumerate(spec.checks):
        try:
            answer = await caller.call(f"checks[{at}]", check, values)
        except CallFailed as failed:
            yield Health(ok=False, detail=_not_so(check, failed.outcome))
        else:
            yield _judge(check, answer.body, spec.maps)
    if not spec.checks:
        yield await _search(spec, caller, story)
    elif unseen := sorted(_maps_of(spec) - {check.hold_map for check in spec.checks}):
        says = f"no check of the file looks at the words of {', '.join(f'maps.{name}' for name in unseen)}"
        yield Health(ok=True, detail=f"{says}: only --write proves some of them")
    if spec.find is None and not spec.create.idempotency_header and spec.create.method == "POST":
        says = "a create whose answer is lost is made again: give find, create.idempotency_header, or an upsert"
        yield Health(ok=False, detail=says)


def _maps_of(spec: Spec) -> set[str]:
    """The tables whose words reach the helpdesk."""
    return {mapped for call in spec.calls().values() for _, mapped in call.places() if mapped is not None}


def _not_so(check: Check, outcome: Outcome) -> str:
    """What a check did not find, in words."""
    why = _WHY.get(outcome.code)
    told = f"{outcome.code} {outcome.detail}" if why is None else f"{why} ({outcome.code})"
    return f"{check.says}: {told}"[:500]


async def _search(spec: Spec, caller: Caller, story: Story) -> Health:
    """Where a file has no checks of its own: whether records may be searched for at all."""
    untold = "fields, statuses and the right to write were not looked at, since the file has no [[checks]]"
    if spec.find is None:
        return Health(ok=False, detail=f"nothing was asked, since the file has no find either; {untold}")
    look = Delivery(_NOBODYS_KEY, "", MessageType.CASE_OPENED, b"{}", None, 1, uncertain=True)
    try:
        await Work(spec, caller, look, story).find()
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
        ok=False,
        detail=f"{check.says}: there is no {', '.join(missing)}; there are {', '.join(sorted(there))}"[:500],
    )
