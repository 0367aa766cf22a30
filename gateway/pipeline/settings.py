"""The settings of the pipeline: how batches are made, what is refused, and how detector state is kept."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from devices.profiles.model import SpanS, parse_span_s
from gateway.authority import Authority
from gateway.cohorts.settings import FleetSettings
from gateway.order.settings import OrderSettings

_NO_ROUTE: Final = "no route knows this topic, or its device id is not 1 to 64 of A-Z a-z 0-9 _ -"
_MILLISECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)\s*ms")


def _short_span_s(value: object) -> object:
    match = _MILLISECONDS.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) / 1000 if match else parse_span_s(value)


ShortSpanS = Annotated[float, BeforeValidator(_short_span_s), Field(ge=0)]
"""A span of time in seconds; TOML may also say ``"25ms"``."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BatchSettings(_Section):
    """When a batch is closed, and how much may wait for one."""

    max_readings: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    max_age: Annotated[ShortSpanS, Field(le=60)] = 0.025
    queue_packets: Annotated[int, Field(ge=1)] = 50_000  # above this the doors stop reading
    queue_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024  # or above this


class IngestSettings(_Section):
    """What is taken, and what is refused."""

    unknown_device: Literal["quarantine", "register"] = "quarantine"
    far_future: SpanS = 86_400.0  # how far ahead of the gateway's clock a device's time may be
    max_payload_bytes: Annotated[int, Field(ge=1)] = 262_144
    checkpoint_every: SpanS = 60.0  # how often detector state is written down; real time
    outage_grace: SpanS = 300.0  # after an outage of ours, until silences are judged again; the gateway's clock


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Everything the pipeline is told."""

    tenant_id: str = "default"
    batch: BatchSettings = field(default_factory=BatchSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    order: OrderSettings = field(default_factory=OrderSettings)
    authority: Authority = field(default_factory=Authority)
    fleet: FleetSettings = field(default_factory=FleetSettings)
    misplaced: Callable[[str], str | None] = lambda _topic: None  # what is wrong with a topic that is nearly a device's

    def why_unknown(self, topic: str) -> str:
        """What is wrong with a topic that no route takes."""
        return self.misplaced(topic) or _NO_ROUTE
