"""A gateway and a CRM of their own, on which a fleet is played from its first day to its last."""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

import numpy as np
from rich.console import Console

from simulators.api_client import ApiClient, GatewayAway, Json
from simulators.command import INTERRUPTED, interrupted_by_signals
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from simulators.demo.gateway_process import ENDPOINT, GatewayPlan, GatewayProcess, scratch_folder
from simulators.fleet.clocks import WorldClock
from simulators.fleet.drive import Driver, Pace
from simulators.fleet.habits import DAY_S
from simulators.fleet.ledger import Ledger
from simulators.fleet.link import Refused, Target
from simulators.fleet.packets import Packet
from simulators.fleet.playable import Playable
from simulators.fleet.publish import wait_until_let_in

CAUGHT_UP_WITHIN_S: Final = 120.0
_EDGES_SPEAK_FOR_ALL: Final = """
[[listen.gateways]]
device = "edge-*"
speaks_for = ["*"]
"""


class Fleet(Playable, Protocol):
    """What can be played here: a fleet whose edge nodes speak for its devices."""

    def write_registry(self, path: Path) -> None:
        """Write the registry file."""
        ...


class Tally(Ledger):
    """Counts packets; millions of readings need not be remembered one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.came = 0  # acknowledged

    def sent(self, packet: Packet) -> None:
        """Nothing is kept of it."""
        del packet

    def came_back(self, packet: Packet) -> None:
        """One more."""
        del packet
        self.came += 1


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a fleet is played: the gateway's API and doors, and the clock that it is held to."""

    api: ApiClient
    target: Target
    world: WorldClock
    callback_url: str  # at which the CRM calls back
    crm_secret: str
    config: Path  # the gateway's settings
    ledger: Tally

    def play(self, fleet: Fleet, step_s: float, reached: Callable[[float], None]) -> None:
        """Live the fleet's whole span; `reached` hears of each moment that the clock was let on to."""

        def reach(moment_s: float) -> None:
            self.world.reach(moment_s)
            self.api.hold_clock(moment_s)
            reached(moment_s)

        Driver(fleet, self.target, Pace(step_s=step_s, ahead=1, window=200), self.ledger, reach).run()

    def wait_for_cases(self, is_done: Callable[[], bool] = lambda: True) -> None:
        """Wait until no alarm waits to be worked, and what else is asked for. Raises GatewayAway."""
        deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
        while cast("Json", self.api.counts()["inbox"])["pending"] or not is_done():
            if time.monotonic() > deadline:
                raise GatewayAway(f"its cases did not catch up within {CAUGHT_UP_WITHIN_S:.0f} s")
            time.sleep(0.02)


@contextmanager
def open_stage(
    fleet: Fleet, folder: Path, rng: np.random.Generator, *, step_s: float, more: str = ""
) -> Generator[Stage]:
    """A gateway with the fleet in its registry, and a well-behaved CRM, until it is left; `more` are further settings.

    The database is the one that the environment names for careloop, else the embedded one.
    """
    secret, world = new_secret(rng), WorldClock(fleet.span.start_s)
    sandbox = SandboxPlan(secret, Misbehaviour.none(), AgentHabits(takes_up=0.0), int(rng.integers(2**31)))
    with make_sandbox(sandbox, world, lambda: None) as crm:
        plan = GatewayPlan(
            folder=folder,
            start_s=fleet.span.start_s,
            token=secrets.token_urlsafe(24),
            crm_url=crm.url,
            crm_secret=secret,
            far_future_s=DAY_S + 4 * step_s,
            database_url=os.environ.get("CARELOOP_DATABASE__URL", ""),
            poll_s=0.1,
            silent_fixes=False,  # these fleets obey nothing
            more=more + _EDGES_SPEAK_FOR_ALL,
        )
        with GatewayProcess(plan) as process:
            registry = folder / "registry.json"
            fleet.write_registry(registry)
            process.wait_until_ready()
            process.import_registry(registry)
            address = process.address
            with ApiClient(address.api_url, address.api_token) as api:
                target = Target(address.listen_host, address.listen_port)
                wait_until_let_in(target, fleet.accounts()[0])
                callback_url = f"{address.api_url}/v1/callbacks/{ENDPOINT}"
                yield Stage(api, target, world, callback_url, secret, plan.config, Tally())


Result = TypeVar("Result")


def play_in(folder: Path | None, console: Console, play: Callable[[Path], Result]) -> Result:
    """Play in a folder that is kept, or else in one that is not.

    Exits with 1 and the reason where it came to grief, and with 130, everything ended, where a signal interrupted it.
    """
    try:
        with interrupted_by_signals(), scratch_folder(folder) as place:
            return play(place)
    except (GatewayAway, Refused, OSError) as error:
        console.print(str(error), style="bold red")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped", style="dim")
        sys.exit(INTERRUPTED)


def write_report(report: Path | None, figures: object) -> None:
    """Write figures as JSON, where a file was named."""
    if report is not None:
        report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
