"""Ways to CRMs, helpdesks and webhook receivers; installed packages register more as `careloop.crm_adapters`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoints
from typing import Any, cast

from crm_sync.adapters.contract import AdapterFactory, CrmAdapter, Hooked, Inbound, Rationed
from crm_sync.settings import EndpointSettings
from devices.errors import ConfigError, Fault
from devices.installed import registered


def load_adapters() -> Mapping[str, AdapterFactory]:
    """Every registered adapter by name, each imported when it is asked for: few gateways have more than one."""
    return _Registered(registered("careloop.crm_adapters"))


class _Registered(Mapping[str, AdapterFactory]):
    def __init__(self, found: EntryPoints) -> None:
        self._found = {each.name: each for each in found}

    def __getitem__(self, name: str) -> AdapterFactory:
        return cast("AdapterFactory", self._found[name].load())

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _as_it_is(_account: str, budget: Any) -> Any:
    return budget


def build_adapters(
    endpoints: Iterable[EndpointSettings],
    factories: Mapping[str, AdapterFactory],
    share: Callable[[str, Any], Any] = _as_it_is,
) -> Mapping[str, CrmAdapter]:
    """The adapter of each endpoint, by the endpoint's name. Raises ConfigError with every fault at once.

    `share` makes an account's budget that of other processes, too.
    """
    adapters: dict[str, CrmAdapter] = {}
    faults: list[Fault] = []
    for endpoint in endpoints:
        factory = factories.get(endpoint.adapter)
        if factory is None:
            setting = f"crm.endpoints.{endpoint.name}.adapter"
            faults.append(Fault(setting, repr(endpoint.adapter), ", ".join(sorted(factories))))
            continue
        try:
            adapters[endpoint.name] = factory(endpoint)
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(faults)
    budgets: dict[str, Any] = {}
    for adapter in adapters.values():
        if isinstance(adapter, Rationed):
            if adapter.account not in budgets:
                budgets[adapter.account] = share(adapter.account, adapter.budget)
            adapter.join(budgets[adapter.account])
    return adapters


def open_inbound(endpoint: EndpointSettings, factories: Mapping[str, AdapterFactory]) -> Inbound | None:
    """The CRM's own hooks to an endpoint; None where it calls back after Standard Webhooks. Raises ConfigError."""
    factory = factories.get(endpoint.adapter)
    return factory.open_inbound(endpoint) if isinstance(factory, Hooked) else None
