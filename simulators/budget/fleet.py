"""A fleet kept small in memory: the lives of `simulators.fleet`, spoken for by a few edge nodes, in arrays of hours."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.profiles import load_profiles
from devices.profiles.model import Profile
from simulators.fleet.faults import FaultKind, Label, is_watched
from simulators.fleet.habits import DAY_S, HOUR_S, Floats, Person, Span, make_person
from simulators.fleet.link import Account
from simulators.fleet.network import Act
from simulators.fleet.packets import Channel, Happening, Packet, events
from simulators.fleet.playable import DeviceErrand
from simulators.fleet.products import PRODUCTS
from simulators.fleet.products.product import Product, Scene

EDGES: Final = 16
"""Connections that speak for the whole fleet: ten thousand clients in one Python would be the benchmark."""

SYNC_S: Final = 6 * HOUR_S
MOST_READINGS: Final = 48  # in a packet
KINDS: Final = tuple(kind for kind in FaultKind if kind is not FaultKind.BAD_FIRMWARE)
LEFT_DAYS: Final = 4.0  # before the end, so that a fault can be found
_NO_DIGESTS: Final = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes a fleet; the same plan makes the same fleet."""

    devices: int
    span: Span
    healthy_days: float  # nobody falls ill before that: habits must be known
    ill_per_month: float  # share of the devices
    without_profile: float  # share of the devices
    seed: int

    @property
    def faults(self) -> int:
        """How many fall ill."""
        return round(self.devices * self.ill_per_month * (self.span.days - self.healthy_days) / 30.0)


@dataclass(slots=True)
class Device:
    """One device: what it measured, and when that leaves."""

    device_id: str
    model: str | None  # None: it is registered without one
    person: Person
    labels: tuple[Label, ...]
    ts_ms: NDArray[np.int64]
    leaves_s: Floats  # rising
    metrics: dict[str, NDArray[np.float32]]
    happenings: tuple[tuple[float, Happening], ...] = ()  # and when each leaves, rising
    sent: int = 0
    told: int = 0  # events

    def take(self, until_s: float) -> Iterator["Share"]:
        """What leaves before a moment, and has not left yet."""
        end = int(np.searchsorted(self.leaves_s, until_s))
        while self.sent < end:
            upto = min(end, self.sent + MOST_READINGS)
            yield self._share(self.sent, upto)
            self.sent = upto

    def take_events(self, until_s: float) -> Sequence[Happening]:
        """The events that leave before a moment, and have not left yet."""
        first = self.told
        while self.told < len(self.happenings) and self.happenings[self.told][0] < until_s:
            self.told += 1
        return [happening for _, happening in self.happenings[first : self.told]]

    def _share(self, start: int, end: int) -> "Share":
        columns = {
            name: np.round(values[start:end].astype(np.float64), 3).tolist() for name, values in self.metrics.items()
        }
        return Share(self.device_id, float(self.leaves_s[end - 1]), self.ts_ms[start:end].tolist(), columns)


@dataclass(frozen=True, slots=True)
class Share:
    """Readings of a device that leave together."""

    device_id: str
    leaves_s: float
    ts_ms: list[int]
    columns: dict[str, list[float]]  # NaN: not reported

    def payload(self) -> bytes:
        """As the device publishes them."""
        columns = self.columns.items()
        return msgspec.json.encode(
            [
                {"ts": ts, "metrics": {name: column[n] for name, column in columns if column[n] == column[n]}}
                for n, ts in enumerate(self.ts_ms)
            ]
        )


@dataclass(slots=True)
class Fleet:
    """The devices, as the driver plays them."""

    plan: Plan
    devices: list[Device]
    secrets: dict[str, str] = field(default_factory=dict[str, str])  # of the edge nodes

    @property
    def span(self) -> Span:
        """The simulated time."""
        return self.plan.span

    @property
    def labels(self) -> list[Label]:
        """Every fault."""
        return [label for device in self.devices for label in device.labels]

    def accounts(self) -> list[Account]:
        """The edge nodes, which connect."""
        return [Account(edge, secret) for edge, secret in self.secrets.items()]

    def errands_until(self, end_s: float) -> Iterator[DeviceErrand]:
        """What leaves from where the last call ended until `end_s`."""
        edges = list(self.secrets)
        if all(device.sent == 0 for device in self.devices):
            yield from (DeviceErrand(edge, Act.CONNECT) for edge in edges)
        for number, device in enumerate(self.devices):
            edge, first = edges[number % len(edges)], device.told
            happenings = device.take_events(end_s)
            if happenings:
                yield DeviceErrand(edge, Act.SEND, events(device.device_id, happenings, first))
            for share in device.take(end_s):
                packet = Packet(device.device_id, Channel.TELEMETRY, share.payload(), device.ts_ms[:0], _NO_DIGESTS)
                yield DeviceErrand(edge, Act.SEND, packet)

    def write_registry(self, path: Path) -> None:
        """Write the registry file; it holds secrets, so only its owner may read it."""
        edges = [
            {"device_id": edge, "password": secret, "generated": True} for edge, secret in sorted(self.secrets.items())
        ]
        path.touch(mode=0o600)
        path.write_text(json.dumps({"devices": [*edges, *map(_entry, self.devices)]}), encoding="utf-8")


def _entry(device: Device) -> dict[str, object]:
    person = device.person
    return {
        "device_id": device.device_id,
        **({} if device.model is None else {"model": device.model}),
        "asset": {"asset_id": f"asset-{device.device_id}"},
        "owner": {
            "owner_ref": person.owner_ref,
            "account_ref": person.account_ref,
            "time_zone": person.time_zone,
            "language": person.language,
        },
    }


def make_fleet(plan: Plan, workers: int) -> Fleet:
    """Make a fleet, on several processors."""
    rng = np.random.default_rng(plan.seed)
    shares = np.array([product.share for product in PRODUCTS])
    products = rng.choice(len(PRODUCTS), plan.devices, p=shares / shares.sum())
    unknown = rng.random(plan.devices) < plan.without_profile
    ill = dict(zip(rng.permutation(plan.devices)[: plan.faults].tolist(), rng.permutation(plan.faults), strict=True))
    orders = [
        _Order(number, int(products[number]), bool(unknown[number]), _kind(int(products[number]), ill.get(number)))
        for number in range(plan.devices)
    ]
    make = partial(_make, plan, load_profiles())  # read once: reading them takes longer than a device's life
    with ProcessPoolExecutor(workers) as pool:
        devices = list(pool.map(make, orders, chunksize=50))
    secrets = {
        f"edge-{n:02d}": base64.urlsafe_b64encode(rng.bytes(32)).rstrip(b"=").decode() for n in range(1, EDGES + 1)
    }
    return Fleet(plan, devices, secrets)


@dataclass(frozen=True, slots=True)
class _Order:
    number: int
    product: int
    unknown: bool
    kind: FaultKind | None


def _kind(product: int, turn: int | None) -> FaultKind | None:
    """The fault of an ill device: the kinds that its product can have, in turn."""
    able = [kind for kind in KINDS if kind in PRODUCTS[product].faults]
    return None if turn is None else able[turn % len(able)]


def _make(plan: Plan, profiles: Mapping[str, Profile], order: _Order) -> Device:
    rng = np.random.default_rng([plan.seed, order.number])
    product = PRODUCTS[order.product]
    profile = profiles[product.model]
    span = plan.span
    device_id = f"{product.model}-{order.number:05d}"
    person = make_person(order.number, span, rng)
    labels = () if order.kind is None else (_label(plan, device_id, product, order.kind, profile, rng),)
    interval_s = profile.reporting_interval or product.interval_s
    ts_s = np.arange(span.start_s + float(rng.uniform(1, interval_s)), span.end_s, interval_s)
    life = product.live(Scene(person, np.round(ts_s, 3), labels, profile, rng))
    keep, leaves_s = _travel(life.ts_s, labels, span, rng)
    happenings = [each for each in life.happenings if each.code in profile.events]
    return Device(
        device_id=device_id,
        model=None if order.unknown else product.model,
        person=person,
        labels=labels,
        ts_ms=np.round(life.ts_s[keep] * 1000).astype(np.int64),
        leaves_s=leaves_s[keep],
        metrics={name: values[keep].astype(np.float32) for name, values in life.metrics.items()},
        happenings=_leaving(happenings, life.ts_s[keep], leaves_s[keep]),
    )


def _leaving(happenings: Sequence[Happening], ts_s: Floats, leaves_s: Floats) -> tuple[tuple[float, Happening], ...]:
    """Events leave with the next reading; those after the last one never do."""
    at = np.searchsorted(ts_s, [each.ts_s for each in happenings])
    pairs = [(float(leaves_s[n]), each) for n, each in zip(at.tolist(), happenings, strict=True) if n < len(leaves_s)]
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def _label(  # noqa: PLR0917 - what a label is drawn from
    plan: Plan, device_id: str, product: Product, kind: FaultKind, profile: Profile, rng: np.random.Generator
) -> Label:
    """A fault that begins somewhere in the watched time, and passes by itself for half of the devices."""
    first_s = plan.span.start_s + plan.healthy_days * DAY_S
    starts_s = float(rng.uniform(first_s, plan.span.end_s - LEFT_DAYS * DAY_S))
    ends_s = starts_s + float(rng.uniform(3, 12)) * DAY_S
    ends = ends_s if rng.random() < 0.5 and ends_s < plan.span.end_s else None
    lasts_s = (plan.span.end_s if ends is None else ends) - starts_s
    trace = product.faults[kind]
    return Label(device_id, kind, starts_s, ends, trace, is_watched(profile, kind, trace, lasts_s))


def _travel(
    ts_s: Floats, labels: Sequence[Label], span: Span, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Floats]:
    """Which readings are sent, and when: every six hours, later after a time offline, never from a dead radio."""
    phase_s = float(rng.uniform(0, SYNC_S))
    leaves_s = np.ceil((ts_s - phase_s) / SYNC_S) * SYNC_S + phase_s
    for begin_s in rng.uniform(span.start_s, span.end_s, int(rng.poisson(span.days * rng.uniform(0.0, 0.15)))).tolist():
        end_s = begin_s + float(np.clip(rng.exponential(6 * HOUR_S), HOUR_S, 30 * HOUR_S))
        leaves_s[(leaves_s >= begin_s) & (leaves_s < end_s)] = end_s
    leaves_s = np.maximum.accumulate(leaves_s)
    keep = (rng.random(len(ts_s)) >= rng.uniform(0.0, 0.08)) & (leaves_s < span.end_s)
    for label in labels:
        if label.trace.quiet:
            keep &= ~(label.during(ts_s) | label.during(leaves_s))
    return keep, leaves_s
