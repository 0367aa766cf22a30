"""HubSpot: tickets by its CRM API, hooks of a private app; docs/crm/hubspot.md says what to set up there."""

from pathlib import Path
from typing import ClassVar

from crm_sync.adapters.contract import Inbound
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.settings import EndpointSettings
from devices.errors import ConfigError, Fault


class HubspotAdapter(RestAdapter):
    """One HubSpot account. A create is an upsert by a property of ours whose values are unique."""

    own_spec: ClassVar[Path | None] = Path(__file__).with_name("spec.toml")

    @classmethod
    def open_inbound(cls, settings: EndpointSettings) -> Inbound | None:
        """HubSpot signs the address that it calls, which we cannot see behind a proxy. Raises ConfigError."""
        if settings.callback_token.get_secret_value() and not settings.account.get("callback_url"):
            where = f"crm.endpoints.{settings.name}.account.callback_url"
            raise ConfigError([Fault(where, "nothing", "the address of hooks, exactly as HubSpot has it")])
        return super().open_inbound(settings)
