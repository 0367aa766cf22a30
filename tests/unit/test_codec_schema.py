"""The published schema: what docs/payload.schema.json says is what the models say."""

import json
from pathlib import Path
from typing import Any

from devices.payloads.model import json_schema

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "payload.schema.json"


def test_the_published_schema_is_up_to_date() -> None:
    """`careloop devices schema > docs/payload.schema.json` brings it up to date."""
    assert json.loads(PUBLISHED.read_text()) == json_schema()


def test_the_schema_says_what_a_reading_and_an_event_are() -> None:
    definitions: Any = json_schema()["$defs"]
    assert definitions["ReadingPayload"]["required"] == ["metrics"]
    assert definitions["EventPayload"]["required"] == ["code"]
    for kind, payload in (("Readings", "ReadingPayload"), ("Events", "EventPayload")):
        one, many = definitions[kind]["anyOf"]
        assert one == {"$ref": f"#/$defs/{payload}"}
        assert many["items"] == one
