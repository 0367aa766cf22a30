"""In which words a delivery has put a record, so that they are not taken for an agent's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from crm_sync.adapters.contract import Delivery
from crm_sync.adapters.rest.spec import Spec
from crm_sync.adapters.rest.template import Json, UnknownWord, Values, as_text, fill, places
from crm_sync.settings import MessageType

MOVES: Final = frozenset({"reopened", "waiting", "accepted", "in_progress"})
"""Changes of a live case that move its record."""

_HOW_IT_STANDS: Final = frozenset({"state", "change"})  # places that say it


def words_put(spec: Spec, values: Values, delivery: Delivery) -> Sequence[str]:
    """In which words a record stands after a delivery that made or moved it; of others nothing.

    They are what the file's `status` writes where it says `{state}`; of `create`, what the field of the same name has.
    """
    if spec.status is None or delivery.overtaken:
        return ()
    moving = [*_fields(cast("Json", spec.status.body)), *_fields(cast("Json", dict(spec.status.check)))]
    saying = [(name, text) for name, text in moving if _HOW_IT_STANDS & {root for root, _ in places(text)}]
    if delivery.type is MessageType.CASE_OPENED:
        named = {name for name, _ in saying}
        put = [text for name, text in _fields(cast("Json", spec.create.body)) if name in named]
    elif delivery.type is MessageType.CASE_UPDATED and values.facts["change"] in MOVES:
        put = [text for _, text in saying]
    else:
        return ()
    try:
        return [*dict.fromkeys(as_text(fill(text, values)) for text in put)]
    except UnknownWord:  # then nothing was put there
        return ()


def _fields(template: Json, name: str = "") -> Iterator[tuple[str, Json]]:
    """Every text or number of a template, with the name of the field that it is in."""
    if isinstance(template, Mapping):
        for inner_name, inner in template.items():
            yield from _fields(inner, inner_name)
    elif isinstance(template, list | tuple):
        for inner in template:
            yield from _fields(inner, name)
    else:
        yield name, template
