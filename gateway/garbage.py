"""How seldom Python's cycle collector runs, while a process starts and while readings come in.

Reference counts free nearly everything here. What is left to the collector is little, yet by default it runs after
every 700 new containers, several times a batch, and looks through packets that all still live.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (50_000, 5, 2)
"""Some batches' worth of containers; a full collection after half a million, so that cycles cannot pile up."""


def collect_seldom() -> None:
    """From now on: what a process builds at its start stays, and would be looked through many times."""
    gc.set_threshold(*_THRESHOLDS)


@contextmanager
def collecting_nothing() -> Generator[None]:
    """Import and build what stays: it is not looked through meanwhile, nor ever after."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


@contextmanager
def collecting_seldom() -> Generator[None]:
    """Leave out what start-up built, the registry above all, for it stays; look seldom at the rest.

    Start-up leaves some 30 kB of cycles. They stay too: to look for them is a twentieth of a gateway's start.
    """
    before = gc.get_threshold()
    gc.freeze()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
