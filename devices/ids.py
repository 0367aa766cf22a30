"""Names that identify devices and where they belong."""

import re
import zlib
from typing import Final

PARTITIONS: Final = 64
"""Number of partitions, fixed when the schema is created."""

DEVICE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_device_id(text: str) -> bool:
    """Whether `text` may name a device: 1 to 64 of ``A-Z a-z 0-9 _ -``."""
    return DEVICE_ID.fullmatch(text) is not None


def partition_of(device_id: str) -> int:
    """The partition, 0 to 63, that a device belongs to for ever."""
    return zlib.crc32(device_id.encode()) % PARTITIONS
