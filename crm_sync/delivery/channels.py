"""The endpoints of the settings as the engine sees them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from crm_sync.adapters import build_adapters, load_adapters, open_inbound
from crm_sync.adapters.contract import CrmAdapter
from crm_sync.delivery.breaker import Breaker
from crm_sync.guard import port_of
from crm_sync.settings import EndpointSettings


@dataclass(frozen=True, slots=True)
class Channel:
    """One endpoint, the way to it, and whether that is open."""

    settings: EndpointSettings
    adapter: CrmAdapter
    breaker: Breaker  # shared by the endpoints of one origin
    expects_hooks: bool = False  # whether the CRM tells of changes by itself, in its own form


def open_channels(
    endpoints: Sequence[EndpointSettings], share: Callable[[str, Any], Any] | None = None
) -> list[Channel]:
    """The channel of each endpoint; `share` as for adapters. Raises ConfigError with every fault at once."""
    factories = load_adapters()
    adapters = build_adapters(endpoints, factories, *([] if share is None else [share]))
    breakers: dict[tuple[str, str, int], Breaker] = {}
    return [
        Channel(
            each,
            adapters[each.name],
            breakers.setdefault(_origin(each.url), Breaker(each.breaker)),
            expects_hooks=open_inbound(each, factories) is not None,
        )
        for each in endpoints
    ]


async def close_channels(channels: Sequence[Channel]) -> None:
    """Give back the adapters' connections."""
    for channel in channels:
        await channel.adapter.close()


def _origin(text: str) -> tuple[str, str, int]:
    url = httpx.URL(text)
    return url.scheme, url.host, port_of(url)
