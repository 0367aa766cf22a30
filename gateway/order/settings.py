"""The settings of time and order: when late readings are judged in their place, and what that may cost."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from devices.profiles.model import SpanS


class OrderSettings(BaseModel):
    """How late readings correct alarms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rejudge: bool = True
    rejudge_after: SpanS = 120.0  # from a late reading until its device is judged anew; the gateway's clock
    rejudge_every: SpanS = 600.0  # at most so often, where an alarm is touched
    rejudge_rest: SpanS = 86_400.0  # at most so often, where none is
    rejudge_history: SpanS = 60 * 86_400.0  # how far before the device's newest reading it begins, device time
    rejudge_readings: Annotated[int, Field(ge=100)] = 20_000  # at most so many readings of a device
    rejudge_share: Annotated[float, Field(gt=0, le=0.5)] = 0.1  # of the pipeline's time, at most
