"""The registry file that introduces a simulated fleet to a gateway, as `careloop devices import` reads it."""

import json
from datetime import timedelta
from pathlib import Path

from devices.clock import to_datetime
from simulators.fleet.world import REGIONS, Device, World


def write_registry(world: World, path: Path) -> None:
    """Write the file; it holds the devices' secrets, so only its owner may read it."""
    document = {"devices": [_entry(world, device, number) for number, device in enumerate(world.devices)]}
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _entry(world: World, device: Device, number: int) -> dict[str, object]:
    person = device.person
    bought = to_datetime(world.span.start_s) - timedelta(days=60 + number * 37 % 1200)
    return {
        "device_id": device.device_id,
        "model": device.product.model,
        "firmware": device.firmware[0],
        "region": REGIONS[person.time_zone.partition("/")[0]],
        "password": device.secret,
        "generated": True,
        "asset": {
            "asset_id": f"asset-{device.device_id}",
            "serial": f"SN{number + 100_000:08d}",
            "purchased_on": bought.date().isoformat(),
            "warranty_until": (bought + timedelta(days=730)).date().isoformat(),
            "lifecycle_stage": "in_use",
        },
        "owner": {
            "owner_ref": person.owner_ref,
            "account_ref": person.account_ref,
            "time_zone": person.time_zone,
            "language": person.language,
        },
        "grants": [
            {"purpose": purpose, "recipient": recipient, "state": state, "basis": "consent", "source": "simulated"}
            for (purpose, _, recipient), state in ((key.partition(":"), state) for key, state in device.grants.items())
        ],
    }
