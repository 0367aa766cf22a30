"""What installed packages register with careloop, as their entry points.

To find them, Python reads a file of every installed package: that is done once in a process, not for each group.
"""

from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Protocol


class _Groups(Protocol):
    """All of them; Python 3.12 has another class for it than 3.11."""

    def select(self, *, group: str) -> EntryPoints: ...


@cache
def _all() -> _Groups:
    return entry_points()


def registered(group: str) -> EntryPoints:
    """The entry points of a group such as `careloop.codecs`."""
    return _all().select(group=group)
