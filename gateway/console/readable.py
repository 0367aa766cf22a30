"""Bytes that devices sent, for people."""


def readable(raw: bytes) -> str:
    """Bytes as a person can read them: as text where they are one, else in hexadecimal."""
    try:
        text = raw[:2000].decode("utf-8")
    except UnicodeDecodeError:
        return raw[:500].hex(" ")
    return text if text.isprintable() or "\n" in text else raw[:500].hex(" ")
