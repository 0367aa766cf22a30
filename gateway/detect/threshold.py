"""A limit on a metric, with hysteresis; how long it must be passed is the watch's `for`."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Words
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Rows
from gateway.detect.words import say_instant, say_metric, say_quantity, say_span

_Number = Floats | float


class Threshold:
    """Breach above `above` or below `below`; calm once at or below `clear_below`, or at or above `clear_above`.

    What is not given follows from `hysteresis`, the distance between a limit and where it is calm again.
    """

    name: Final = "threshold"
    version: Final = 1
    kind: Final = Kind.THRESHOLD
    fields: Sequence[Field] = ()
    parameters: Sequence[Parameter] = (
        Parameter("above"),
        Parameter("below"),
        Parameter("clear_below"),
        Parameter("clear_above"),
        Parameter("hysteresis", default=0.0, minimum=0.0),
    )
    evidence_points: Final = 24

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """Nothing follows from metric or settings."""
        del metric, settings
        return {}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """At least one limit, and room between two."""
        above, below = parameters["above"], parameters["below"]
        if np.isnan(above) and np.isnan(below):
            return "a number for above, below or both"
        if parameters["clear_below"] > above or parameters["clear_above"] < below:
            return "clear_below at most above, clear_above at least below"
        calm_below, calm_above = _calm(above, below, parameters)
        if calm_above > calm_below:
            return "limits so far apart that there is a calm between them"
        return None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Compare each value with its limits; comparisons with a limit that is not there are never true."""
        del state
        above, below = batch.parameter("above"), batch.parameter("below")
        names = ("hysteresis", "clear_below", "clear_above")
        calm_below, calm_above = _calm(above, below, {name: batch.parameter(name) for name in names})
        value = batch.value
        breach = (value > above) | (value < below)
        near = (value > calm_below) | (value < calm_above)
        return Findings(breach=breach, calm=~(breach | near), score=np.where(breach, _score(value, above, below), 0.0))

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Say which limit, how far, and since when."""
        del state
        above, below = moment.parameters["above"], moment.parameters["below"]
        high = (
            moment.value > above
            or np.isnan(below)
            or (not np.isnan(above) and above - moment.value < moment.value - below)
        )
        limit = say_quantity(above if high else below, moment.unit)
        now = f"{say_metric(moment.metric)} {say_quantity(moment.value, moment.unit)}"
        span_s = moment.ts_s - moment.began_s
        since = f" since {say_instant(moment.began_s, moment.ts_s)}"
        if moment.event == "cleared":
            text = f"{now}, back within its limit of {limit}; it was beyond it{since}"
        elif not (moment.value > above or moment.value < below):
            text = f"{now}, within its limit of {limit} at present; it has been beyond it{since}, and is still watched"
        else:
            lasting = f" for {say_span(span_s)}{since}" if span_s > 0 else ""
            text = f"{now}, {'above' if high else 'below'} its limit of {limit}{lasting}"
        return Words(
            text=text,
            expected=f"{'at most' if high else 'at least'} {limit}",
            observed=say_quantity(moment.value, moment.unit),
            window_s=span_s,
        )


def _calm(above: _Number, below: _Number, given: Mapping[str, _Number]) -> tuple[_Number, _Number]:
    """Where it is calm again: at or below the first, and at or above the second; NaN without that limit."""
    back, clear_below, clear_above = given["hysteresis"], given["clear_below"], given["clear_above"]
    return (
        np.where(np.isnan(clear_below), np.subtract(above, back), clear_below),
        np.where(np.isnan(clear_above), np.add(below, back), clear_above),
    )


def _score(value: Floats, above: Floats | float, below: Floats | float) -> Floats:
    """0.5 at the limit, towards 1 as the excess grows to the limit's own size and beyond."""
    excess = np.fmax(np.fmax(np.subtract(value, above), np.subtract(below, value)), 0.0)
    limit = np.where(value > above, above, below)
    scale = np.maximum(np.abs(limit), 1e-9)
    ratio = excess / scale
    return 0.5 + 0.5 * ratio / (1.0 + ratio)
