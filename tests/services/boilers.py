"""A product whose one watch is simple to trip: a boiler above 90 °C, which opens a case at once."""

import json

from tests.services.crm import Crm
from tests.services.gateway import GatewayProcess
from tests.services.publisher import Publisher

HOT = 120.0
WELL = 20.0
IMPOSSIBLE = 900.0

PROFILE = """
model = "boiler"
title = "Boiler"
[metrics.temperature]
kind = "gauge"
unit = "Cel"
maximum = 200
[[watches]]
name = "too-hot"
detector = "threshold"
metric = "temperature"
problem = "overheating"
severity = "critical"
parameters = { above = 90 }
[[playbooks]]
problem = "overheating"
title = "The boiler runs too hot"
"""


def start_boilers(gateway: GatewayProcess, crm: Crm, count: int, more: str = "") -> list[Publisher]:
    """Start a gateway that knows boilers, each with an owner, and tells the CRM of them; a publisher for each."""
    profiles = gateway.folder / "profiles"
    profiles.mkdir(exist_ok=True)
    (profiles / "boiler.toml").write_text(PROFILE)
    gateway.configure(f'{crm.settings()}[profiles]\nfolders = ["{profiles}"]\n{more}')
    gateway.start()
    listed = [
        {
            "device_id": f"boiler-{number}",
            "model": "boiler",
            "password": f"pass-{number}-word",
            "owner": {
                "owner_ref": f"person-{number}",
                "account_ref": f"account-{number}",
                "time_zone": "Europe/Berlin",
            },
        }
        for number in range(count)
    ]
    registry = gateway.folder / "registry.json"
    registry.write_text(json.dumps({"devices": listed}))
    gateway.command("devices", "import", registry)
    return [Publisher(f"boiler-{number}", f"pass-{number}-word") for number in range(count)]
