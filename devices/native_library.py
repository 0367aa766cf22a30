"""Libraries that were compiled from C when careloop was installed."""

import ctypes
import hashlib
from pathlib import Path


def open_library(path: Path, how: type[ctypes.CDLL]) -> ctypes.CDLL | None:
    """A library, where it is installed and made of the sources beside it."""
    try:
        library = how(str(path))
        library.sources.restype = ctypes.c_char_p
        made_of: bytes = library.sources()
    except (OSError, AttributeError):
        return None
    return library if made_of.decode() == fingerprint(path.parent) else None


def fingerprint(folder: Path) -> str:
    """Names the sources in a folder."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
