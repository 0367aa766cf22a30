"""What docs/dialects.md shows is what happens."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.payloads import DecodedReading, load_codecs
from devices.payloads.dialect import Message, Said, is_dialect

PAGE = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text()
EXAMPLE = re.compile(r"<!-- (\S+) (\S+) -->\n```json\n(.*?)```\n```\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE)


def when(ts_us: int | None) -> str:
    return "(receipt)" if ts_us is None else datetime.fromtimestamp(ts_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(said: Said) -> list[str]:
    readings = [
        f"reading {said.device_id} {when(reading.ts_us)} "
        + " ".join(f"{name}={value:g}" for name, value in sorted(reading.metrics.items()))
        for reading in said.readings
    ]
    return readings + [
        f"event   {said.device_id} {when(event.ts_us)} {event.code} {(event.data or b'').decode()}"
        for event in said.events
    ]


@pytest.mark.parametrize(
    ("codec_name", "topic", "sent", "stored"), EXAMPLES, ids=[topic for _, topic, _, _ in EXAMPLES]
)
def test_an_example_is_true(codec_name: str, topic: str, sent: str, stored: str) -> None:
    codec = load_codecs()[codec_name]
    if is_dialect(codec):
        translation = codec.translate(Message(topic, sent.encode(), "d1", 1_760_000_000_000_000))
        assert not translation.bad
        lines = [line for said in translation.said for line in told(said)]
    else:
        found = codec.decode_readings(sent.encode())
        lines = told(Said("d1", [reading for reading in found if isinstance(reading, DecodedReading)]))
    assert lines == stored.splitlines()


def test_every_codec_is_named() -> None:
    assert [name for name in load_codecs() if f"`{name}`" not in PAGE] == []
    assert len(EXAMPLES) == 4
