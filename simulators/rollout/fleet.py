"""A fleet of two models: one gets a firmware that breaks its function on some; everybody may go on holiday at once."""

import base64
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.profiles import load_profiles
from devices.profiles.model import Profile
from simulators.fleet.faults import FaultKind, Label
from simulators.fleet.habits import DAY_S, HOUR_S, Floats, Span, make_person
from simulators.fleet.link import Account
from simulators.fleet.network import Act
from simulators.fleet.packets import Channel, Packet
from simulators.fleet.playable import DeviceErrand
from simulators.fleet.products.coffee_machine import COFFEE_MACHINE
from simulators.fleet.products.e_bike import E_BIKE
from simulators.fleet.products.product import Product, Scene

EDGES: Final = 16
"""Connections that speak for the whole fleet."""

SYNC_S: Final = 6 * HOUR_S
REGIONS: Final = ("eu", "us")
OLD, NEW = "2.1.0", "2.2.0"
_MODELS: Final = (COFFEE_MACHINE, E_BIKE)
_NO_DIGESTS: Final = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens; the same plan makes the same fleet."""

    devices: int
    span: Span
    seed: int = 1
    updated_model: float = 0.7  # share of the devices that are of the model that is updated
    update_day: float = 13.0
    update_hours: float = 12.0  # from the first updated device to the last
    updated: float = 0.6  # share of the model that gets the new firmware
    broken: float = 0.5  # share of those on which it breaks the function
    holiday_day: float | None = None
    holiday_days: float = 3.0
    on_holiday: float = 0.6  # share of all devices
    ill_per_month: float = 0.01  # share of the devices that fall ill by themselves

    @property
    def update_s(self) -> float:
        """When the rollout begins."""
        return self.span.start_s + self.update_day * DAY_S


@dataclass(slots=True)
class Device:
    """One device: what it measured, when that leaves, and what is true of it."""

    device_id: str
    model: str
    region: str
    updated_s: float  # infinite: never
    is_broken: bool
    is_away: bool
    is_ill: bool
    ts_ms: NDArray[np.int64]
    leaves_s: Floats  # rising
    metrics: dict[str, NDArray[np.float32]]
    sent: int = 0

    def take(self, until_s: float) -> Iterator[bytes]:
        """The packets that leave before a moment, and have not left yet."""
        end = int(np.searchsorted(self.leaves_s, until_s))
        while self.sent < end:
            # What leaves at one moment is one packet.
            upto = int(np.searchsorted(self.leaves_s, float(self.leaves_s[self.sent]), side="right"))
            yield self._packet(self.sent, upto)
            self.sent = upto

    def _packet(self, start: int, end: int) -> bytes:
        columns = [(name, _listed(values[start:end])) for name, values in self.metrics.items()]
        return msgspec.json.encode(
            [
                {
                    "ts": ts,
                    "firmware": NEW if ts >= self.updated_s * 1000 else OLD,
                    "metrics": {name: column[n] for name, column in columns if column[n] == column[n]},
                }
                for n, ts in enumerate(self.ts_ms[start:end].tolist())
            ]
        )


@dataclass(slots=True)
class RolloutFleet:
    """The devices, as the driver plays them."""

    plan: Plan
    devices: list[Device]
    secrets: dict[str, str]  # of the edge nodes
    has_begun: bool = False

    @property
    def span(self) -> Span:
        """The simulated time."""
        return self.plan.span

    def accounts(self) -> list[Account]:
        """The edge nodes, which connect."""
        return [Account(edge, secret) for edge, secret in self.secrets.items()]

    def errands_until(self, end_s: float) -> Iterator[DeviceErrand]:
        """What leaves from where the last call ended until `end_s`."""
        edges = list(self.secrets)
        if not self.has_begun:
            self.has_begun = True
            yield from (DeviceErrand(edge, Act.CONNECT) for edge in edges)
        for number, device in enumerate(self.devices):
            for payload in device.take(end_s):
                packet = Packet(device.device_id, Channel.TELEMETRY, payload, device.ts_ms[:0], _NO_DIGESTS)
                yield DeviceErrand(edges[number % len(edges)], Act.SEND, packet)

    def write_registry(self, path: Path) -> None:
        """Write the registry file; it holds secrets, so only its owner may read it."""
        edges = [
            {"device_id": edge, "password": secret, "generated": True} for edge, secret in sorted(self.secrets.items())
        ]
        devices = [
            {
                "device_id": device.device_id,
                "model": device.model,
                "region": device.region,
                "asset": {"asset_id": f"asset-{device.device_id}"},
            }
            for device in self.devices
        ]
        path.touch(mode=0o600)
        path.write_text(json.dumps({"devices": [*edges, *devices]}), encoding="utf-8")


def _listed(values: NDArray[np.float32]) -> list[float]:
    return [round(float(value), 3) for value in values]


def make_fleet(plan: Plan, workers: int) -> RolloutFleet:
    """Make a fleet, on several processors."""
    rng = np.random.default_rng(plan.seed)
    make = partial(make_device, plan, load_profiles())  # read once: reading them takes longer than a device's life
    with ProcessPoolExecutor(workers) as pool:
        devices = list(pool.map(make, range(plan.devices), chunksize=50))
    secrets = {
        f"edge-{n:02d}": base64.urlsafe_b64encode(rng.bytes(32)).rstrip(b"=").decode() for n in range(1, EDGES + 1)
    }
    return RolloutFleet(plan, devices, secrets)


def make_device(plan: Plan, profiles: Mapping[str, Profile], number: int) -> Device:
    """The device of a number: whether it is updated, broken by that, on holiday, or ill by itself."""
    rng = np.random.default_rng([plan.seed, number])
    product: Product = _MODELS[int(rng.random() >= plan.updated_model)]
    device_id = f"{product.model}-{number:05d}"
    region = REGIONS[int(rng.random() < 0.4)]
    is_updated = bool(rng.random() < plan.updated) and product is COFFEE_MACHINE
    is_broken = bool(rng.random() < plan.broken) and is_updated
    is_away = bool(rng.random() < plan.on_holiday) and plan.holiday_day is not None
    is_ill = bool(rng.random() < plan.ill_per_month * plan.span.days / 30.0)
    updated_s = plan.update_s + float(rng.uniform(0, plan.update_hours)) * HOUR_S if is_updated else np.inf
    spans: list[tuple[float, float | None]] = [(updated_s, None)] if is_broken else []
    if is_away and plan.holiday_day is not None:
        begin_s = plan.span.start_s + plan.holiday_day * DAY_S + float(rng.uniform(0, 6)) * HOUR_S
        spans.append((begin_s, begin_s + plan.holiday_days * DAY_S))
    if is_ill:
        spans.append((float(rng.uniform(plan.span.start_s + 10 * DAY_S, plan.span.end_s)), None))
    profile = profiles[product.model]
    # Whatever the reason, it is no longer used: that is what the detectors are to tell apart.
    unused = product.faults[FaultKind.ABANDONED]
    labels = [Label(device_id, FaultKind.ABANDONED, begin_s, end_s, unused, watched=True) for begin_s, end_s in spans]
    interval_s = profile.reporting_interval or product.interval_s
    ts_s = np.round(np.arange(plan.span.start_s + float(rng.uniform(1, interval_s)), plan.span.end_s, interval_s), 3)
    life = product.live(Scene(make_person(number, plan.span, rng), ts_s, labels, profile, rng))
    phase_s = float(rng.uniform(0, SYNC_S))
    leaves_s = np.ceil((life.ts_s - phase_s) / SYNC_S) * SYNC_S + phase_s
    keep = leaves_s < plan.span.end_s
    return Device(
        device_id=device_id,
        model=product.model,
        region=region,
        updated_s=updated_s,
        is_broken=is_broken,
        is_away=is_away,
        is_ill=is_ill,
        ts_ms=np.round(life.ts_s[keep] * 1000).astype(np.int64),
        leaves_s=leaves_s[keep],
        metrics={name: values[keep].astype(np.float32) for name, values in life.metrics.items()},
    )
