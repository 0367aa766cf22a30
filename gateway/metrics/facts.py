"""What is known at the moment of a scrape."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.cohorts.shown import IncidentTotals
from gateway.doors.listen.counters import ListenStats
from gateway.doors.subscribe.stats import SubscribeStats
from gateway.order.totals import OrderTotals
from gateway.outreach.words import Pulse
from gateway.pipeline.stats import PipelineStats
from gateway.pipeline.timings import BatchTimings
from gateway.store.tallies import Backlog, Tallies


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What waits for a batch, and how much may."""

    packets: int
    bytes: int
    most_packets: int
    most_bytes: int
    oldest_s: float  # how long the oldest has waited, on the gateway's clock


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the database holds; None where it has not been asked with success for a while."""

    answer_s: float
    tallies: Tallies | None
    backlog: Backlog | None
    incidents: IncidentTotals | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that `/metrics` tells."""

    version: str
    database_edition: str
    checks: Mapping[str, bool]  # the same as at /readyz
    now_s: float  # the gateway's clock
    stats: PipelineStats
    timings: BatchTimings
    queue: QueueFacts
    doors: Mapping[str, bool]  # open?
    listen: ListenStats | None
    subscribe: SubscribeStats | None
    database: DatabaseFacts
    order: OrderTotals
    pools: Mapping[str, Mapping[str, int]]  # of the API and of the CRM process
    loop_lag_s: Mapping[str, float]
    crm: Pulse | None
    crm_restarts: int
