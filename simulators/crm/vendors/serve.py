"""`careloop simulate crm --flavour …`: an imitated CRM for whoever tests from another process."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.console import Console

from devices.clock import to_datetime
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.server import AppServer
from simulators.crm.vendors import VENDORS
from simulators.crm.vendors.hubspot import Hubspot
from simulators.crm.vendors.sandbox import VendorSandbox

FLAVOURS: Final = tuple(sorted(set(VENDORS) - {"standard"}))

_MORE: Final[Mapping[str, str]] = {
    "dynamics365": 'user = "application"\naccount = {{ tenant = "tenant-1", authority = "{origin}" }}\n',
    "example": 'spec_file = "docs/crm/example-helpdesk.toml"\n',
    "hubspot": 'account = {{ callback_url = "{callback_url}" }}\n',
    "salesforce": 'user = "consumer"\naccount = {{ login = "client_credentials" }}\n',
    "zendesk": "",
}
_SETTINGS: Final = """
[[crm.endpoints]]
name = "sandbox"
adapter = "{adapter}"
url = "{origin}"
token = "{token}"
callback_token = "{hooks}"
{more}allow_http = true
allow_networks = ["127.0.0.0/8"]
ports = [{port}]
"""


@dataclass(frozen=True, slots=True)
class VendorPlan:
    """What an imitated CRM is made of."""

    flavour: str
    misbehaviour: Misbehaviour
    seed: int
    host: str
    port: int
    callback_url: str | None


def settings_for(flavour: str, origin: str, callback_url: str | None, token: str, hooks: str) -> str:
    """The endpoint's settings by which a gateway on this machine reaches an imitated CRM."""
    url = callback_url or "http://127.0.0.1:8080/v1/callbacks/sandbox"
    return _SETTINGS.format(
        adapter="rest" if flavour == "example" else flavour,
        origin=origin,
        port=origin.rpartition(":")[2],
        token=token,
        hooks=hooks,
        more=_MORE[flavour].format(origin=origin, callback_url=url),
    )


def run_vendor(plan: VendorPlan, console: Console) -> None:
    """Serve until interrupted; what a gateway needs to know of it is printed first."""
    token, hooks = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    vendor = VENDORS[plan.flavour](token)
    if isinstance(vendor, Hubspot) and plan.callback_url is not None:
        vendor.callback_url = plan.callback_url
    sandbox = VendorSandbox(
        vendor,
        plan.misbehaviour,
        np.random.default_rng(plan.seed),
        watch=lambda kind, status, fault: _tell(console, kind, status, fault),
        callback_url=plan.callback_url,
        hook_secret=hooks,
    )
    with AppServer(sandbox, plan.host, plan.port) as server:
        told = settings_for(plan.flavour, server.origin, plan.callback_url, token, hooks)
        console.print(told, markup=False, soft_wrap=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            console.print(f"{len(sandbox.vendor.book.tickets)} records")


def _tell(console: Console, kind: str, status: int, fault: str) -> None:
    style = "green" if status < 300 and not fault else "yellow" if fault else "red"
    console.print(f"{to_datetime(time.time()):%H:%M:%S}  {status}  {kind:<11}  {fault}", style=style)
