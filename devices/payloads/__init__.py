"""Payload codecs: what the bytes of a message say."""

from devices.installed import registered
from devices.payloads.codec import Bad, Codec, DecodedEvent, DecodedReading

__all__ = [
    "Bad",
    "Codec",
    "DecodedEvent",
    "DecodedReading",
    "load_codecs",
]


def load_codecs() -> dict[str, Codec]:
    """Every installed codec by name, from the entry points `careloop.codecs`."""
    codecs: dict[str, Codec] = {}
    for entry in registered("careloop.codecs"):
        make_codec = entry.load()
        codecs[entry.name] = make_codec()
    return codecs
