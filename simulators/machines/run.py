"""`careloop simulate machines`: fleets that run to failure through `careloop detect -`, and how early it told."""

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from simulators.machines.plant import Plant, Unit, lines_of, make_fleet
from simulators.machines.score import MachineScore, plain_z, score
from simulators.scoring import detect, scoring

TUNING: Final = (1, 2, 3)
HELD_OUT: Final = (101, 102, 103)
"""Nothing may be chosen by how well it does on these."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found in the fleets of one plant."""

    plant: Plant
    careloop: MachineScore
    plain: MachineScore
    kinds: dict[str, int]  # of the units' first alarms


@click.command(short_help="Score the detectors on machines that run to failure.")
@click.option("--units", default=100, show_default=True, type=click.IntRange(1, 1000), help="In each fleet.")
@click.option(
    "--plant",
    "plants",
    multiple=True,
    type=click.Choice([plant.value for plant in Plant], case_sensitive=False),
    help="All of them by default.",
)
@scoring("fleets", tuning=TUNING, held_out=HELD_OUT)
def machines(seeds: Sequence[int], as_json: bool, units: int, plants: tuple[str, ...]) -> None:
    """Score the detectors on machines that run until they fail: about twenty sensors in noise, a reading a cycle.

    Runs `careloop detect -` on each fleet, without a profile, and compares first alarms with the ends. Each fleet is
    also scored by a plain smoothed z-score. The calm plant's units do not fail: an alarm there is a false one.
    """
    outcomes = [_run(Plant(plant), seeds, units) for plant in plants or Plant]
    if as_json:
        click.echo(json.dumps({"seeds": list(seeds), "plants": [asdict(outcome) for outcome in outcomes]}, indent=2))
    else:
        Console(highlight=False).print(_table(outcomes, seeds))


def _run(plant: Plant, seeds: Sequence[int], units: int) -> Outcome:
    fleet: list[Unit] = []
    first: dict[str, int] = {}
    kinds: Counter[str] = Counter()
    for seed in seeds:
        some = make_fleet(plant, seed, units)
        some = [Unit(f"{seed}-{unit.name}", unit.start_s, unit.cycle_s, unit.readings) for unit in some]
        for name, (cycle, kind) in _detect(some).items():
            first[name] = cycle
            kinds[kind] += 1
        fleet += some
    return Outcome(plant, score(fleet, first), score(fleet, plain_z(fleet)), dict(kinds.most_common()))


def _detect(fleet: Sequence[Unit]) -> dict[str, tuple[int, str]]:
    """Each unit's first alarm, by a process of its own: the cycle and the kind; silences after the end do not count."""
    units = {unit.name: unit for unit in fleet}
    with tempfile.TemporaryFile() as readings, tempfile.TemporaryFile() as told:
        readings.writelines(lines_of(fleet))
        readings.seek(0)
        detect(told, "-", readings=readings)
        told.seek(0)
        lines = told.readlines()
    first: dict[str, tuple[int, str]] = {}
    for line in lines:
        change = json.loads(line)
        unit = units[change["device"]]
        cycle = int((datetime.fromisoformat(change["ts"]).timestamp() - unit.start_s) // unit.cycle_s)
        if change["state"] == "raised" and cycle < unit.cycles:
            first.setdefault(unit.name, (cycle, change["kind"]))
    return first


def _table(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> Table:
    table = Table(title=f"seeds {', '.join(map(str, seeds))}", title_justify="left", box=None)
    for name in ("plant", "units", "by", "median lead", "warned ≥ 20 ahead", "alarmed > 125 early", "first alarms"):
        table.add_column(name, justify="left" if name in {"plant", "by", "first alarms"} else "right")
    for outcome in outcomes:
        kinds = ", ".join(f"{kind} {number}" for kind, number in outcome.kinds.items())
        for who, found, said in (("careloop", outcome.careloop, kinds), ("plain z-score", outcome.plain, "")):
            shares = (f"{100 * found.warned:.1f} %", f"{100 * found.too_early:.1f} %")
            table.add_row(outcome.plant.value, str(found.units), who, f"{found.median_lead:.0f}", *shares, said)
    return table
