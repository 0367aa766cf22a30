"""What settings say that trust goes by, together."""

from dataclasses import dataclass, field

from crm_sync.trust.settings import BudgetSettings, TrustSettings


@dataclass(frozen=True, slots=True)
class TrustRules:
    """What trust goes by."""

    budget: BudgetSettings = field(default_factory=BudgetSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    edge_nodes: tuple[str, ...] = ()  # ids and patterns of who only speaks for others, and is not watched itself
