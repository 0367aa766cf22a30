"""Puts away what a race has made twice, so that one record of a case stays.

Which one is kept is written down first, by a failure of its own. Whoever hears of the others, by a hook that comes at
once, knows then that what becomes of them says nothing of the case.
"""

from dataclasses import replace
from typing import Final

from crm_sync.adapters.contract import SEVERAL_RECORDS, Delivery, Outcome, Result
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.search import find_standing
from crm_sync.adapters.rest.spec import Spec
from crm_sync.adapters.rest.template import Values
from crm_sync.settings import MessageType

_MOST: Final = 10  # more than a race makes: for a person
_TRIES: Final = 6  # attempts at a message, with those that failed before


def several(spec: Spec, number: int) -> Outcome:
    """What follows from several records under one case: a person decides, or all but one are put away next time."""
    result = Result.CONFLICT if spec.duplicate is None else Result.RETRYABLE
    return Outcome(result, SEVERAL_RECORDS, f"{number} records bear the case's id")


async def put_duplicates_away(spec: Spec, caller: Caller, values: Values, delivery: Delivery) -> None:
    """Put away every record of the case but the known one, and see that it was done. Raises CallFailed.

    Nothing is done where the known one is not among those found: then nobody knows which one to keep.
    """
    call, kept = spec.duplicate, delivery.external_id
    if call is None or kept is None or (delivery.type is MessageType.CASE_UPDATED and delivery.attempt == 1):
        return
    standing = await find_standing(spec, caller, values)
    others = [each for each in standing if each != kept]
    if kept not in standing or not others:
        return
    if len(others) > _MOST:
        raise CallFailed(replace(several(spec, len(standing)), result=Result.CONFLICT))
    for each in others:
        facts = {**values.facts, "external_id": each, "kept_record": kept}
        await caller.call(f"duplicate[{each}]", call, replace(values, facts=facts))
    stay = [each for each in await find_standing(spec, caller, values) if each != kept]
    if stay:  # some helpdesks do it later
        wait_s = spec.find.lag if spec.find is not None and spec.find.lag else None
        says = f"duplicate: {', '.join(stay)} beside {kept} is not put away yet"
        raise CallFailed(Outcome(Result.RETRYABLE, "duplicate_stays", says, retry_after_s=wait_s, tries=_TRIES))
