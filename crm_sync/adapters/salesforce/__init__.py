"""Salesforce: cases by its REST API, hooks are outbound messages; docs/crm/salesforce.md has the set-up."""

from pathlib import Path
from typing import ClassVar

from crm_sync.adapters.contract import Inbound
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.adapters.rest.reading import RestInbound
from crm_sync.adapters.salesforce.outbound import OutboundMessages
from crm_sync.settings import EndpointSettings


class SalesforceAdapter(RestAdapter):
    """One org. A create is an upsert by an external id of ours, which the org holds to be unique."""

    own_spec: ClassVar[Path | None] = Path(__file__).with_name("spec.toml")

    @classmethod
    def open_inbound(cls, settings: EndpointSettings) -> Inbound | None:
        """Outbound messages, which are SOAP. Raises ConfigError."""
        inbound = super().open_inbound(settings)
        return OutboundMessages(inbound) if isinstance(inbound, RestInbound) else inbound
