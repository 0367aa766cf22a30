"""The compiled loops: which of them run, and what runs in the place of one that is not there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devices.payloads import native as payloads
from gateway.detect import native as detectors
from gateway.doctor.finding import Finding
from gateway.doors.mqtt import native as mqtt
from gateway.store import native as store


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops of one library."""

    what: str
    library: Path
    load: Callable[[], object]
    """None where the library is not installed, or is not made of the sources beside it."""
    without: str
    """What runs instead, and what that costs."""


ALL_LOOPS: Final = (
    Loops(
        *("detectors", detectors.LIBRARY, detectors.load_kernel),
        without="NumPy judges: the alarms are the same, judging takes about ten times as long",
    ),
    Loops(
        *("reading of payloads", payloads.LIBRARY, payloads.load_reader),
        without="Python reads: what is read is the same, and takes about three times as long",
    ),
    Loops(
        *("reading of MQTT", mqtt.LIBRARY, mqtt.load_cutter_of_runs),
        without="Python reads: what is read is the same, and takes about five times as long",
    ),
    Loops(
        *("writing of rows", store.LIBRARY, store.load_encoder),
        without="NumPy writes: the rows are the same, writing them takes about twice as long",
    ),
)


def examine_loops() -> Iterator[Finding]:
    """Whether each library is there and of this version."""
    for loops in ALL_LOOPS:
        yield loops_finding(loops)


def loops_finding(loops: Loops) -> Finding:
    """Whether the loops of a library run compiled, as far as another process of this installation can tell."""
    if loops.load() is not None:
        return Finding(loops.what, ok=True, says="compiled loops")
    why = "are not of this version" if loops.library.exists() else "were not compiled when careloop was installed"
    fix = "install a C compiler (cc) and careloop once more; from a checkout, run scripts/build_native.py"
    return Finding(loops.what, ok=False, says=f"the loops {why}. {loops.without}", fix=fix)
