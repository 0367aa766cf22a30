"""Keeps what a helpdesk is sent below 20 kB: texts end at a sentence, say that they are cut, and where the rest is."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from crm_sync.adapters.rest.template import Json, as_text

MOST_BYTES: Final = 20_000
"""Of one request's body; pictures go by themselves."""

_ROOMS: Final = (6000, 3000, 1500, 600, 200)  # bytes of a text that are tried in turn
_LONG: Final = ("brief", "news")
_LISTS: Final = ("alarms", "tried")
_END_OF_SENTENCE: Final = re.compile(r"[.!?…](?=\s|$)|\n")


def cut(text: str, most_bytes: int, says: str) -> str:
    """A text that is short enough as it is; else whole sentences of it, and what is to be said of the rest."""
    if len(text.encode()) <= most_bytes:
        return text
    kept = text.encode()[: max(most_bytes - len(says.encode()) - 1, 0)].decode("utf-8", "ignore")
    return f"{whole_sentences(kept)}\n{says}".strip()


def whole_sentences(text: str) -> str:
    """A text up to the end of its last whole sentence; up to its last word where it has none."""
    ends = [found.end() for found in _END_OF_SENTENCE.finditer(text[:-1])]
    return (text[: ends[-1]] if ends else text.rpartition(" ")[0] or text).rstrip()


def unbroken(data: Mapping[str, Json], says: str) -> Mapping[str, Json]:
    """A message that was clipped to keep it small, with a brief that does not end in the middle of a word."""
    brief = as_text(data.get("brief"))
    if not data.get("truncated") or not brief.endswith("…"):
        return data
    return {**data, "brief": f"{whole_sentences(brief)}\n{says}"}


def shorter(facts: Mapping[str, Json], says: str) -> Iterator[dict[str, Json]]:
    """What places stand for, ever shorter."""
    for room in _ROOMS:
        texts: dict[str, Json] = {name: cut(as_text(facts.get(name)), room, says) for name in _LONG if facts.get(name)}
        lists: dict[str, Json] = {}
        for name in _LISTS:
            listed = facts.get(name)
            lists |= {name: listed[-1:]} if isinstance(listed, list) else {}
        yield {**facts, **lists, **texts}
