"""Processor time of processes, from /proc (proc(5): the fields of `stat`)."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PARENT: Final = 1  # fields behind the command's name, which may hold spaces and brackets
_OWN: Final = slice(11, 13)
_WITH_CHILDREN: Final = slice(11, 15)
_REAPED: Final = slice(13, 15)


def own_s(pid: int) -> float:
    """Seconds that a living process has used itself, in user and system mode."""
    return sum(map(int, _stat(pid)[_OWN])) / _TICKS_PER_S


def main_thread_s(pid: int) -> float:
    """Seconds that a process' first thread has been on a processor, to the microsecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def family_s(pid: int) -> float:
    """Seconds of a server and of all children that it has had: those that live, and those that it has reaped."""
    ticks, reaped = 0, None
    while reaped != (stat := _stat(pid))[_REAPED]:  # a child reaped meanwhile is in neither sum, or in both
        reaped = stat[_REAPED]
        ticks = sum(map(int, stat[_WITH_CHILDREN]))
        for child in _children(pid):
            with suppress(FileNotFoundError, ProcessLookupError):
                ticks += sum(map(int, _stat(child)[_OWN]))
    return ticks / _TICKS_PER_S


def _children(pid: int) -> Sequence[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                if int(_stat(int(entry.name))[_PARENT]) == pid:
                    found.append(int(entry.name))
    return found


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
