"""The scorecard as it is printed."""

from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulators.crm.misbehave import Whim
from simulators.demo.imitation import Crm
from simulators.demo.run import Outcome
from simulators.fleet.faults import FaultKind
from simulators.scorecard import DetectionScore, SilentScore
from simulators.words import count

UNWATCHED: Final[Mapping[FaultKind, str]] = {
    FaultKind.BAD_FIRMWARE: "told of many devices at once: careloop simulate rollout",
}
"""Why a kind of fault is not looked for here, where it is not for want of a watch."""


def print_scorecard(console: Console, outcome: Outcome, sandbox: Crm) -> None:
    """Print what came of it, in words for somebody who has to decide."""
    card = outcome.scorecard
    console.print(Text("Scorecard", style="bold"))
    console.print(Padding(_table(outcome, sandbox), (0, 0, 1, 2)))
    if card.detection.injected:
        console.print(Padding(kinds(card.detection), (0, 0, 1, 2)))
    broken = card.broken()
    for words in broken:
        console.print(f"  BROKEN: {words}", style="bold red", highlight=False)
    if not broken:
        console.print("  Nothing acknowledged was lost, nothing is there twice, gateway and CRM agree.", style="green")


def _table(outcome: Outcome, sandbox: Crm) -> Table:
    card = outcome.scorecard
    delivery, detection, cases = card.delivery, card.detection, card.cases
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(ratio=1)
    rows.add_row(
        "readings",
        f"{delivery.published:,} published, {delivery.acknowledged:,} acknowledged: {delivery.stored:,} stored"
        f" + {delivery.quarantined:,} in quarantine; {delivery.lost} lost, {delivery.duplicate_rows} stored twice",
    )
    if detection.injected:
        rows.add_row("found", _found(detection))
        if detection.false_alarms_per_device_30d is not None:
            per_month = f"{detection.false_alarms_per_device_30d:.2f} per device and month"
            rows.add_row("false alarms", per_month + _right(detection))
        if detection.median_time_to_detect_h is not None:
            hours = f"{detection.median_time_to_detect_h:.1f} h"
            rows.add_row("how soon", f"half of the faults within {hours} of their beginning")
    rows.add_row(
        "cases",
        f"{cases.opened} opened, {cases.resolved} resolved, {cases.retracted} retracted; {cases.duplicate} double",
    )
    if card.silent.told:
        rows.add_row("silent fixes", _silently(card.silent))
    records = f"{count(cases.records, 'record')}, {cases.duplicate_records} double, {cases.missing} missing"
    rows.add_row("CRM", records + _met(sandbox))
    if card.alarm_to_crm_p50_s is not None and card.alarm_to_crm_p99_s is not None:
        half, most = f"{card.alarm_to_crm_p50_s:.2f} s", f"{card.alarm_to_crm_p99_s:.2f} s"
        rows.add_row("alarm to CRM", f"{half} for half of them, {most} for 99 of 100, in real time")
    rate = f"{card.readings_per_s:,.0f} readings a second while the fleet lived"
    rows.add_row("speed", f"{rate}; {card.elapsed_s:.0f} s in all")
    if outcome.held:
        rows.add_row("held", f"{count(outcome.held, 'message')} to owners waiting for the morning")
    rows.add_row("database", outcome.database)
    return rows


def _silently(silent: SilentScore) -> str:
    """How many faults were gone before anybody was told of them."""
    told = f"{count(silent.told, 'command')} to products to mend themselves"
    return f"{told}: {count(silent.fixed, 'fault')} fixed before noticed, {silent.people_needed} left to people"


def _found(detection: DetectionScore) -> str:
    watched = sum(kind.watched for kind in detection.by_kind.values())
    found = sum(kind.detected_watched for kind in detection.by_kind.values())
    return f"{found} of {watched} faults that a watch looks for" + (f" ({found / watched:.0%})" if watched else "")


def _right(detection: DetectionScore) -> str:
    if detection.precision is None:
        return ""
    return f"; {detection.precision:.0%} of what it reported was true"


def _met(sandbox: Crm) -> str:
    words = {
        Whim.LATE: "late",
        Whim.THROTTLE: "throttled",
        Whim.UNAVAILABLE: "unavailable",
        Whim.FAIL_AFTER: "500 though done",
        Whim.CUT_AFTER: "cut though done",
        Whim.TWICE: "handled twice",
    }
    met = [f"{sandbox.whims[whim]} {text}" for whim, text in words.items() if sandbox.whims.get(whim)]
    return f"; of {sandbox.requests} requests it answered {', '.join(met)}" if met else ""


def kinds(detection: DetectionScore) -> Table:
    """What was found of each kind of fault."""
    rows = Table(box=None, padding=(0, 2), header_style="dim")
    rows.add_column("fault", no_wrap=True)
    rows.add_column("injected", justify="right", no_wrap=True)
    rows.add_column("found", justify="right", no_wrap=True)
    rows.add_column("found after", justify="right", no_wrap=True)
    rows.add_column("")  # on a narrow terminal this one breaks, and no figure is cut short
    for kind, found in detection.by_kind.items():
        soon = "" if found.median_time_to_detect_h is None else f"{found.median_time_to_detect_h:.1f} h"
        note = "" if found.watched else UNWATCHED.get(kind, "no watch of these profiles is for it")
        name = kind.value.replace("_", " ")
        rows.add_row(name, str(found.injected), str(found.detected), soon, note, style="" if found.watched else "dim")
    return rows
