"""The settings of the fleet layer."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from devices.profiles.model import SpanS


class FleetSettings(BaseModel):
    """When what goes wrong with many devices is told as one incident."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = (
        0.01  # chance that a firmware that changes nothing is ever called bad
    )
    smallest: Annotated[int, Field(ge=5)] = 20  # devices on a firmware, or gone quiet, below which nothing is concluded
    hold: SpanS = 6 * 3600.0  # how long the cases of a suspected cohort wait; the gateway's clock
    watch: SpanS = 30 * 86_400.0  # how long a new firmware is compared with the others
    calm: SpanS = 86_400.0  # without a new member, before an incident may end
    dip_share: Annotated[float, Field(gt=0, le=1)] = 0.05  # of the fleet, a region or a model that must be affected
    team: str = "quality"  # who looks after major cases
