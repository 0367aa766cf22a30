"""Makes a fleet: persons, their devices, what goes wrong with them, and what each device sends when."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final
from zlib import crc32

import numpy as np

from devices.profiles.model import MetricKind, Profile
from simulators.fleet.faults import FaultKind, FaultPlan, Label, is_watched, when
from simulators.fleet.habits import DAY_S, Person, Span, make_person
from simulators.fleet.link import Account
from simulators.fleet.network import Act, Mess, Sending, broken_payload, deliver, make_mess, skewed
from simulators.fleet.packets import Encoder, Packet, broken, events, telemetry
from simulators.fleet.playable import DeviceErrand
from simulators.fleet.products import PRODUCTS
from simulators.fleet.products.product import Product, Scene

REGIONS: Final = {
    "Europe": "eu",
    "Africa": "eu",
    "Asia": "apac",
    "Australia": "apac",
    "America": "us",
    "Pacific": "apac",
}


class Temper(Enum):
    """What a device does with commands."""

    OBEYS = auto()
    REFUSES = auto()
    LIES = auto()  # it says that it is done, and has done nothing
    IS_MUTE = auto()


_TEMPERS: Final = ((Temper.OBEYS, 0.7), (Temper.REFUSES, 0.8), (Temper.LIES, 0.95), (Temper.IS_MUTE, 1.0))


@dataclass(frozen=True, slots=True)
class Settings:
    """What makes a fleet; the same settings make the same fleet."""

    devices: int
    span: Span
    seed: int = 1
    messy: float = 0.7  # share of the devices with an unreliable way to the broker
    faults: FaultPlan = field(default_factory=FaultPlan)
    prefix: str = ""


@dataclass(slots=True)
class Device:
    """A simulated device: who it is, whose, and all that it will do."""

    device_id: str
    secret: str
    product: Product
    person: Person
    firmware: tuple[str, str, float]  # before, after, and when it was updated
    labels: tuple[Label, ...]
    mess: Mess
    sendings: list[Sending]
    encoder: Encoder
    rng: np.random.Generator
    grants: Mapping[str, str]  # "purpose:recipient" -> state
    healthy: Encoder | None = None  # what it would say without its faults, where a command can end one
    temper: Temper = Temper.OBEYS
    mended: list[str] = field(default_factory=list[str])  # commands that really ended a fault
    next_sending: int = 0
    next_seq: int = 1


@dataclass(slots=True)
class World:
    """A fleet and its time."""

    settings: Settings
    devices: list[Device]
    now_s: float = -np.inf  # everything before it was handed out

    @property
    def span(self) -> Span:
        """The simulated time."""
        return self.settings.span

    @property
    def labels(self) -> list[Label]:
        """Every labelled fault."""
        return [label for device in self.devices for label in device.labels]

    def accounts(self) -> list[Account]:
        """Who connects."""
        return [Account(device.device_id, device.secret, device.product.sync.mqtt) for device in self.devices]

    def errands_until(self, end_s: float) -> Iterator[DeviceErrand]:
        """What all devices do from where the last call ended until `end_s`, in order for each device."""
        self.now_s = end_s
        for device in self.devices:
            while device.next_sending < len(device.sendings):
                sending = device.sendings[device.next_sending]
                if sending.at_s >= end_s:
                    break
                device.next_sending += 1
                yield from _errands(device, sending)

    def obey(self, device_id: str, command: str) -> str | None:
        """Do it, or not: some devices refuse, some say that it is done and do nothing, some never answer."""
        device = next(each for each in self.devices if each.device_id == device_id)
        match device.temper:
            case Temper.REFUSES:
                return "refused"
            case Temper.LIES:
                return "done"
            case Temper.IS_MUTE:
                return None
            case Temper.OBEYS:
                _mend(device, command, self.now_s)
                return "done"


def _mend(device: Device, command: str, now_s: float) -> None:
    """End the faults that this command ends; what was measured before stays as it was."""
    ended = device.product.mends.get(command, frozenset())
    labels: list[Label] = []
    for label in device.labels:
        lasts = label.starts_at_s <= now_s and (label.ends_at_s is None or now_s < label.ends_at_s)
        if device.healthy is not None and label.kind in ended and lasts:
            device.encoder.take_over(device.healthy, now_s)
            device.mended.append(command)
            labels.append(replace(label, ends_at_s=now_s))
        else:
            labels.append(label)
    device.labels = tuple(labels)


def _errands(device: Device, sending: Sending) -> Iterator[DeviceErrand]:
    match sending.act:
        case Act.SEND | Act.SEND_TWICE:
            packet = _packet(device, sending)
            yield DeviceErrand(device.device_id, Act.SEND, packet)
            if sending.act is Act.SEND_TWICE:
                yield DeviceErrand(device.device_id, Act.SEND, again(packet))
        case Act.BREAK:
            sample, _ = device.encoder.elements([int(device.rng.integers(len(device.encoder.ts_ms)))], 0)
            payload = broken_payload(sample[0], device.rng)
            yield DeviceErrand(device.device_id, Act.SEND, broken(device.device_id, payload))
        case Act.TELL:
            packet = events(device.device_id, sending.happenings, device.next_seq)
            device.next_seq += len(sending.happenings)
            yield DeviceErrand(device.device_id, Act.SEND, packet)
        case _:
            yield DeviceErrand(device.device_id, sending.act)


def _packet(device: Device, sending: Sending) -> Packet:
    rows = [] if sending.rows is None else [int(row) for row in sending.rows]
    elements, ts_ms = device.encoder.elements(rows, device.next_seq)
    device.next_seq += len(rows)
    return telemetry(device.device_id, elements, ts_ms)


def again(packet: Packet) -> Packet:
    """The same packet, sent once more."""
    return Packet(packet.device_id, packet.channel, packet.payload, packet.ts_ms, packet.digests, again=True)


def make_world(settings: Settings, profiles: Mapping[str, Profile]) -> World:
    """Make a fleet over the given profiles; models that nobody simulates are left out."""
    root = np.random.SeedSequence(settings.seed)
    plan_rng, *device_seeds = (np.random.default_rng(seed) for seed in root.spawn(settings.devices + 1))
    products = [product for product in PRODUCTS if product.model in profiles]
    kinds = _fault_plan(settings, _models(settings.devices, products, plan_rng), plan_rng)
    devices = [
        _make_device(number, product, kind, settings=settings, profile=profiles[product.model], rng=rng)
        for number, ((product, kind), rng) in enumerate(zip(kinds, device_seeds, strict=True), start=1)
    ]
    return World(settings, devices)


def _models(count: int, products: Sequence[Product], rng: np.random.Generator) -> list[Product]:
    shares = np.array([product.share for product in products])
    ends = np.round(np.cumsum(shares / shares.sum()) * count).astype(int)
    models = [products[int(np.searchsorted(ends, n, side="right"))] for n in range(count)]
    return [models[int(n)] for n in rng.permutation(count)]


def _fault_plan(
    settings: Settings, models: Sequence[Product], rng: np.random.Generator
) -> list[tuple[Product, FaultKind | None]]:
    """Which device gets which fault: the kinds in turn, each to a random device that can have it, and one cohort."""
    fate: dict[int, FaultKind] = {}
    cohort = [n for n, product in enumerate(models) if FaultKind.BAD_FIRMWARE in product.faults]
    if FaultKind.BAD_FIRMWARE not in settings.faults.kinds and settings.faults.share > 0 and len(cohort) > 2:
        for n in rng.permutation(cohort)[: max(2, len(cohort) // 10)]:
            fate[int(n)] = FaultKind.BAD_FIRMWARE
    order = [int(n) for n in rng.permutation(len(models)) if int(n) not in fate]
    turns = [
        settings.faults.kinds[n % len(settings.faults.kinds)] for n in range(round(settings.faults.share * len(models)))
    ]
    for turn, kind in enumerate(turns):
        able = [n for n in order if kind in models[n].faults]
        if able:  # spread over the products that can have it, so that no product has all the bad luck
            names = sorted({models[n].model for n in able})
            wanted = names[turn // len(settings.faults.kinds) % len(names)]
            chosen = next(n for n in able if models[n].model == wanted)
            fate[chosen] = kind
            order.remove(chosen)
    return [(product, fate.get(n)) for n, product in enumerate(models)]


def _make_device(
    number: int,
    product: Product,
    kind: FaultKind | None,
    *,
    settings: Settings,
    profile: Profile,
    rng: np.random.Generator,
) -> Device:
    span = settings.span
    device_id = f"{settings.prefix}{product.model}-{number:04d}"
    person = make_person(number, span, rng)
    labels = () if kind is None else (_label(device_id, product, kind, settings=settings, profile=profile, rng=rng),)
    mess = make_mess(settings.messy, product.sync, span, rng)
    interval_s = profile.reporting_interval or product.interval_s
    ts_s = np.arange(span.start_s + float(rng.uniform(1, interval_s)), span.end_s, interval_s)
    ts_s = np.round(ts_s + rng.uniform(-0.02, 0.02, len(ts_s)) * interval_s, 3)
    same = deepcopy(rng)
    life = product.live(Scene(person, ts_s, labels, profile, rng))
    sendings = deliver(life, sync=product.sync, mess=mess, labels=labels, span=span, rng=rng)
    firmware = _firmware(product, labels, span, rng)
    told = skewed(life, mess)
    firmwares = [firmware[1] if ts >= firmware[2] else firmware[0] for ts in told.ts_s.tolist()]
    encoder = Encoder(told, firmwares, _booleans(profile), words=product.sync.words)
    healthy: Encoder | None = None
    if any(label.kind in kinds for label in labels for kinds in product.mends.values()):
        well = product.live(Scene(person, ts_s, (), profile, same))  # the same chance, without the fault
        healthy = Encoder(replace(told, metrics=well.metrics), firmwares, _booleans(profile), words=product.sync.words)
    return Device(
        device_id=device_id,
        secret=base64.urlsafe_b64encode(rng.bytes(32)).rstrip(b"=").decode(),
        product=product,
        person=person,
        firmware=firmware,
        labels=labels,
        mess=mess,
        sendings=sendings,
        encoder=encoder,
        healthy=healthy,
        temper=_temper(device_id, settings.seed),
        rng=rng,
        grants=_grants(rng),
    )


def _temper(device_id: str, seed: int) -> Temper:
    """Drawn apart from everything else, so that it changes nothing else."""
    luck = np.random.default_rng([seed, crc32(device_id.encode())]).random()
    return next(temper for temper, until in _TEMPERS if luck < until)


def _booleans(profile: Profile) -> frozenset[str]:
    """State metrics that know only two values."""
    return frozenset(
        name
        for name, metric in profile.metrics.items()
        if metric.kind is MetricKind.STATE and metric.maximum in {None, 1.0}
    )


def _label(
    device_id: str, product: Product, kind: FaultKind, *, settings: Settings, profile: Profile, rng: np.random.Generator
) -> Label:
    span, within = settings.span, settings.faults.within
    stretch = within[int(rng.integers(len(within)))] if within else span
    starts_at_s, ends_at_s = when(stretch, settings.faults.healing, rng)
    if kind is FaultKind.BAD_FIRMWARE:  # a roll-out reaches everybody at about the same time, and stays
        first = within[0] if within else span
        starts_at_s = first.start_s + 0.6 * first.days * DAY_S + float(rng.uniform(0, DAY_S / 4))
        ends_at_s = None
    elif kind is FaultKind.SILENCE and ends_at_s is not None:  # a dead module is not replaced in a day or two
        ends_at_s = starts_at_s + 1.6 * (ends_at_s - starts_at_s)
        ends_at_s = ends_at_s if ends_at_s < span.end_s - DAY_S / 2 else None
    trace = product.faults[kind]
    lasts_s = (span.end_s if ends_at_s is None else ends_at_s) - starts_at_s
    return Label(device_id, kind, starts_at_s, ends_at_s, trace, is_watched(profile, kind, trace, lasts_s))


def _firmware(
    product: Product, labels: Sequence[Label], span: Span, rng: np.random.Generator
) -> tuple[str, str, float]:
    *good, newest = product.firmwares
    before = good[int(rng.integers(len(good)))]
    for label in labels:
        if label.kind is FaultKind.BAD_FIRMWARE:
            return before, newest, label.starts_at_s
    updated = rng.random() < 0.3
    return before, good[-1] if updated else before, float(rng.uniform(span.start_s, span.end_s))


def _grants(rng: np.random.Generator) -> dict[str, str]:
    """What the owner allows: nearly everyone a case, some of them messages, a few nothing at all."""
    refuses, email, sms = rng.random() < 0.05, rng.random() < 0.6, rng.random() < 0.3
    grants = {"service:crm": "refused"} if refuses else {}
    grants["service:email"] = "given" if email and not refuses else "refused"
    if sms and not refuses:
        grants["service:sms"] = "given"
    return grants
