"""What the demo shows on a terminal while its fleet lives."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from simulators.crm.misbehave import Misbehaviour
from simulators.crm.sandbox import Sandbox
from simulators.demo.progress import LiveProgress
from simulators.demo.state import Standing
from simulators.fleet.habits import DAY_S, Span
from simulators.fleet.ledger import Ledger


@pytest.mark.parametrize(("days", "shown"), [(0.0, "day 1 of 4"), (3.5, "day 4 of 4"), (4.0, "day 4 of 4")])
def test_its_last_day_is_the_last(days: float, shown: str) -> None:
    screen, span = StringIO(), Span(4 * DAY_S, 4.0)
    sandbox = Sandbox("whsec_", Misbehaviour(), np.random.default_rng(1), requests=1)
    with LiveProgress(Console(file=screen, force_terminal=True, width=100), span, Ledger(), sandbox, "demo") as live:
        live.show(span.start_s + days * DAY_S, Standing(), "devices report")
    assert shown in screen.getvalue()
    assert "1 request" in screen.getvalue()
    assert "1 requests" not in screen.getvalue()
