"""The settings of maintenance: whether usage is rolled up, and how long what is kept."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devices.profiles.model import SpanS


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MaintenanceSettings(_Section):
    """How the store is kept in order while ingest runs."""

    every: Annotated[SpanS, Field(gt=0)] = 60.0  # between looks at what is to be done; real time
    rollups: Literal["auto", "own", "off"] = "auto"  # auto: continuous aggregates where the licence has them
    columnstore_after: SpanS = 14 * 86_400.0  # Community edition: chunks this old are compressed; 0 never


class ModelRetention(_Section):
    """How long what is kept of one product model; what is left out is as for all."""

    model: str = ""
    readings: SpanS | None = None
    hourly: SpanS | None = None
    daily: SpanS | None = None


class RetentionSettings(_Section):
    """How long what is kept, counted from when it was stored; 0 is for ever."""

    readings: SpanS = 0.0
    hourly: SpanS = 0.0  # hourly usage rollups
    daily: SpanS = 0.0
    events: SpanS = 0.0  # events, births and wills
    quarantine: SpanS = 0.0
    deliveries: SpanS = 0.0  # delivered messages to CRMs with their attempts, and callbacks
    owners: SpanS = 0.0  # contacts, closed tickets, answers and ended holds of owners
    removed_devices: SpanS = 0.0  # everything that a device has said, after its removal from the registry
    models: tuple[ModelRetention, ...] = ()

    @model_validator(mode="after")
    def _rollups_outlive_readings(self) -> "RetentionSettings":
        for model in (None, *(one.model for one in self.models)):
            kept = self.of(model)
            for name, span_s in (("hourly", kept.hourly), ("daily", kept.daily)):
                if span_s and not 0 < (kept.readings or 0) <= span_s:
                    where = f" of model {model}" if model else ""
                    message = f"{name}{where} must be kept at least as long as the readings that it is made from"
                    raise ValueError(message)
        return self

    def strangers(self, known: Collection[str]) -> list[str]:
        """Models of which nothing is stored, and of which nothing will be: misspelt, probably."""
        return [one.model for one in self.models if one.model not in known]

    def of(self, model: str | None) -> ModelRetention:
        """What holds for a product model."""
        own = next((one for one in self.models if one.model == model), ModelRetention())
        return ModelRetention(
            model=model or "",
            readings=self.readings if own.readings is None else own.readings,
            hourly=self.hourly if own.hourly is None else own.hourly,
            daily=self.daily if own.daily is None else own.daily,
        )
