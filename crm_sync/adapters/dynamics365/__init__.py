"""Dynamics 365 Customer Service: cases by Dataverse's Web API; docs/crm/dynamics365.md says what to set up there."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from crm_sync.adapters.rest.adapter import RestAdapter


class DynamicsAdapter(RestAdapter):
    """One Dataverse environment. A create is an upsert by an alternate key of ours."""

    own_spec: ClassVar[Path | None] = Path(__file__).with_name("spec.toml")
    needed: ClassVar[Mapping[str, str]] = {"tenant": "the id of the Entra tenant that grants tokens"}
