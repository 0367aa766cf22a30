"""Turns a call of a helpdesk's file into a request."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import cast
from urllib.parse import urlencode

import msgspec

from crm_sync.adapters.http import Request
from crm_sync.adapters.rest.calls import Call
from crm_sync.adapters.rest.picture import joined_parts, picture_of
from crm_sync.adapters.rest.template import Json, UnknownWord, Values, as_text, fill, fill_path


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a helpdesk is, and what every call to it bears."""

    url: str
    headers: Mapping[str, str]

    def request(self, call: Call, values: Values, path: str = "") -> Request:
        """One call; `path` in place of the call's own, with its query. Raises UnknownWord."""
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"careloop/{version('careloop')}",
            **{key.lower(): text for key, text in self.headers.items()},
            **{key.lower(): as_text(fill(text, values)) for key, text in call.headers.items()},
        }
        body = _body(call, values, headers)
        return Request(self.url + (path or _path(call, values)), headers, body, call.method)


def joined(path: str, query: Mapping[str, str]) -> str:
    """A path with more parameters."""
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(query)}"


def weight_of(call: Call, values: Values) -> int:
    """How many bytes a call's body would have; none where it cannot be made."""
    try:
        return len(_body(call, values, {}))
    except UnknownWord:
        return 0


def _path(call: Call, values: Values) -> str:
    path = fill_path(call.path, values)
    return joined(path, {key: as_text(fill(text, values)) for key, text in call.query.items()})


def _body(call: Call, values: Values, headers: dict[str, str]) -> bytes:
    """The request's bytes; notes in `headers` what they are. Raises UnknownWord."""
    if call.format == "binary":
        picture = picture_of(values.facts)
        headers.setdefault("content-type", picture.media_type)
        return picture.content
    if call.format == "multipart":
        fields = list(_fields(fill(cast("Json", call.body or {}), values)))
        body, boundary = joined_parts(fields, call.file_field, picture_of(values.facts))
        headers["content-type"] = f"multipart/form-data; boundary={boundary}"
        return body
    if call.body is None:
        return b""
    filled = fill(cast("Json", call.body), values)
    if call.omit_null:
        filled = _without_nulls(filled)
    if isinstance(filled, Mapping):
        filled = {name: _as_json(value) if name in call.json_fields else value for name, value in filled.items()}
    if call.format == "form":
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
        return urlencode([field for name, value in _fields(filled) for field in _repeated(name, value)]).encode()
    headers.setdefault("content-type", "application/json")
    return msgspec.json.encode(filled)


def _fields(filled: Json, around: str = "") -> Iterator[tuple[str, Json]]:
    """The fields of a form: a table inside one is `outer[inner]`, as Rails and PHP read it."""
    if not isinstance(filled, Mapping):
        yield around, filled
        return
    for name, value in filled.items():
        plain = name.removesuffix("[]")
        inside = f"{around}[{plain}]{name[len(plain) :]}" if around else name  # outer[inner][], not outer[inner[]]
        yield from _fields(value, inside)


def _repeated(name: str, value: Json) -> Iterator[tuple[str, str]]:
    """A field for each of several values."""
    for each in value if isinstance(value, list) else [value]:
        yield name, as_text(each)


def _as_json(value: Json) -> str:
    return msgspec.json.encode(value).decode()


def _without_nulls(filled: Json) -> Json:
    if isinstance(filled, Mapping):
        return {key: _without_nulls(value) for key, value in filled.items() if value is not None}
    return filled
