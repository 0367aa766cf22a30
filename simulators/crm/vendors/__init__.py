"""CRMs as their vendors' public pages describe them: enough of each to hold an adapter against, faults on command."""

from collections.abc import Callable, Mapping
from typing import Final

from simulators.crm.vendors.desk import Vendor
from simulators.crm.vendors.dynamics365 import Dynamics
from simulators.crm.vendors.example import Example
from simulators.crm.vendors.hubspot import Hubspot
from simulators.crm.vendors.salesforce import Salesforce
from simulators.crm.vendors.standard import Standard
from simulators.crm.vendors.zendesk import Zendesk

VENDORS: Final[Mapping[str, Callable[[str], Vendor]]] = {
    "dynamics365": Dynamics,
    "example": Example,
    "hubspot": Hubspot,
    "salesforce": Salesforce,
    "standard": Standard,
    "zendesk": Zendesk,
}
"""Each flavour by its name; made from the secret that both sides know."""
