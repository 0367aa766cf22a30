"""`careloop demo`: everything on one machine, in a minute."""

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from devices.profiles import load_profiles
from simulators.api_client import GatewayAway
from simulators.command import INTERRUPTED, interrupted_by_signals
from simulators.demo.casts import FleetCast, ReplayCast, span_until_today
from simulators.demo.gateway_process import scratch_folder
from simulators.demo.imitation import NAMED
from simulators.demo.plain import make_console
from simulators.demo.progress import LineProgress, LiveProgress, Progress
from simulators.demo.replay_story import print_alarms
from simulators.demo.run import LIVES_ON_DAYS, PROPOSING_DAYS, DemoPlan, Outcome, Stage
from simulators.demo.story import choose, print_story
from simulators.demo.verdict import print_scorecard
from simulators.fleet.drive import Pace
from simulators.fleet.habits import DAY_S, HOUR_S, Span
from simulators.fleet.link import Refused
from simulators.fleet.world import Settings
from simulators.reckoning import seen_alarms
from simulators.replay import UnreadableSeries
from simulators.scorecard import match
from simulators.words import count

GUEST = "demo"
"""Who may sign in at a demo's console."""


@click.command(short_help="Run everything on this machine, with a scorecard.")
@click.option("--devices", default=120, show_default=True, type=click.IntRange(1, 5000), help="How many devices live.")
@click.option("--days", default=21.0, show_default=True, type=click.FloatRange(1, 366), help="For how many days.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same fleet with the same faults.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the scorecard as JSON.")
@click.option(
    "--serve/--no-serve",
    default=None,
    help="Afterwards the console stays up and the fleet lives on, with further faults, until Ctrl-C; the default where "
    "somebody watches on a terminal.",
)
@click.option(
    "--replay",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Play this CSV file of real data (timestamp,value) instead of a fleet; may be given several times.",
)
@click.option(
    "--crm",
    "flavour",
    type=click.Choice(["webhook", *NAMED]),
    default="webhook",
    show_default=True,
    help="The CRM: a receiver of careloop's own messages, or the imitation of a named one.",
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Keep settings, logs and data here.")
def demo(  # noqa: PLR0917 - each is an option of the command
    devices: int,
    days: float,
    seed: int,
    report: Path | None,
    serve: bool | None,
    files: tuple[Path, ...],
    flavour: str,
    folder: Path | None,
) -> None:
    """Run everything on this machine: a database, the gateway, a fleet that lives DAYS in a minute, and a CRM.

    Devices fall ill as the simulator decides; careloop must notice, open one case each, and close it again. Afterwards
    one fault is told from its first reading to its end, and a scorecard compares what the simulator and the CRM know
    with what the gateway holds. Exit code 1 if anything was lost, doubled or missing.
    """
    console = make_console()
    serves = console.is_terminal if serve is None else serve
    try:
        with interrupted_by_signals(), scratch_folder(folder) as place:
            real = ReplayCast.read(files, seed) if files else None
            span = span_until_today(days) if real is None else real.world.span
            plan = DemoPlan(
                seed=seed,
                folder=place,
                database_url=os.environ.get("CARELOOP_DATABASE__URL", ""),
                pace=Pace(step_s=min(max(span.days * DAY_S / 600, HOUR_S), DAY_S / 2), ahead=1),
                crm=flavour if flavour in NAMED else "",
            )
            with Stage(plan, span.start_s) as stage:
                stage.gateway.launch()
                settings = Settings(devices=devices, span=span, seed=seed)
                cast = real or FleetCast.make(settings, load_profiles(), LIVES_ON_DAYS if serves else 0.0)
                outcome = _run(console, stage, cast)
                _tell(console, stage, cast, outcome)
                written = json.dumps(outcome.scorecard.as_json(), indent=2) + "\n"
                stage.gateway.plan.scorecard.write_text(written, encoding="utf-8")
                if report is not None:
                    report.write_text(written, encoding="utf-8")
                if serves:
                    _serve(console, stage, cast)
    except UnreadableSeries as error:
        console.print(str(error), style="bold red", soft_wrap=True)
        sys.exit(2)
    except (GatewayAway, Refused, OSError) as error:
        console.print(str(error), style="bold red")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped", style="dim")
        sys.exit(INTERRUPTED)
    sys.exit(1 if outcome.scorecard.broken() else 0)


def _run(console: Console, stage: Stage, cast: FleetCast | ReplayCast) -> Outcome:
    database = stage.open(cast)
    devices = count(len(cast.device_ids), "device")
    lives = "lives" if len(cast.device_ids) == 1 else "live"
    title = f"careloop demo: {devices} {lives} {count(round(cast.played.days), 'day')} on {database}"
    with _progress(console, stage, cast.played, title) as progress:
        playing_s = stage.play(progress)
        held = stage.drain(progress)
    return stage.judge(cast, playing_s, held)


def _progress(console: Console, stage: Stage, span: Span, title: str) -> Progress:
    kind = LiveProgress if console.is_terminal else LineProgress
    return kind(console, span, stage.ledger, stage.sandbox, title)


def _tell(console: Console, stage: Stage, cast: FleetCast | ReplayCast, outcome: Outcome) -> None:
    console.print()
    book = stage.sandbox.book
    if isinstance(cast, FleetCast):
        findings = match(cast.labels, seen_alarms(outcome.alarms))
        thread = choose(cast.world.devices, cast.labels, findings.found, outcome.alarms, outcome.cases)
        print_story(console, thread, book, outcome.waits_s)
        silent = choose(cast.world.devices, cast.labels, findings.found, outcome.alarms, outcome.cases, silently=True)
        if silent is not None:
            print_story(console, silent, book, outcome.waits_s)
    else:
        print_alarms(console, outcome.alarms, outcome.cases)
    print_scorecard(console, outcome, stage.sandbox)


def _serve(console: Console, stage: Stage, cast: FleetCast | ReplayCast) -> None:
    address = stage.gateway.address
    password = stage.gateway.let_in(GUEST)
    if isinstance(cast, FleetCast):
        console.print()
        coming = Span(cast.played.end_s, PROPOSING_DAYS)
        with _progress(console, stage, coming, "The fleet lives on; every watch asks first now") as progress:
            stage.live_on(cast, progress)
    console.print("\nThe console is open; Ctrl-C ends the demo.", style="bold")
    console.print(f"  console   {address.api_url}/", soft_wrap=True)
    console.print(f"  sign in   as {GUEST} with the password {password}", highlight=False)
    console.print(f"  API       {address.api_url}/v1/counts")
    console.print(f"  token     {address.api_token}")
    console.print(
        f"  try       curl -H 'Authorization: Bearer {address.api_token}' {address.api_url}/v1/cases", soft_wrap=True
    )
    console.print(f"  MQTT      {address.listen_host}:{address.listen_port}")
    stage.stay()
