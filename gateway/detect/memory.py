"""Memory that is reached at random: on large pages where the system has them."""

import mmap
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

CACHE_LINE: Final = 64  # bytes
LARGE_PAGE: Final = 1 << 21
WORTH_PAGES: Final = 1 << 20  # below this, pages of the usual size are as good
ROOM: Final = 16  # times the addresses that are needed now…
LEAST_ROOM: Final = 1 << 28  # …but at least so many
OVERCOMMIT: Final = Path("/proc/sys/vm/overcommit_memory")
COUNTS_ALL: Final = "2"  # addresses as if they had been written to, see proc_sys_vm(5)

Bytes = npt.NDArray[np.uint8]


def memory_of(size: int) -> Bytes:
    """At least so many bytes, whatever is in them, beginning on a cache line.

    What is touched at random costs a look-up of its page as well as of itself; on pages of two megabytes the processor
    knows them all. Of what is large there is more, to grow into: addresses, which take memory once they are written to.
    """
    if size < WORTH_PAGES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return _aligned(np.empty(size + CACHE_LINE, np.uint8), CACHE_LINE, size)
    room = max(LEAST_ROOM, ROOM * size) if are_addresses_free() else size
    try:
        pages = pages_of(room)
    except (OSError, ValueError):  # there may be fewer of them for another reason
        room = size
        pages = pages_of(room)
    with suppress(OSError):  # of a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return _aligned(np.frombuffer(pages, np.uint8), LARGE_PAGE, room)


def pages_of(size: int) -> mmap.mmap:
    """Pages of memory of one's own; raises OSError."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return mmap.mmap(-1, size + LARGE_PAGE, flags=flags)


def are_addresses_free() -> bool:
    """Whether addresses are no one's loss: not where they count as memory, or where there are only so many of them."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return False
    try:
        return OVERCOMMIT.read_text("ascii").strip() != COUNTS_ALL
    except OSError:  # no Linux
        return True


def _aligned(memory: Bytes, boundary: int, size: int) -> Bytes:
    start = -memory.ctypes.data % boundary
    return memory[start : start + size]
