"""Answers and hooks in the forms that helpdesks have: JSON, XML, the fields of a form, or plain text."""

import codecs
from typing import Final, Literal, cast
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import msgspec

from crm_sync.adapters.rest.template import Json

Format = Literal["json", "xml", "form", "text"]

_MOST_DEEP: Final = 64  # elements within one another
_MOST_FIELDS: Final = 1000


def read_document(written: Format, body: bytes) -> Json:
    """What a body says; None for an empty one. Raises ValueError for what is not written so."""
    text = body.removeprefix(codecs.BOM_UTF8).strip()
    if written == "text":
        return body.decode("utf-8", "replace")
    if not text:
        return None
    if written == "xml":
        root = parse_xml(text)
        return {local_name(root): _value_of(root, 0)}
    if written == "form":
        return _fields_of(text.decode())  # UnicodeDecodeError is a ValueError
    try:
        return cast("Json", msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def parse_xml(body: bytes) -> ET.Element:
    """The root of a document. Raises ValueError. A document type is refused: its entities would be expanded."""
    text = body.decode()  # in any other encoding a document type could hide
    if "<!" in text.replace("<![CDATA[", "").replace("<!--", "") or "\x00" in text:
        raise ValueError("a document type has no place in an answer")
    try:
        return ET.fromstring(text)  # noqa: S314 - without a document type there is nothing to expand
    except ET.ParseError as error:
        raise ValueError(str(error)) from error


def local_name(element: ET.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _value_of(element: ET.Element, depth: int) -> Json:
    """An element's text; a table of what is in it, where there is more: `@name` is an attribute, several are a list."""
    if depth > _MOST_DEEP:
        raise ValueError("too many elements within one another")
    within: dict[str, list[Json]] = {}
    for child in element:
        within.setdefault(local_name(child), []).append(_value_of(child, depth + 1))
    told: dict[str, Json] = {f"@{name.rpartition('}')[2]}": text for name, text in element.attrib.items()}
    told |= {name: values[0] if len(values) == 1 else values for name, values in within.items()}
    text = (element.text or "").strip()
    if not told:
        return text
    return {**told, "text": text} if text and "text" not in told else told


def _told_in(value: str) -> Json:
    """A field's text, or what it says where it is a table or an array in JSON."""
    if value.lstrip()[:1] not in {"{", "["}:
        return value
    try:
        return cast("Json", msgspec.json.decode(value))
    except (msgspec.MsgspecError, RecursionError):
        return value


def _fields_of(text: str) -> dict[str, Json]:
    fields: dict[str, list[Json]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_FIELDS):
        fields.setdefault(name, []).append(_told_in(value))
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
