"""The picture of a case's evidence on its way into a record: as a file of its own, or beside the fields of a form."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, cast

from crm_sync.adapters.rest.template import Json, as_text

_LINE: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """One file."""

    name: str
    media_type: str
    content: bytes


def name_of_picture(facts: Mapping[str, Json], message_id: str) -> str | None:
    """What the picture of a message is called, the same in every attempt; None where it brings none."""
    chart = facts.get("chart")
    if not isinstance(chart, Mapping):
        return None
    name = PurePosixPath(as_text(chart.get("file_name")) or "evidence")
    return f"{name.stem}-{message_id}{name.suffix}"


def picture_of(facts: Mapping[str, Json]) -> Picture:
    """The picture that a message brings; a call that sends it is made for no other."""
    chart = cast("Mapping[str, Json]", facts["chart"])
    content = base64.b64decode(as_text(chart.get("base64")))
    return Picture(as_text(facts.get("attachment_name")), as_text(chart.get("media_type")), content)


def joined_parts(fields: Sequence[tuple[str, Json]], file_field: str, picture: Picture) -> tuple[bytes, str]:
    """A multipart/form-data body (RFC 7578) and its boundary, which does not occur in the picture."""
    boundary = f"careloop-{hashlib.sha256(picture.content).hexdigest()[:32]}"
    parts: list[bytes] = []
    for name, value in fields:
        for each in value if isinstance(value, list) else [value]:
            parts += [_head(boundary, f'name="{_quoted(name)}"'), as_text(each).encode(), _LINE]
    told = f'name="{_quoted(file_field)}"; filename="{_quoted(picture.name)}"'
    parts += [_head(boundary, told, picture.media_type), picture.content, _LINE, f"--{boundary}--".encode(), _LINE]
    return b"".join(parts), boundary


def _head(boundary: str, told: str, media_type: str = "") -> bytes:
    kind = f"Content-Type: {media_type}\r\n" if media_type else ""
    return f"--{boundary}\r\nContent-Disposition: form-data; {told}\r\n{kind}\r\n".encode()


def _quoted(name: str) -> str:
    """A name as RFC 7578 and browsers write it between quotation marks."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
