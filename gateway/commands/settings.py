"""How long devices have for their commands."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from devices.commands.model import DEFAULT_EXPIRY_S
from devices.profiles.model import SpanS


class CommandSettings(BaseModel):
    """For commands that say nothing of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer_within: Annotated[SpanS, Field(gt=0)] = 300.0  # real time, from the moment at which the device has it
    expires_after: Annotated[SpanS, Field(gt=0)] = DEFAULT_EXPIRY_S  # where no profile says so
