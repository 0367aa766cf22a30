"""Looks for the records of a case, and believes a hit only if it bears the case's id."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from crm_sync.adapters.contract import Outcome, Result
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.calls import Find
from crm_sync.adapters.rest.classify import RECORD_GONE, CallFailed
from crm_sync.adapters.rest.record import is_ours
from crm_sync.adapters.rest.spec import Spec
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up

_MOST_READ: Final = 100  # hits of a search that are looked at one by one


async def find_records(spec: Spec, caller: Caller, values: Values) -> Sequence[str]:
    """The records that bear the case's id, the oldest first; those put away only where all are. Raises CallFailed."""
    ours = await _find_ours(spec, caller, values)
    return _standing(spec, ours) or list(ours)


async def find_standing(spec: Spec, caller: Caller, values: Values) -> Sequence[str]:
    """Those records that bear the case's id and are not put away, the oldest first. Raises CallFailed."""
    return _standing(spec, await _find_ours(spec, caller, values))


def _standing(spec: Spec, ours: dict[str, Json]) -> list[str]:
    duplicate = spec.duplicate
    return [called for called, item in ours.items() if duplicate is None or not look_up(duplicate.done, item)]


async def _find_ours(spec: Spec, caller: Caller, values: Values) -> dict[str, Json]:
    """What says of each record that it is of the case, by the record's name; the oldest first."""
    find, key = spec.find, as_text(values.facts["case_id"])
    if find is None:
        return {}
    items = await caller.items("find", find, values)
    if not find.reads:
        items = [item for item in items if is_ours(find, item, key)]
    named: dict[str, Json] = {}
    for item in items:
        if called := as_text(look_up(find.id, item)):
            named.setdefault(called, item)
    if find.reads:
        named = await _read_ours(spec, caller, values, find, list(named))
    if all(called.isascii() and called.isdecimal() for called in named):  # numbers rise; else as they are listed
        return dict(sorted(named.items(), key=lambda each: int(each[0])))
    return named


async def _read_ours(spec: Spec, caller: Caller, values: Values, find: Find, named: Sequence[str]) -> dict[str, Json]:
    """Those records that bear the case's id, where only they say so. Raises CallFailed."""
    read, key = spec.read, as_text(values.facts["case_id"])
    assert read is not None  # its file was refused if it is
    if len(named) > _MOST_READ:
        detail = f"find: {len(named)} hits are too many to look at each: the filter is ignored, or too wide"
        raise CallFailed(Outcome(Result.PERMANENT, "too_many_hits", detail))
    ours: dict[str, Json] = {}
    for called in named:
        there = replace(values, facts={**values.facts, "external_id": called})
        try:
            record = look_up(read.item, (await caller.call("read", read, there)).body)
        except CallFailed as failed:
            if failed.outcome.code != RECORD_GONE:
                raise
        else:
            ours |= {called: record} if is_ours(find, record, key) else {}
    return ours
