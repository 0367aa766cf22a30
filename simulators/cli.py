"""`careloop simulate`: a fleet, real series, or a CRM, against any gateway or broker."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console

from devices.clock import SystemClock, to_datetime
from devices.profiles import load_profiles
from simulators.api_client import GatewayAway
from simulators.budget.cli import budget
from simulators.connect import Where, where_options
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.sandbox import RECORDS, Handled
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from simulators.crm.vendors.serve import FLAVOURS, VendorPlan, run_vendor
from simulators.demo.casts import span_until_today
from simulators.fleet.drive import Driver, Pace
from simulators.fleet.ledger import Ledger
from simulators.fleet.link import NobodyAnswers, Refused
from simulators.fleet.playable import Playable
from simulators.fleet.publish import wait_until_let_in
from simulators.fleet.registry import write_registry
from simulators.fleet.world import Settings, make_world
from simulators.machines.run import machines
from simulators.records.run import records
from simulators.replay import Playback, UnreadableSeries, read_series, write_playback_registry
from simulators.rollout.cli import rollout
from simulators.usage.run import usage
from simulators.words import count

_LINE_EVERY_S: Final = 2.0

WINDOW: Final = 200  # well below what gateways and brokers let a connection leave unanswered
STEPS_AHEAD: Final = 500  # nobody holds a clock for us: only the window of each device limits us


@click.group()
def simulate() -> None:
    """Play devices or a CRM, against any gateway or broker."""


simulate.add_command(budget)
simulate.add_command(usage)
simulate.add_command(machines)
simulate.add_command(records)
simulate.add_command(rollout)


@simulate.command(short_help="Let a fleet of persons and ailing devices live.")
@click.option("--devices", default=100, show_default=True, type=click.IntRange(1, 50_000), help="How many.")
@click.option("--days", default=7.0, show_default=True, type=click.FloatRange(0.05, 366), help="Days, up to today.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same fleet.")
@click.option("--speed", type=float, help="Simulated seconds a second; as fast as acknowledgements come without it.")
@click.option("--device-prefix", default="", help="Put before every device id.")
@click.option(
    "--registry",
    default=Path("fleet.json"),
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the registry file is written; it holds the devices' secrets.",
)
@where_options
def fleet(  # noqa: PLR0917 - each is an option of the command
    devices: int, days: float, seed: int, speed: float | None, device_prefix: str, registry: Path, **where: object
) -> None:
    """Let a fleet live: persons with habits, devices that ail, a network that misbehaves."""
    console = Console(highlight=False)
    place = Where(**where)  # pyright: ignore[reportArgumentType]
    settings = Settings(devices=devices, span=span_until_today(days), seed=seed, prefix=device_prefix)
    world = make_world(settings, load_profiles())
    write_registry(world, registry)
    console.print(f"{count(devices, 'device')}, {count(len(world.labels), 'fault')}; registry: {registry}")
    _play(console, world, place, registry, speed)


@simulate.command(short_help="Play CSV files of real data, each as a device.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--speed", type=float, help="Seconds of the data a second; as fast as acknowledgements come without it.")
@click.option("--device-prefix", default="", help="Put before every device id, which is the file's name.")
@click.option(
    "--registry",
    default=Path("replay.json"),
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the registry file is written; it holds the devices' secrets.",
)
@where_options
def replay(files: tuple[Path, ...], speed: float | None, device_prefix: str, registry: Path, **where: object) -> None:
    """Play CSV files of real data (timestamp,value or more columns, also .gz), each as a device."""
    console = Console(highlight=False)
    place = Where(**where)  # pyright: ignore[reportArgumentType]
    try:
        series = [read_series(path, device_prefix) for path in files]
    except UnreadableSeries as error:
        console.print(str(error), style="bold red")
        sys.exit(2)
    rng = np.random.default_rng(np.frombuffer(device_prefix.encode().ljust(8, b"\0")[:8], dtype=np.uint32))
    for one in series:
        one.give_secret(rng)
    playback = Playback(series)
    write_playback_registry(playback, registry)
    console.print(f"{count(len(series), 'device')}, {count(playback.lines, 'line')}; registry: {registry}")
    _play(console, playback, place, registry, speed)


def _play(console: Console, world: Playable, place: Where, registry: Path, speed: float | None) -> None:
    ledger = Ledger()
    try:
        target = place.target()
        target.must_answer()
        accounts = world.accounts()
        if place.introduce(registry):
            wait_until_let_in(target, accounts[0])
        elif target.username is None:
            console.print(f"Introduce them with: careloop devices import {registry}", style="dim")
        began = time.monotonic()
        pace = Pace(ahead=STEPS_AHEAD, window=WINDOW, speed=speed)
        _drive(console, Driver(world, target, pace, ledger, lambda _moment: None), ledger)
    except (GatewayAway, NobodyAnswers, Refused, OSError) as error:
        console.print(str(error), style="bold red")
        sys.exit(1)
    spent = max(time.monotonic() - began, 1e-9)
    distinct = sum(record.distinct for record in ledger.records().values())
    console.print(
        f"published {ledger.published:,}, acknowledged {ledger.acknowledged:,} ({distinct:,} distinct)"
        f" in {spent:.1f} s: {ledger.acknowledged / spent:,.0f}/s"
    )
    sys.exit(0 if ledger.acknowledged == ledger.published else 1)


def _drive(console: Console, driver: Driver, ledger: Ledger) -> None:
    failures: list[Exception] = []

    def run() -> None:
        try:
            driver.run()
        except Exception as error:  # noqa: BLE001  # handed to the thread that shows it
            failures.append(error)

    thread = threading.Thread(target=run, name="fleet", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LINE_EVERY_S)
            console.print(
                f"  {to_datetime(driver.now_s):%Y-%m-%d %H:%M}  published {ledger.published:,}"
                f"  acknowledged {ledger.acknowledged:,}{_lost(driver.troubles)}",
                style="dim",
            )
    except KeyboardInterrupt:
        driver.stop.set()
        thread.join(5)
        console.print("stopped", style="dim")
    if failures:
        raise failures[0]


def _lost(troubles: Sequence[str]) -> str:
    return f"  cannot connect: {count(len(troubles), 'device')}, {troubles[0]}" if troubles else ""


@simulate.command(short_help="Run a CRM to test against, which misbehaves.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8090, show_default=True, help="0 takes a free port.")
@click.option("--flavour", type=click.Choice(FLAVOURS), help="Imitate this one's API, in place of a webhook receiver.")
@click.option("--secret", help="whsec_… that both sides know; one is made and printed without it.")
@click.option("--callback-url", help="Where the agent, or the flavour's hooks, call back: http://…/v1/callbacks/NAME.")
@click.option("--misbehave/--behave", default=True, help="Be late, throttle, fail after the deed, cut connections.")
@click.option("--agent-speed", default=3600.0, show_default=True, help="Agent's seconds a second.")
@click.option("--seed", default=1, show_default=True, help="The same seed misbehaves in the same way.")
def crm(  # noqa: PLR0917 - each is an option of the command
    host: str,
    port: int,
    flavour: str | None,
    secret: str | None,
    callback_url: str | None,
    misbehave: bool,
    agent_speed: float,
    seed: int,
) -> None:
    """Run a CRM to test against: it keeps records, and misbehaves as real ones do."""
    console = Console(highlight=False)
    whims = Misbehaviour() if misbehave else Misbehaviour.none()
    if flavour is not None:
        run_vendor(VendorPlan(flavour, whims, seed, host, port, callback_url), console)
        return
    secret = secret or new_secret(np.random.default_rng())
    habits = _at_speed(AgentHabits(), agent_speed)
    plan = SandboxPlan(secret, whims, habits, seed, host, port)
    with make_sandbox(plan, SystemClock(), lambda: callback_url, _teller(console)) as server:
        console.print(f"listening  {server.url}\nsecret     {secret}\nrecords    {server.origin}{RECORDS}")
        console.print(f"callbacks  {callback_url or 'none: give --callback-url'}")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            book = server.sandbox.book
            console.print(
                f"{len(book.records)} records, {book.duplicate_records} double, {book.seen_again} messages again,"
                f" {book.out_of_order} out of order, {server.sandbox.bad_signatures} with a bad signature"
            )


def _at_speed(habits: AgentHabits, speed: float) -> AgentHabits:
    early, late = habits.takes_up_within_h
    soon, long = habits.resolves_within_h
    return AgentHabits(takes_up_within_h=(early / speed, late / speed), resolves_within_h=(soon / speed, long / speed))


def _teller(console: Console) -> Callable[[Handled], None]:
    colours: Mapping[int, str] = {200: "green", 401: "red", 400: "red"}

    def tell(handled: Handled) -> None:
        message = handled.message
        what = handled.remark if message is None else f"{message.kind}  {message.case_id}  v{message.version}"
        title = "" if message is None else str(message.data.get("title", ""))
        whim = "refused" if handled.whim is None else handled.whim.value
        console.print(
            f"{to_datetime(time.time()):%H:%M:%S}  {handled.status}  {whim:<11}  {what}  {title}",
            style=colours.get(handled.status, "yellow"),
        )

    return tell
