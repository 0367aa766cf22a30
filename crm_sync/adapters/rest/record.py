"""What answers say of a record: what it is called, whose it is, and where it is not as it was told to be."""

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote

from crm_sync.adapters.contract import Outcome, Result
from crm_sync.adapters.rest.caller import Reply
from crm_sync.adapters.rest.calls import Find, Making, Status
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.template import Json, UnknownWord, Values, as_text, fill, is_same, look_up


def called_in(making: Making, reply: Reply) -> str:
    """What was made is called; nothing where the answer does not say."""
    called = as_text(look_up(making.id, reply.body)) if making.id else ""
    if called or not making.id_header:
        return called
    found = re.search(making.id_pattern, reply.headers.get(making.id_header.lower(), ""))
    return unquote(found[1] if found.re.groups else found[0]) if found else ""


def is_ours(find: Find, item: Json, case_id: str) -> bool:
    """Whether an item bears the case's id, where it says so."""
    return find.key is None or as_text(look_up(find.key, item)) == case_id


def differences(wanted: Mapping[str, Json], record: Json, values: Values) -> list[tuple[str, str]]:
    """Where a record is not as it should be, and how. Raises CallFailed."""
    found: list[tuple[str, str]] = []
    for path, template in wanted.items():
        there, should = look_up(path, record), _filled(template, values)
        if not is_same(there, should):
            found.append((path, f"{path} is {as_text(there)!r}, not {as_text(should)!r}"))
    return found


def is_closed(move: Status | None, record: Json, values: Values) -> bool | None:
    """Whether a record stands where `move` would put it at the end; None where nobody says where that is."""
    if move is None or not move.check:
        return None
    check = move.check
    ends = [replace(values, facts={**values.facts, "state": state}) for state in ("resolved", "retracted")]
    return any(not differences(check, record, end) for end in ends)


def _filled(template: Json, values: Values) -> Json:
    try:
        return fill(template, values)
    except UnknownWord as error:
        raise CallFailed(Outcome(Result.PERMANENT, "unmapped_word", str(error))) from None
