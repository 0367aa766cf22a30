"""The watches of a device without a profile: whatever it sends is watched, with what is learnt from it."""

import math
import re
import zlib
from collections.abc import Sequence
from typing import Final

from devices.profiles.model import Severity, Watch

DEVICE_WATCHES: Final[Sequence[Watch]] = (
    Watch(
        name="silence",
        detector="silence",
        problem="connection",
        severity=Severity.MINOR,
        # Who takes a device off for a weekend has rarely done so before: patience, where nobody said how much.
        parameters={"factor": 5.0, "typical": 24.0, "longest": "60h", "warm_up": "10d"},
    ),
    Watch(name="decline", detector="decline", problem="wear", severity=Severity.MINOR),
    # A sensor that has died while the others live; half a day without one may be a phone in place of a watch.
    Watch(
        name="sensors",
        detector="stuck",
        problem="sensor",
        severity=Severity.MINOR,
        parameters={"lasting": "12h"},
    ),
    # Raises nothing: it knows since when the device has been heard, before events of a code come for the first time.
    Watch.model_validate({"name": "events", "detector": "event_burst", "event": "*", "for": math.inf}),
)
# What is read often, all metrics together; where the settings ask for it.
ROW_WATCH: Final = Watch(name="row", detector="unlike", problem="sensor", severity=Severity.MINOR)
_LONGEST: Final = 28  # of a metric's or an event's part in a watch's name, which may have 40 letters


def metric_watches(metric: str) -> Sequence[Watch]:
    """The generic watches over one metric."""
    slug = _slug(metric)
    return (
        Watch.model_validate(
            {
                "name": f"record-{slug}",
                "detector": "record",
                "metric": metric,
                "problem": slug,
                "severity": Severity.MINOR,
                "keep_firing_for": "1h",
                "parameters": {"warm_up": "21d", "score": 0.88},
            }
        ),
        Watch(
            name=f"usage-drop-{slug}",
            detector="usage_drop",
            metric=metric,
            problem=slug,
            severity=Severity.MAJOR,
            # Soon where it stops, sure where it only falls; and one alarm, whatever a device counts. What tells of each
            # hour is given as much time in a drawer as a silence.
            parameters={"lull": 1.8, "complete": 1.4, "drop": 0.35, "days": 4, "margin": 1.5, "alone": 1},
        ),
        Watch(
            name=f"usage-surge-{slug}",
            detector="usage_surge",
            metric=metric,
            problem=slug,
            severity=Severity.MINOR,
            parameters={"pairs": 1, "alone": 1, "falls": 1},
        ),
        Watch(
            name=f"decline-{slug}",
            detector="decline",
            metric=metric,
            problem=slug,
            severity=Severity.MINOR,
            # Of levels: use that falls is the usage drop's to tell.
            parameters={"fall": 0.95},
        ),
        Watch(name=f"stuck-{slug}", detector="stuck", metric=metric, problem=slug, severity=Severity.MINOR),
    )


def row_watch(metric: str) -> Watch:
    """Keeps one metric for the watch over all of them together."""
    slug = _slug(metric)
    return Watch(name=f"row-{slug}", detector="unlike", metric=metric, problem=slug, severity=Severity.MINOR)


def event_watches(code: str) -> Sequence[Watch]:
    """The generic watch over the events of one code."""
    slug = _slug(code)
    name = f"event-burst-{slug}"
    return (Watch(name=name, detector="event_burst", event=code, problem=slug, severity=Severity.MINOR),)


def habits_beside(watches: Sequence[Watch]) -> Sequence[Watch]:
    """Watches that raise nothing: they keep the habit of metrics that other watches compare theirs with."""
    wanted = {(watch.detector, watch.per) for watch in watches if watch.per is not None}
    there = {(watch.detector, watch.metric) for watch in watches}
    return [
        Watch.model_validate({"name": f"beside-{_slug(metric)}", "detector": name, "metric": metric, "for": math.inf})
        for name, metric in sorted(wanted - there)
    ]


def _slug(metric: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", metric.lower()).strip("-")
    if plain == metric.replace("_", "-") and len(plain) <= _LONGEST and plain[:1].isalpha():
        return plain
    # Names that differ only in what a slug cannot say must not share a watch.
    return f"m-{plain[: _LONGEST - 11].strip('-')}-{zlib.crc32(metric.encode()):08x}".replace("--", "-")
