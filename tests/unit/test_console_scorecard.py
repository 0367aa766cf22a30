"""The console's scorecard of a demo."""

from collections.abc import Mapping

import pytest
from fastapi import Request

from devices.clock import SystemClock
from gateway.console.pages.scorecard import draw_found
from gateway.console.render import Renderer, load_assets
from gateway.console.settings import ConsoleSettings

KINDS: Mapping[str, Mapping[str, float | None]] = {
    "stuck": {"injected": 3, "watched": 3, "detected": 0, "median_time_to_detect_h": None},
    "decline": {"injected": 4, "watched": 0, "detected": 0, "median_time_to_detect_h": None},
    "bad_firmware": {"injected": 19, "watched": 0, "detected": 0, "median_time_to_detect_h": None},
}
CARD = {
    **dict.fromkeys(("lost", "acknowledged", "duplicate_rows", "readings_per_s"), 1),
    **dict.fromkeys(("recall", "precision", "median_time_to_detect_h"), 0.5),
    "latency_s": {"alarm_to_crm_p99": 0.4},
    "cases": dict.fromkeys(("opened", "resolved", "retracted", "duplicate"), 1),
    "crm": dict.fromkeys(("records", "duplicate_records", "missing"), 1),
}


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ("no watch of these profiles is for it", "many devices at once")),
        ("it", ("nessuna sorveglianza di questi profili", "molti dispositivi insieme")),
    ],
)
def test_a_fault_that_no_watch_is_for_is_called_so_rather_than_not_found(language: str, said: tuple[str, str]) -> None:
    """None found of a decline stood there as if careloop had looked for it."""
    headers = [(b"accept-language", language.encode())]
    request = Request({"type": "http", "method": "GET", "path": "/scorecard", "query_string": b"", "headers": headers})
    renderer = Renderer(SystemClock(), load_assets(), ConsoleSettings())
    chart = draw_found(KINDS, renderer.shown(request))
    assert chart is not None
    assert renderer.shown(request).words.word("decline") not in chart.description
    assert renderer.shown(request).words.word("stuck") in chart.description
    page = renderer.page(request, None, "scorecard.html", {"card": CARD, "kinds": KINDS, "chart": chart})
    rows = bytes(page.body).decode().split("<tbody>")[1].split("</tr>")
    assert [[words in row for words in said] for row in rows[:3]] == [[False, False], [True, False], [False, True]]
