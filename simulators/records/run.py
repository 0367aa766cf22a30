"""`careloop simulate records`: labelled records of machines through `careloop detect`, and how well it did."""

import csv
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from simulators.records.baseline import rolling_z
from simulators.records.faults import FaultKind
from simulators.records.machine import Floats
from simulators.records.record import Cadence, Record, make_records, write_table
from simulators.records.score import (
    Alarms,
    AlarmScore,
    Span,
    alarms_above,
    area_under_curve,
    limit_for,
    score_alarms,
)
from simulators.scoring import detect, scoring

TUNING: Final = (1, 2)
HELD_OUT: Final = (101, 102)
"""Nothing may be chosen by how well it does on these."""
SCORE_LIMIT: Final = 0.15
"""Of `careloop detect --scores`, for rows: about the best one threshold for all records of the tuning seeds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found in the records of one cadence."""

    cadence: Cadence
    alarms: AlarmScore
    scores: AlarmScore  # of the rows at or above SCORE_LIMIT
    area: float
    plain: AlarmScore  # the rolling z-score, at as many false alarms
    plain_area: float


@dataclass(frozen=True, slots=True)
class _Plan:
    cadence: Cadence
    seeds: Sequence[int]
    count: int
    folder: Path

    def file(self, ending: str) -> Path:
        return self.folder / f"{self.cadence.replace(' ', '-')}.{ending}"


@click.command(short_help="Score the detectors on labelled records of machines.")
@click.option(
    "--records", default=12, show_default=True, type=click.IntRange(1, 1000), help="Of each seed and cadence."
)
@click.option(
    "--cadence",
    "cadences",
    multiple=True,
    type=click.Choice([cadence.value for cadence in Cadence]),
    help="How far rows are apart; all by default.",
)
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep tables, faults and alarms in this folder."
)
@scoring("records", tuning=TUNING, held_out=HELD_OUT)
def records(seeds: Sequence[int], as_json: bool, records: int, cadences: tuple[str, ...], keep: Path | None) -> None:
    """Score the detectors on machines with 5 to 40 sensors, seconds to minutes apart, whose faulty rows are known.

    Runs `careloop detect` on each table, without a profile, once for its alarms and once for its scores. Beside it
    stands a rolling z-score, with the limit at which it raises as many false alarms on these very records.
    """
    with tempfile.TemporaryDirectory(prefix="careloop-records-") as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as pool:
            plans = [_Plan(Cadence(cadence), seeds, records, folder) for cadence in cadences or Cadence]
            outcomes = list(pool.map(_run, plans))
    if as_json:
        plain = {"seeds": list(seeds), "cadences": [_plain(outcome) for outcome in outcomes]}
        click.echo(json.dumps(plain, indent=2))
    else:
        console = Console(highlight=False)
        console.print(_table(outcomes, seeds))
        console.print(_by_kind(outcomes))


def _run(plan: _Plan) -> Outcome:
    drawn = make_records(plan.cadence, plan.seeds, plan.count)
    table = plan.file("csv")
    write_table(drawn, table)
    plan.file("faults.json").write_text(_told_faults(drawn), encoding="utf-8")
    _detect(table, plan.file("alarms.ndjson"))
    _detect(table, plan.file("scores.csv"), "--scores")
    alarms = _read_alarms(drawn, plan.file("alarms.ndjson"))
    scores, plain = _read_scores(plan.file("scores.csv")), {record.name: rolling_z(record.values) for record in drawn}
    found = score_alarms(drawn, alarms)
    return Outcome(
        cadence=plan.cadence,
        alarms=found,
        scores=score_alarms(drawn, alarms_above(scores, SCORE_LIMIT)),
        area=area_under_curve(drawn, scores),
        plain=limit_for(plain, lambda some: score_alarms(drawn, some), found.false),
        plain_area=area_under_curve(drawn, plain),
    )


def _told_faults(drawn: Sequence[Record]) -> str:
    """Where the faults are, in rows of each record, for whoever looks at what was kept."""
    told = {
        record.name: {
            "health": record.health,
            "faults": [{"kind": fault.kind, "first": fault.first, "end": fault.end} for fault in record.faults],
        }
        for record in drawn
    }
    return json.dumps(told, indent=1)


def _detect(table: Path, into: Path, *options: str) -> None:
    with into.open("wb") as sink:
        detect(sink, *options, str(table))


def _read_alarms(drawn: Sequence[Record], told: Path) -> Alarms:
    """The alarms of each record; what is told after a record's end, that it is silent, is left out."""
    records = {record.name: record for record in drawn}
    up: dict[tuple[str, str], Span] = {}
    alarms: dict[str, list[Span]] = defaultdict(list)
    for line in told.read_text(encoding="utf-8").splitlines():
        change = json.loads(line)
        record = records[change["device"]]
        row, alarm = record.row_at(datetime.fromisoformat(change["ts"]).timestamp()), (record.name, change["watch"])
        if change["state"] == "raised" and row < len(record.values):
            watch = change["watch"].partition("-sensor")[0]
            up[alarm] = Span(row, len(record.values), watch)
        elif change["state"] == "cleared" and alarm in up:
            alarms[record.name].append(replace(up.pop(alarm), end=row))
    for (name, _), span in up.items():
        alarms[name].append(span)
    return alarms


def _read_scores(told: Path) -> dict[str, Floats]:
    scores: dict[str, list[float]] = defaultdict(list)
    with told.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            scores[row["device"]].append(float(row["anomaly_score"]))
    return {name: np.array(some) for name, some in scores.items()}


def _plain(outcome: Outcome) -> dict[str, object]:
    return {
        "cadence": outcome.cadence,
        "records": outcome.alarms.records,
        "device_30_days": round(outcome.alarms.device_30_days, 3),
        "alarms": _plain_score(outcome.alarms),
        "scores": {"limit": SCORE_LIMIT, "area_under_curve": round(outcome.area, 3), **_plain_score(outcome.scores)},
        "rolling_z": {"area_under_curve": round(outcome.plain_area, 3), **_plain_score(outcome.plain)},
    }


def _plain_score(found: AlarmScore) -> dict[str, object]:
    return {
        "faults": len(found.faults),
        "recall": round(found.recall, 3),
        "precision": round(found.precision, 3),
        "event_f1": round(found.event_f1, 3),
        "point_f1": round(found.point_f1, 3),
        "false_alarms": dict(found.false_by),
        "false_alarms_per_record": round(found.false / found.records, 3),
        "false_alarms_per_device_30d": round(found.false_rate, 3),
        "median_delay_s": found.median_delay_s,
        "by_kind": {kind.value: dict(zip(("found", "faults"), found.of_kind(kind), strict=True)) for kind in FaultKind},
    }


def _table(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> Table:
    table = Table(title=f"seeds {', '.join(map(str, seeds))}", title_justify="left", box=None)
    shown = ("recall", "precision", "event F1", "point F1", "false a record", "a month", "delay", "area")
    for name in ("rows apart", "by", *shown):
        table.add_column(name, justify="left" if name in {"rows apart", "by"} else "right")
    for outcome in outcomes:
        for who, found, area in (
            ("alarms", outcome.alarms, None),
            ("rolling z", outcome.plain, outcome.plain_area),
            ("scores", outcome.scores, outcome.area),
        ):
            shares = [f"{share:.2f}" for share in (found.recall, found.precision, found.event_f1, found.point_f1)]
            false = (f"{found.false / found.records:.2f}", f"{found.false_rate:.1f}")
            delay = "" if found.median_delay_s is None else _say_span(found.median_delay_s)
            first = f"{outcome.cadence}, {found.records} records, {len(found.faults)} faults" if who == "alarms" else ""
            table.add_row(first, who, *shares, *false, delay, "" if area is None else f"{area:.2f}")
    return table


def _by_kind(outcomes: Sequence[Outcome]) -> Table:
    """How many faults of each kind were found, of all, by the alarms; and what the false ones are."""
    table = Table(title="found by alarms", title_justify="left", box=None)
    table.add_column("fault")
    for outcome in outcomes:
        table.add_column(outcome.cadence.value, justify="right")
    for kind in FaultKind:
        found = [outcome.alarms.of_kind(kind) for outcome in outcomes]
        table.add_row(kind.value, *(f"{some} of {faults}" for some, faults in found))
    false = sum((Counter(outcome.alarms.false_by) for outcome in outcomes), Counter[str]())
    said = ", ".join(f"{watch} {number}" for watch, number in false.most_common())
    table.caption = f"false alarms: {said or 'none'}"
    table.caption_justify = "left"
    return table


def _say_span(span_s: float) -> str:
    if span_s < 120:
        return f"{span_s:.0f} s"
    return f"{span_s / 60:.0f} min" if span_s < 7200 else f"{span_s / 3600:.1f} h"
