"""Texts with places for values, and paths into answers.

``{case_id}``, ``{asset.serial}`` and ``{alarms[-1].explanation.text}`` are places: JMESPaths into what a message says;
``{severity|priority}`` puts the value through the map of that name; ``{{`` and ``}}`` are plain braces. A text that is
one place and nothing else keeps the value's type.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([a-z_][^{}|]*)(?:\|([a-z_][a-z0-9_]*))?\}|[{}]")
_ROOT: Final = re.compile(r"[a-z_][a-z0-9_]*")


class UnknownWord(ValueError):
    """A map has no word for a value, or a path no room for it."""


class _Compiled(Protocol):
    def search(self, value: object) -> object: ...


@dataclass(frozen=True, slots=True)
class Values:
    """What places stand for, and the maps that translate it."""

    facts: Mapping[str, Json]
    maps: Mapping[str, Mapping[str, Json]]

    def of(self, path: str, mapped: str | None) -> Json:
        """One value; None for what this message does not tell. Raises UnknownWord."""
        value = look_up(path, self.facts)
        if mapped is None:
            return value
        table = self.maps.get(mapped, {})
        word = as_text(value)
        if word in table:
            return table[word]
        if "*" in table:
            return table["*"]
        raise UnknownWord(f"maps.{mapped} has neither {word!r} nor '*'")


def as_text(value: Json) -> str:
    """A value as a CRM would write it; nothing for None, JSON for what has parts."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple):
        return msgspec.json.encode(value).decode()
    return str(value)


def places(template: Json) -> Iterator[tuple[str, str | None]]:
    """The first name of each place in a template, and the place's map. Raises ValueError for what is no place."""
    if isinstance(template, str):
        for token in _TOKEN.finditer(template):
            if token[0] in {"{", "}"}:
                raise ValueError(f"a brace stands alone in {template!r}: write {{{{ or }}}}")
            if token[1]:
                root = _ROOT.match(check_path(token[1]))
                assert root is not None  # the token begins with it
                yield root[0], token[2]
    elif isinstance(template, Mapping):
        for name, inner in template.items():
            yield from places(name)
            yield from places(inner)
    elif isinstance(template, Sequence):
        for inner in template:
            yield from places(inner)


def fill(template: Json, values: Values) -> Json:
    """A template with its places filled, through tables and arrays. Raises UnknownWord."""
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, Mapping):
        return {as_text(_fill_text(name, values)): fill(inner, values) for name, inner in template.items()}
    if isinstance(template, Sequence):
        return [fill(inner, values) for inner in template]
    return template


def fill_path(template: str, values: Values) -> str:
    """A path with its places filled; what is filled in cannot leave its segment. Raises UnknownWord."""
    return _TOKEN.sub(lambda token: _segment(token, values) if token[1] else token[0][0], template)


def _fill_text(template: str, values: Values) -> Json:
    whole = _TOKEN.fullmatch(template)
    if whole and whole[1]:
        return values.of(whole[1], whole[2])
    return _TOKEN.sub(lambda token: _piece(token, values) if token[1] else token[0][0], template)


def _segment(token: re.Match[str], values: Values) -> str:
    piece = _piece(token, values)
    if piece in {"", ".", ".."}:  # would be another path
        raise UnknownWord(f"{token[0]} is {piece!r}, which cannot stand in a path")
    return quote(piece, safe="")


def _piece(token: re.Match[str], values: Values) -> str:
    return as_text(values.of(token[1], token[2]))


@lru_cache(maxsize=1024)
def _compile(path: str) -> _Compiled:
    return cast("_Compiled", jmespath.compile(path))


def check_path(path: str) -> str:
    """The path itself. Raises ValueError where it is no JMESPath."""
    try:
        _compile(path)
    except JMESPathError as error:
        raise ValueError(f"{path!r} is no JMESPath: {error}") from None
    return path


def look_up(path: str, answer: Json) -> Json:
    """What an answer has under a path; None where it has nothing, or where the path's functions do not fit it."""
    try:
        return cast("Json", _compile(path).search(answer))
    except JMESPathError:
        return None


def is_same(found: Json, wanted: Json) -> bool:
    """Whether a CRM kept what it was told: "70" is 70, true is "true", and spaces at the end do not count."""
    if isinstance(found, Mapping | list) or isinstance(wanted, Mapping | list):
        return found == wanted
    return as_text(found).strip() == as_text(wanted).strip() or _number(found) == _number(wanted) is not None


def _number(value: Json) -> float | None:
    try:
        return None if isinstance(value, bool) else float(cast("Any", value))
    except (TypeError, ValueError):
        return None
