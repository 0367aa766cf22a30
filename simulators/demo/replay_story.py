"""What became of real data that was played: each alarm in its own words, with the case that it led to."""

from collections.abc import Sequence
from typing import Final, cast

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from devices.clock import to_datetime
from simulators.api_client import Json, epoch_s
from simulators.demo.story import case_of
from simulators.words import count

_MOST: Final = 12


def print_alarms(console: Console, alarms: Sequence[Json], cases: Sequence[Json]) -> None:
    """Print what was noticed, oldest first; times are the files' own, read as UTC."""
    if not alarms:
        console.print("Nothing in this data looked like a fault.", style="dim")
        console.print()
        return
    console.print(Text("What was noticed", style="bold"))
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(style="cyan", no_wrap=True)
    lines.add_column(ratio=1)
    for alarm in sorted(alarms, key=lambda alarm: epoch_s(alarm["started_at"]))[:_MOST]:
        since = to_datetime(epoch_s(alarm["started_at"]))
        lines.add_row(f"{since:%d %b %Y %H:%M}", str(alarm["device_id"]), _words(alarm, cases))
    console.print(Padding(lines, (0, 0, 0, 2)))
    if len(alarms) > _MOST:
        console.print(f"  and {count(len(alarms) - _MOST, 'more alarm')}", style="dim")
    console.print()


def _words(alarm: Json, cases: Sequence[Json]) -> str:
    explanation = cast("Json", alarm.get("explanation") or {})
    case = case_of(str(alarm["alarm_id"]), cases)
    led = "no case" if case is None else f"case {case['state']}"
    return f"{alarm['watch']} ({alarm['severity']}), now {alarm['state']}, {led}: {explanation.get('text', '')}"
