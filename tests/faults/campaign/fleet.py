"""The devices of a campaign: which there are, which connection each has, and how they are registered."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.campaign.world import PASSWORD
from tests.ledger.plan import DevicePlan
from tests.ledger.sender import Line

HOUR_MS = 3_600_000
ILL_READINGS = 24
ILL_FROM = 10


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the doors are."""

    listen: int
    broker: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """`now_ms` is when the campaign began; `load` scales how much is published."""

    now_ms: int
    ports: Ports
    load: float = 1.0

    def lines(self) -> list[Line]:
        """The connections that live as long as the campaign."""
        first_ms = self.now_ms - 8 * HOUR_MS
        steady = [DevicePlan(f"probe-{n}", first_ms, 1000, bad_each=53, hot_each=600, hot_for=14) for n in range(10)]
        years, a_day = 15, 8  # a partition or chunk more every few rounds, and an end before the future
        historian = DevicePlan(
            "historian", self.now_ms - years * 365 * 24 * HOUR_MS, 24 * HOUR_MS // a_day, readings=years * 365 * a_day
        )
        free = [DevicePlan(f"free-{n}", first_ms, 1000) for n in range(2)]
        versions = itertools.cycle((4, 5))
        own = [
            self._line("listen", device.device_id, (device,), next(versions), 60)
            for device in (*steady[:4], historian, free[0])
        ]
        shared = [steady[4:6], steady[6:8], [*steady[8:], free[1]]]
        by_broker = [
            self._line("broker", f"hub-{n}", tuple(devices), next(versions), 110) for n, devices in enumerate(shared)
        ]
        return [*own, *by_broker]

    def ill(self, round_number: int) -> list[Line]:
        """Two devices that fall ill in a round: each one fault, which has to make one case."""
        first_ms = self.now_ms - 3 * HOUR_MS
        plans = [
            DevicePlan(name, first_ms, 60_000, ill_from=ILL_FROM, readings=ILL_READINGS)
            for name in ill_of(round_number)
        ]
        return [
            self._line(via, plan.device_id, (plan,), 5, 12)
            for via, plan in zip(("listen", "broker"), plans, strict=True)
        ]

    def marker(self) -> Line:
        """Speaks last in each round: what it says reaches careloop after all that the broker has for careloop."""
        plan = DevicePlan("marker", self.now_ms - HOUR_MS, 1000)
        return self._line("broker", "marker", (plan,), 5, 1)

    def _line(self, via: str, client_id: str, devices: tuple[DevicePlan, ...], version: int, rate: float) -> Line:
        port = self.ports.listen if via == "listen" else self.ports.broker
        return Line(via, client_id, port, PASSWORD, devices, version, rate * self.load)


def ill_of(round_number: int) -> tuple[str, str]:
    """The devices that fall ill in a round."""
    return f"ill-l{round_number}", f"ill-b{round_number}"


def registry(fleet: Fleet, rounds: int) -> Iterator[Mapping[str, Any]]:
    """What `careloop devices import` is given."""
    names = [device.device_id for line in (*fleet.lines(), fleet.marker()) for device in line.devices]
    names += [name for number in range(rounds) for name in ill_of(number)]
    for name in names:
        entry: dict[str, Any] = {"device_id": name, "password": PASSWORD, "generated": True}
        if not name.startswith("free-"):
            entry["model"] = "probe"
        yield entry
