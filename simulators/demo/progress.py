"""The demo's live display; where there is no terminal, a line now and then."""

import math
import time
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from devices.clock import to_datetime
from simulators.crm.misbehave import Whim
from simulators.demo.imitation import Crm
from simulators.demo.state import Standing
from simulators.fleet.habits import DAY_S, Span
from simulators.fleet.ledger import Ledger
from simulators.words import count

LINE_EVERY_S: Final = 5.0


class Progress(Protocol):
    """Shows how far a demo is."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_exception: object) -> None: ...

    def show(self, now_s: float, standing: Standing, doing: str) -> None:
        """The world has come to `now_s`."""
        ...


class _Rate:
    """Acknowledged readings a second over the last few looks."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, int]] = []

    def update(self, count: int) -> float:
        now = time.monotonic()
        self._looks = [look for look in self._looks if now - look[0] < 3.0] + [(now, count)]
        (then, before), spent = self._looks[0], now - self._looks[0][0]
        del then
        return (count - before) / spent if spent > 0.2 else 0.0


def _named(counts: dict[str, int]) -> str:
    return " · ".join(f"{n} {name}" for name, n in counts.items() if n) or "none yet"


class LiveProgress:
    """For a terminal."""

    def __init__(self, console: Console, span: Span, ledger: Ledger, sandbox: Crm, title: str) -> None:
        self._span, self._ledger, self._sandbox, self._title = span, ledger, sandbox, title
        self._rate = _Rate()
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()

    def show(self, now_s: float, standing: Standing, doing: str) -> None:
        """Draw anew."""
        self._live.update(self._panel(now_s, standing, doing))

    def _panel(self, now_s: float, standing: Standing, doing: str) -> RenderableType:
        ledger, book = self._ledger, self._sandbox.book
        day = (now_s - self._span.start_s) / DAY_S
        rate = self._rate.update(ledger.acknowledged)
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", justify="right")
        rows.add_column()
        begun = max(1, math.ceil(day))
        when = Text(f"{to_datetime(now_s):%a %d %b %Y %H:%M} UTC   day {begun} of {self._span.days:g}")
        rows.add_row("simulated", when)
        rows.add_row("", ProgressBar(total=self._span.days, completed=day, width=48))
        rows.add_row(
            "readings", f"{ledger.published:,} published · {ledger.acknowledged:,} acknowledged · {rate:,.0f}/s"
        )
        rows.add_row("quarantine", f"{standing.quarantined:,}")
        rows.add_row("alarms", _named(dict(standing.alarms)))
        rows.add_row("cases", _named(dict(standing.cases)))
        asked = count(self._sandbox.requests, "request")
        rows.add_row("CRM", f"{count(len(book.records), 'record')} · {asked}{self._trouble()}")
        rows.add_row("now", doing)
        return Group(Text(self._title, style="bold"), rows)

    def _trouble(self) -> str:
        bad = sum(n for whim, n in self._sandbox.whims.items() if whim is not Whim.BEHAVE)
        return f", {bad:,} of them mishandled by it" if bad else ""


class LineProgress:
    """For a pipe or a log: a line now and then."""

    def __init__(self, console: Console, span: Span, ledger: Ledger, sandbox: Crm, title: str) -> None:
        self._console, self._span, self._ledger, self._sandbox = console, span, ledger, sandbox
        self._rate = _Rate()
        self._next_at = 0.0
        console.print(title, style="bold", highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None: ...

    def show(self, now_s: float, standing: Standing, doing: str) -> None:
        """Print a line if the last one is old."""
        rate = self._rate.update(self._ledger.acknowledged)
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + LINE_EVERY_S
        day = min((now_s - self._span.start_s) / DAY_S, self._span.days)
        self._console.print(
            f"  day {day:4.1f}/{self._span.days:g}  acknowledged {self._ledger.acknowledged:,} ({rate:,.0f}/s)"
            f"  alarms {sum(standing.alarms.values())}  cases {sum(standing.cases.values())}"
            f"  CRM records {len(self._sandbox.book.records)}  {doing}",
            highlight=False,
            soft_wrap=True,
        )
