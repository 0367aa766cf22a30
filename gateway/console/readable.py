"""Bytes that devices sent, for people."""

from codecs import getincrementaldecoder
from typing import Final

MOST: Final = 2000
"""Bytes that are shown of a text."""


def readable(raw: bytes) -> str:
    """Bytes as a person can read them: as text where they are one, else in hexadecimal."""
    try:
        text = getincrementaldecoder("utf-8")().decode(raw[:MOST], final=len(raw) < MOST)  # the cut may halve a letter
    except UnicodeDecodeError:
        return raw[:500].hex(" ")
    return text if text.isprintable() or "\n" in text else raw[:500].hex(" ")
