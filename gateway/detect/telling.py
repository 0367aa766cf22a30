"""From a decision to an alarm change that a person can read."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.detect.detector import (
    CombiningDetector,
    DeadlineDetector,
    Moment,
    Part,
    SeriesDetector,
    TwofoldDetector,
    Words,
)
from gateway.detect.model import AlarmChange, AlarmEvent, Explanation
from gateway.detect.station import Station
from gateway.detect.table import Rows
from gateway.detect.words import say_instant, say_metric, thin_out


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of one alarm, and on what."""

    device_id: str
    event: AlarmEvent
    ts_s: float
    value: float  # of the sample that decided; NaN for a deadline
    score: float
    moved_to: str | None = None  # the device is of this model now, and is not watched as it was


def tell(station: Station, state: Rows, decision: Decision, parts: Sequence[Part] = ()) -> AlarmChange:
    """Explain a decision; `state` is the one series, or device with its series, as the decision left it."""
    binding = station.bindings[int(state["watch"][0])]
    moment = Moment(
        metric=binding.metric or "",
        unit=binding.unit,
        event=decision.event,
        began_s=float(state["began_s"][0]),
        ts_s=decision.ts_s,
        value=decision.value,
        parameters=binding.parameters,
        evidence=station.recall(state),
        beside=station.metric_called(int(state[station.pairing.companion][0])) if station.pairing else "",
    )
    detector = station.detector
    if decision.moved_to is not None:
        words = _moved(moment, binding.model, decision.moved_to)
    elif decision.event == "unknown":
        words = _gone_quiet(moment)
    elif binding.metric is None and isinstance(detector, CombiningDetector):
        words = detector.explain_device(state, moment, parts)
    else:
        assert isinstance(detector, SeriesDetector | DeadlineDetector)
        words = detector.explain(state, moment)
    return AlarmChange(
        device_id=decision.device_id,
        watch=binding.watch,
        kind=detector.kind_of(state) if isinstance(detector, TwofoldDetector) else detector.kind,
        metric=binding.metric,
        problem=binding.problem,
        severity=binding.severity,
        event=decision.event,
        started_at_s=moment.began_s,
        ts_s=decision.ts_s,
        score=decision.score,
        explanation=Explanation(
            text=words.text,
            expected=words.expected,
            observed=words.observed,
            window_s=words.window_s,
            evidence=thin_out(words.evidence or moment.evidence),
            detector=station.name,
            version=detector.version,
            score=decision.score,
        ),
    )


def _gone_quiet(moment: Moment) -> Words:
    since = say_instant(moment.began_s, moment.ts_s)
    what = f"{say_metric(moment.metric)}: " if moment.metric else ""
    return Words(
        text=f"{what}the device has gone quiet; whether the trouble since {since} is over cannot be told",
        expected="news of the device",
        observed="none",
        window_s=moment.ts_s - moment.began_s,
    )


def _moved(moment: Moment, before: str, now: str) -> Words:
    what = f"{say_metric(moment.metric)}: " if moment.metric else ""
    since = say_instant(moment.began_s, moment.ts_s)
    return Words(
        text=f"{what}the device is known as {now} now, no longer as {before}; whether the trouble since {since} is "
        "over cannot be told, for it is not watched any more",
        expected=f"a device of model {before}",
        observed=f"one of model {now}",
        window_s=moment.ts_s - moment.began_s,
    )
