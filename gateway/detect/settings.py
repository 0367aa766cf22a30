"""The settings of detection: what applies where a watch does not say otherwise."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from devices.profiles.model import SpanS


class DetectSettings(BaseModel):
    """Defaults for watches, and bounds on what is kept per device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    silence_grace: SpanS = 60.0  # added to every silence deadline: the road from device to gateway takes time too
    silence_shortest: Annotated[SpanS, Field(gt=0)] = 3600.0  # no learnt silence is shorter than this
    silence_warm_up: SpanS = 3 * 86_400.0  # how long a device is listened to before its cadence counts as known
    decline_early: SpanS = 0.0  # so young, every reading of a level is a step of its decline; later once an hour
    whole_rows: bool = False  # automatic profile: what is read every few minutes is judged by all metrics together
    rows_warm_up: SpanS = 3 * 86_400.0  # how long a device's rows are learnt from before one of them raises an alarm
    update_every: Annotated[SpanS, Field(gt=0)] = (
        86_400.0  # an active alarm is told again once in this much device time
    )
    update_score: Annotated[float, Field(gt=0, le=1)] = 0.15  # or when its score has risen by as much
    metrics_per_device: Annotated[int, Field(ge=1, le=256)] = 32  # automatic profile: further metrics are not watched
    metrics_in_all: Annotated[int, Field(ge=1, le=4096)] = 256  # automatic profile: different names over all devices
    events_per_device: Annotated[int, Field(ge=0, le=256)] = 16  # automatic profile: further codes are not watched
    events_in_all: Annotated[int, Field(ge=0, le=4096)] = 64  # automatic profile: different codes over all devices
