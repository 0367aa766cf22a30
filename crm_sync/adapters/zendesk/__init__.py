"""Zendesk Support: tickets by its API, hooks by its webhooks; docs/crm/zendesk.md says what to set up there."""

from pathlib import Path
from typing import ClassVar

from crm_sync.adapters.rest.adapter import RestAdapter


class ZendeskAdapter(RestAdapter):
    """One Zendesk account. A create carries an idempotency key, and is looked for before it is made again."""

    own_spec: ClassVar[Path | None] = Path(__file__).with_name("spec.toml")
