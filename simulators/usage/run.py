"""`careloop simulate usage`: populations through `careloop detect -`, and how well it did."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from simulators.scoring import detect, scoring
from simulators.usage.population import Device, Plan, lines_of, make_population
from simulators.usage.score import KindScore, Raised, UsageScore, merge, score

TUNING: Final = (1, 2, 3, 4)
HELD_OUT: Final = (101, 102, 103, 104)
"""Nothing may be chosen by how well it does on these."""


@click.command(short_help="Score the detectors on hourly usage with faults.")
@click.option("--devices", default=60, show_default=True, type=click.IntRange(1, 5000), help="In each population.")
@click.option("--days", default=90, show_default=True, type=click.IntRange(30, 730), help="Days that they live.")
@click.option("--machines", default=0.25, show_default=True, type=click.FloatRange(0, 1), help="Share of machines.")
@click.option("--trackers", is_flag=True, help="Fitness trackers with their many columns, in place of plain bands.")
@click.option("--complete", is_flag=True, help="Wearables that tell of every hour, also of those in a drawer.")
@click.option("--one-metric", is_flag=True, help="Faults of one metric each, in place of those of whole devices.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep readings, faults and alarms in this folder."
)
@scoring("populations", tuning=TUNING, held_out=HELD_OUT)
def usage(  # noqa: PLR0917 - each is an option of the command
    seeds: Sequence[int],
    as_json: bool,
    devices: int,
    days: int,
    machines: float,
    trackers: bool,
    complete: bool,
    one_metric: bool,
    keep: Path | None,
) -> None:
    """Score the detectors on people's wearables and machines: hourly data, a quarter missing, faults injected.

    Runs `careloop detect -` on each population, without a profile, and compares its alarms with the faults.
    """
    plans = [Plan(seed, devices, days, machines, trackers, one_metric, complete) for seed in seeds]
    with tempfile.TemporaryDirectory(prefix="careloop-usage-") as scratch, ThreadPoolExecutor(2) as pool:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        scores = list(pool.map(_scorer(folder), plans))
    result = merge(scores)
    if as_json:
        click.echo(json.dumps(_plain(result, seeds), indent=2))
    else:
        Console(highlight=False).print(_table(result, seeds))


def _scorer(folder: Path) -> Callable[[Plan], UsageScore]:
    def run(plan: Plan) -> UsageScore:
        population = make_population(plan)
        raised = _detect(population, plan, folder)
        return score(population, plan.calendar.hours, raised)

    return run


def _detect(population: Sequence[Device], plan: Plan, folder: Path) -> list[Raised]:
    """Let a process of its own judge the readings, in the order of their arrival."""
    readings, alarms = folder / f"readings-{plan.seed}.ndjson", folder / f"alarms-{plan.seed}.ndjson"
    with readings.open("wb") as file:
        file.writelines(lines_of(population, plan.calendar))
    faults = {
        device.name: {"kind": device.fault.kind, "start": device.fault.start, "end": device.fault.end}
        for device in population
        if device.fault is not None
    }
    (folder / f"faults-{plan.seed}.json").write_text(json.dumps(faults, indent=1), encoding="utf-8")
    with readings.open("rb") as source, alarms.open("wb") as sink:
        detect(sink, "-", readings=source)
    changes = [json.loads(line) for line in alarms.read_text(encoding="utf-8").splitlines()]
    start_s = plan.calendar.start_s
    return [
        Raised(change["device"], (datetime.fromisoformat(change["ts"]).timestamp() - start_s) / 3600, change["kind"])
        for change in changes
        if change["state"] == "raised"
    ]


def _plain(result: UsageScore, seeds: Sequence[int]) -> dict[str, object]:
    return {
        "seeds": list(seeds),
        "figure": round(result.figure, 1),
        "false_alarms_per_device_30d": round(result.false_rate, 3),
        "precision": round(result.precision, 3),
        "total": _plain_kind(result.total),
        "kinds": {name: _plain_kind(kind) for name, kind in result.kinds.items()},
        "false_alarms": dict(result.false_alarms),
        "device_30_days": round(result.device_30_days, 1),
    }


def _plain_kind(kind: KindScore) -> dict[str, object]:
    return {
        "faults": kind.faults,
        "recall": round(kind.found / kind.faults, 3) if kind.faults else None,
        "median_time_to_detect_h": kind.median_h,
        "timely_credit": round(kind.credit, 3),
        "found_by": dict(kind.by),
    }


def _table(result: UsageScore, seeds: Sequence[int]) -> Table:
    names = ", ".join(str(seed) for seed in seeds)
    table = Table(title=f"seeds {names}: figure {result.figure:.1f}", title_justify="left", box=None)
    for name in ("fault", "faults", "recall", "median h", "credit", "found first by"):
        table.add_column(name, justify="left" if name in {"fault", "found first by"} else "right")
    for name, kind in (*result.kinds.items(), ("all", result.total)):
        table.add_row(
            name,
            str(kind.faults),
            f"{kind.found / kind.faults:.2f}" if kind.faults else "",
            "" if kind.median_h is None else f"{kind.median_h:.0f}",
            f"{kind.credit:.2f}",
            _say(kind.by),
        )
    false = f"{result.false_rate:.3f} per device and 30 days: {_say(result.false_alarms)}"
    table.caption = f"false alarms {false}\nprecision {result.precision:.2f}"
    table.caption_justify = "left"
    return table


def _say(by: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in by.items())
