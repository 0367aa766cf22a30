"""What one transaction of the fleet layer works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crm_sync.inbox import AlarmNotice
from gateway.cohorts.comparison import Comparison
from gateway.cohorts.incidents import Incident
from gateway.cohorts.queries import DeviceFacts
from gateway.cohorts.state import DipState, ModelState

Cohort = tuple[str, str]
"""Tenant and product model."""


@dataclass(frozen=True, slots=True)
class Now:
    """When a batch is judged: the gateway's clock, and the healthy one."""

    now_s: float
    alive_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A batch's raised alarms, what is known of their devices, and the states that they change."""

    tenant_id: str
    now: Now
    raised: Sequence[AlarmNotice]
    facts: Mapping[str, DeviceFacts]  # by device; of those that are registered
    going_on: list[Incident]
    models: Mapping[Cohort, ModelState]
    dips: DipState

    def comparison_of(self, facts: DeviceFacts) -> Comparison | None:
        """The comparison in which a device is one of the new firmware's."""
        state = self.models.get((facts.tenant_id, facts.model))
        return None if state is None else state.comparison_of(facts.firmware)

    def incident_of(self, notice: AlarmNotice, facts: DeviceFacts) -> Incident | None:
        """The incident that an alarm is part of."""
        return next(
            (each for each in self.going_on if each.covers(facts, notice.problem, notice.kind, notice.ts_s)),
            None,
        )
