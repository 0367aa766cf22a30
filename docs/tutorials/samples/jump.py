"""A value that jumps: further from the last one than it may."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Words
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Rows
from gateway.detect.words import say_metric, say_quantity


class Jump:
    """Breach where a value is more than `by` away from the one before; calm where it is not."""

    name: Final = "jump"
    version: Final = 1
    kind: Final = Kind.RECORD
    fields: Sequence[Field] = (Field("before", initial=np.nan),)
    parameters: Sequence[Parameter] = (Parameter("by", minimum=0.0),)
    evidence_points: Final = 12

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """Nothing follows from the metric."""
        del metric, settings
        return {}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """How far is too far must be said."""
        return "a number for by" if np.isnan(parameters["by"]) else None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Compare each value with the one before, which is not there for the first."""
        leap = np.abs(batch.value - state["before"])
        state["before"] = batch.value
        breach = leap > batch.parameter("by")
        ratio = np.nan_to_num(leap) / np.maximum(batch.parameter("by"), 1e-9)
        score = np.where(breach, 0.5 + 0.5 * (ratio - 1) / ratio.clip(min=1.0), 0.0)
        return Findings(breach=breach, calm=~breach, score=score)

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Say how far it may jump."""
        del state
        by, value = say_quantity(moment.parameters["by"], moment.unit), say_quantity(moment.value, moment.unit)
        text = f"{say_metric(moment.metric)} jumped to {value}"
        return Words(text=text, expected=f"at most {by} from the last value", observed=value, window_s=0.0)
